// The service interop.v1.Test: handlers do to each request what the request says.
import { client, implement, RpcError } from "ipcgen";
import type { CallContext, Implementation, Init } from "ipcgen";
import { Action, Test } from "../../../testdata/interop/typescript/interop/v1/test.ipc.js";
import type { Request, Response } from "../../../testdata/interop/typescript/interop/v1/test.ipc.js";
import { named, observe } from "./state.js";

/** Most bytes that Upload gives back. */
const mostBack = 64 << 10;

/** The service. */
export function test(): Implementation {
  return implement(Test, {
    unary: respond,
    brief: respond,
    async *download(request, context) {
      const progress = named(request.name);
      if (request.action === Action.HOLD) {
        await hold(request);
      }
      for (let i = 0; i < request.count; i++) {
        yield back(request);
        progress.sent++;
      }
      await end(request, context);
    },
    async upload(requests, context) {
      const response = { count: 0n, total: 0n };
      const data: Uint8Array[] = [];
      for await (const request of requests) {
        named(request.name).received++;
        if (request.action === Action.HOLD) {
          await hold(request);
        }
        await end(request, context);
        response.count++;
        response.total += BigInt(request.data.length);
        if (response.total <= mostBack) {
          data.push(request.data);
        }
      }
      return { ...response, data: response.total <= mostBack ? Buffer.concat(data) : new Uint8Array() };
    },
    async *chat(requests, context) {
      for await (const request of requests) {
        const progress = named(request.name);
        progress.received++;
        yield await respond(request, context);
        progress.sent++;
      }
    },
    tell(request) {
      observe({ case: "told", value: request.data });
    },
  });
}

/** Answers one request. */
async function respond(request: Request, context: CallContext): Promise<Init<Response>> {
  switch (request.action) {
    case Action.HOLD:
      await hold(request);
      return back(request);
    case Action.METADATA:
      for (const [name, value] of Object.entries(request.trailers)) {
        context.setTrailer(name, value);
      }
      return { metadata: Object.fromEntries([...context.metadata].map(([name]) => [name, context.metadata.bytes(name)!])) };
    case Action.CALL_BACK: {
      const { data } = await client(Test, context.conn).unary({ data: request.data });
      return { data };
    }
    default:
      await end(request, context);
      return back(request);
  }
}

function back(request: Request): Init<Response> {
  return { data: request.data, ...(request.everything && { everything: request.everything }) };
}

async function hold(request: Request): Promise<void> {
  observe({ case: "waiting", value: request.name });
  await named(request.name).opened;
}

/** Ends a call whose request says that it does not go well. */
async function end(request: Request, context: CallContext): Promise<void> {
  switch (request.action) {
    case Action.FAIL: {
      const { code = 0, message = "", refused, busy } = request.failure ?? {};
      throw new RpcError(code, message, { details: [refused, busy].filter((d) => d !== undefined) });
    }
    case Action.THROW:
      throw new Error(Buffer.from(request.data).toString());
    case Action.WAIT: {
      observe({ case: "waiting", value: request.name });
      const { signal } = context;
      if (!signal.aborted) {
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      }
      const reason = signal.reason as DOMException;
      observe({ case: "handlerEnded", value: { name: request.name, code: reason.name === "TimeoutError" ? 4 : 1 } });
      throw reason;
    }
  }
}
