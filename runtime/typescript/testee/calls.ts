// The calls that a testee is told to make.
import { client, RpcError } from "ipcgen";
import type { CallOptions, Conn } from "ipcgen";
import type { CallRequest, CallResponse } from "../../../testdata/interop/typescript/interop/v1/control.ipc.js";
import { BusySchema, Newer, RefusedSchema, Test } from "../../../testdata/interop/typescript/interop/v1/test.ipc.js";
import type { Request, Response, TestClient } from "../../../testdata/interop/typescript/interop/v1/test.ipc.js";
import type { Init } from "ipcgen";
import { named } from "./state.js";

/** What can be cancelled by name, and who waits for it. */
const running = new Map<string, AbortController>();
const waiting = new Map<string, () => void>();

/** Cancels the call of a name, when there is one. */
export async function cancel(name: string): Promise<void> {
  if (!running.has(name)) {
    await new Promise<void>((resolve) => waiting.set(name, resolve));
  }
  running.get(name)!.abort();
}

/** One call: what comes of it is collected while it runs. */
class Running {
  readonly responses: Response[] = [];
  received = 0n;
  trailers: Record<string, Uint8Array> = {};
  readonly options: CallOptions;
  readonly test: TestClient;
  readonly cancelled: Promise<unknown>;

  constructor(
    readonly o: CallRequest,
    readonly conn: Conn,
    signal: AbortSignal,
  ) {
    this.test = client(Test, conn);
    this.cancelled = new Promise((resolve) => signal.addEventListener("abort", resolve));
    this.options = {
      signal,
      timeoutMs: o.timeoutMs === 0 ? undefined : o.timeoutMs,
      metadata: o.metadata,
      onTrailers: (t) => (this.trailers = Object.fromEntries([...t].map(([name]) => [name, t.bytes(name)!]))),
    };
  }

  /** Makes the call; it rejects as the call does. */
  make(): Promise<void> {
    const { o, options, test } = this;
    const first = (): Request => o.requests[0]!;
    switch (o.method) {
      case "Unary":
        return this.one(test.unary(first(), options));
      case "Brief":
        return this.one(test.brief(first(), options));
      case "Unimplemented":
        return this.one(test.unimplemented(first(), options));
      case "Newer/Unary":
        return this.one(client(Newer, this.conn).unary(first(), options));
      case "Upload":
        return this.one(test.upload(this.requests(), options));
      case "Tell":
        return test.tell(first(), options);
      case "Download":
        return this.many(test.download(first(), options));
      case "Chat":
        return this.chat();
      default:
        throw new Error(`no method ${o.method}`);
    }
  }

  private async one(response: Promise<Response>): Promise<void> {
    await this.take(await response);
  }

  /** Notes a response. Returns whether the caller is to leave now. */
  private async take(r: Response): Promise<boolean> {
    const { o } = this;
    if (!o.countOnly) {
      this.responses.push(r);
    }
    this.received++;
    const progress = named(o.name);
    progress.received++;
    const n = Number(this.received);
    if (o.pauseAfter === n) {
      await Promise.race([progress.opened, this.cancelled]);
    }
    return o.leaveAfter === n;
  }

  private async many(responses: AsyncIterable<Response>): Promise<void> {
    for await (const r of responses) {
      if (await this.take(r)) {
        return;
      }
    }
  }

  /** All requests, as often as is said. */
  private *all(): Generator<Request> {
    for (let round = 0; round < Math.max(1, this.o.rounds); round++) {
      yield* this.o.requests;
    }
  }

  /** The requests of Upload: one counts as sent when the next one is asked for. */
  private *requests(): Generator<Init<Request>> {
    for (const r of this.all()) {
      yield r;
      named(this.o.name).sent++;
    }
  }

  private async chat(): Promise<void> {
    await using chat = this.test.chat(this.options);
    const progress = named(this.o.name);
    const send = async (turn: () => Promise<boolean>): Promise<void> => {
      for (const r of this.all()) {
        if (!(await chat.send(r))) {
          return;
        }
        progress.sent++;
        if (await turn()) {
          return;
        }
      }
      await chat.closeSend();
    };
    if (this.o.inTurn) {
      let left = false;
      await send(async () => {
        const r = await chat.receive();
        left = r === undefined || (await this.take(r));
        return left;
      });
      if (!left) {
        await this.many(chat);
      }
      return;
    }
    const sending = send(() => Promise.resolve(false));
    sending.catch(() => undefined);
    await this.many(chat);
    chat.close();
    await sending;
  }
}

/** Makes a call and tells how it ended. */
export async function call(o: CallRequest, conn: Conn): Promise<Init<CallResponse>> {
  const controller = new AbortController();
  running.set(o.name, controller);
  waiting.get(o.name)?.();
  waiting.delete(o.name);
  const r = new Running(o, conn, controller.signal);
  let failed: Init<CallResponse> = {};
  try {
    await r.make();
  } catch (err) {
    failed = failure(err);
  }
  running.delete(o.name);
  return { ...failed, responses: r.responses, received: r.received, trailers: r.trailers };
}

function failure(err: unknown): Init<CallResponse> {
  if (!(err instanceof RpcError)) {
    return { code: 2, message: `testee: ${err instanceof Error ? err.stack : String(err)}` };
  }
  const refused = err.detail(RefusedSchema);
  const busy = err.detail(BusySchema);
  return { code: err.code, message: err.text, notExecuted: err.notExecuted, ...(refused && { refused }), ...(busy && { busy }) };
}
