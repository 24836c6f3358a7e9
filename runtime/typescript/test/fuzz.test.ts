// Sessions against peers that send what no runtime would: random bytes behind the handshake, frames that are cut, swapped and
// changed. Whatever comes, the session lives or ends for the peer's fault, and its calls end with it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { headerSize, preface, putHeader, streamID, Type } from "#runtime/frame.js";
import { client, RpcError } from "ipcgen";
import { Echo } from "../../../testdata/services/typescript/echo/v1/echo.ipc.js";
import { echo } from "./echo.js";
import { RawPeer, UnderTest } from "./peer.js";
import { bytes, vectorText } from "./vectors.js";

const file = JSON.parse(vectorText("sessions.json")) as { hello: string; max_frame: number; max_message: number; max_slots: number; window: number; cases: { steps: { do: string; hex?: string }[] }[] };
const limits = { maxFrame: file.max_frame, maxMessage: file.max_message, calls: file.max_slots, window: file.window };
/** What conversations have sent: the seeds. */
const seeds = file.cases.flatMap((c) => c.steps.filter((s) => s.do === "send").map((s) => bytes(s.hex!))).filter((b) => !b.subarray(0, preface.length).equals(preface));

/** Numbers that are the same in each run: those of a 32-bit xorshift. */
function random(seed: number): (n: number) => number {
  let x = seed * 2654435761 + 1;
  return (n) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % n;
  };
}

/** One thing that a peer sends. */
function make(pick: (n: number) => number): Buffer {
  const seed = Buffer.from(seeds[pick(seeds.length)]!);
  switch (pick(4)) {
    case 0:
      return seed;
    case 1:
      seed[pick(seed.length)] = pick(256);
      return seed;
    case 2:
      return seed.subarray(0, pick(seed.length + 1));
    default: {
      const types = Object.values(Type);
      const b = Buffer.alloc(headerSize + pick(64));
      for (let i = headerSize; i < b.length; i++) {
        b[i] = pick(256);
      }
      putHeader(b, 0, types[pick(types.length)]!, pick(32), b.length - headerSize, streamID(pick(4), pick(2) as 0 | 1, pick(3)), pick(3) * pick(70000));
      return b;
    }
  }
}

test("whatever a peer sends, the session lives or ends for its fault", async () => {
  const reasons: Record<string, number> = {};
  for (let run = 0; run < 1000; run++) {
    const pick = random(run);
    const peer = new RawPeer();
    const end = new UnderTest(peer, pick(2) as 0 | 1, limits, [echo()]);
    peer.send(bytes(file.hello));
    const conn = await end.conn;
    const calls = Promise.allSettled([client(Echo, conn).say({ text: "hi" }), client(Echo, conn).join([{ text: "x".repeat(5000) }])]);
    for (let i = pick(20); i >= 0; i--) {
      peer.send(make(pick), 1 + pick(40));
      if (pick(3) === 0) {
        await new Promise(setImmediate);
      }
    }
    const before = conn.error;
    conn.close();
    for (const outcome of await calls) {
      assert.ok(outcome.status === "fulfilled" || outcome.reason instanceof RpcError, String((outcome as PromiseRejectedResult).reason));
    }
    const reason = await end.ended;
    assert.equal(before === undefined ? "closed" : reason, reason);
    reasons[reason] = (reasons[reason] ?? 0) + 1;
  }
  assert.deepEqual(Object.keys(reasons).sort(), ["closed", "peer gone", "protocol violation", "refused"]);
});
