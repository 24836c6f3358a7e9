// The service echo.v1.Echo as the vectors want it.
import { create } from "@bufbuild/protobuf";
import { Code, implement, RpcError } from "ipcgen";
import type { CallContext, Implementation } from "ipcgen";
import { Echo, TooLongSchema } from "../../../testdata/services/typescript/echo/v1/echo.ipc.js";

/** Rejects when the call has ended. */
export function untilOver(context: CallContext): Promise<never> {
  return new Promise((_, reject) => {
    const tell = (): void => reject(context.signal.reason as Error);
    context.signal.addEventListener("abort", tell);
    if (context.signal.aborted) {
      tell();
    }
  });
}

/** The service. */
export function echo(): Implementation {
  return implement(Echo, {
    say(request, context) {
      switch (request.text) {
        case "wait":
          return untilOver(context);
        case "too long":
          throw new RpcError(Code.OutOfRange, "over the limit", { details: [create(TooLongSchema, { limit: 8 })] });
        default:
          return { text: request.text };
      }
    },
    async *repeat(request) {
      for (let i = 0; i < request.times; i++) {
        yield { text: request.text };
      }
    },
    async join(requests) {
      let text = "";
      for await (const r of requests) {
        text += r.text;
      }
      return { text };
    },
    async *chat(requests) {
      for await (const r of requests) {
        yield { text: r.text };
      }
    },
    note() {},
  });
}
