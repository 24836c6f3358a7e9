// What generated code says of services and their methods.
import { createHash } from "node:crypto";
import { fromBinary } from "@bufbuild/protobuf";
import type { DescMessage, Message } from "@bufbuild/protobuf";
import { RpcError } from "./error.js";
import type { Failure } from "./failure.js";

/** What flows in a call and which way. The order is that of the shapes' numbers in the protocol. */
export const kinds = ["unary", "server stream", "client stream", "bidi", "oneway"] as const;

/** One of the kinds. */
export type Kind = (typeof kinds)[number];

/** A method as generated code describes it. */
export interface MethodDesc {
  /** The name in the schema: "Say". */
  readonly name: string;
  readonly kind: Kind;
  readonly input: DescMessage;
  readonly output: DescMessage;
  /** The deadline of a call that does not set one, in milliseconds. */
  readonly timeoutMs?: number;
  /** The messages that travel as typed errors. */
  readonly errors?: readonly DescMessage[];
}

/** A method, ready to be called and served. */
export class Method {
  /** What its id is made from: "echo.v1.Echo/Say". */
  readonly path: string;
  /** The id as it travels. */
  readonly id: Uint8Array;
  readonly kind: Kind;
  readonly input: DescMessage;
  readonly output: DescMessage;
  readonly timeoutMs: number | undefined;
  readonly errors: readonly DescMessage[];

  constructor(service: string, desc: MethodDesc) {
    this.path = `${service}/${desc.name}`;
    this.id = sha256(this.path);
    this.kind = desc.kind;
    this.input = desc.input;
    this.output = desc.output;
    this.timeoutMs = desc.timeoutMs;
    this.errors = desc.errors ?? [];
  }

  /** What a caller sees of a failed call. */
  error(f: Failure): RpcError {
    const details: Message[] = [];
    for (const d of f.details) {
      const desc = this.errors.find((e) => e.typeName === d.type);
      try {
        if (desc !== undefined) {
          details.push(fromBinary(desc, d.value));
        }
      } catch {
        // The peer's program passed on what is no such message; the code and the text are left.
      }
    }
    return new RpcError(f.code, f.text, { details, notExecuted: f.notExecuted, cause: f.cause }, { method: this.path, remote: f.remote });
  }
}

/** A service of a schema. C is its clients' interface, H its handlers'. */
export class Service<C, H> {
  /** Only types: what client and implement go by. */
  declare readonly client: C;
  declare readonly handlers: H;
  /** By the names that they have in TypeScript. */
  readonly methods: ReadonlyMap<string, Method>;

  constructor(
    /** The full name: "echo.v1.Echo". */
    readonly name: string,
    methods: Readonly<Record<string, MethodDesc>>,
  ) {
    this.methods = new Map(Object.entries(methods).map(([local, desc]) => [local, new Method(name, desc)]));
  }

  /** Tells whether two sides were made from the same schema (PROTOCOL.md, section 2.1). */
  hash(): bigint {
    const lines = [...this.methods.values()].map((m) => Buffer.from(`${m.path} ${kinds.indexOf(m.kind)}\n`));
    return sha256(Buffer.concat(lines.sort(Buffer.compare))).readBigUInt64LE();
  }
}

/** The first 8 bytes of a hash. */
function sha256(text: string | Buffer): Buffer {
  return createHash("sha256").update(text).digest().subarray(0, 8);
}
