// What tests wait for.
import { Service } from "ipcgen";
import type { CallContext, CallOptions, Init } from "ipcgen";
import { TreeSchema } from "../../../testdata/messages/typescript/nested/nested.ipc.js";
import type { Tree } from "../../../testdata/messages/typescript/nested/nested.ipc.js";

/** Opens once. */
export function gate<T = void>(): { opened: Promise<T>; open: (value: T) => void } {
  let open!: (value: T) => void;
  const opened = new Promise<T>((resolve) => (open = resolve));
  return { opened, open };
}

interface TreeClient {
  echo(request: Init<Tree>, options?: CallOptions): Promise<Tree>;
}

interface TreeHandlers {
  echo(request: Tree, context: CallContext): Tree;
}

/** A service whose messages hold themselves. */
export const forest = new Service<TreeClient, TreeHandlers>("test.Forest", {
  echo: { name: "Echo", kind: "unary", input: TreeSchema, output: TreeSchema },
});
