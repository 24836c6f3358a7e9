// What both programs do with their command line, and how they measure: README.md of the folder above.

/** Calls before the first that is measured. */
const warmUp = 2000;

/** What to do, the address, how often, and the bytes of a message. */
export const [what, address, count, size] = ((): [string, string, number, number] => {
  const [w, a, c, s] = process.argv.slice(2);
  return [w!, a!, Number(c), Number(s)];
})();

/** Says that the server listens. */
export function ready(): void {
  console.log("ready");
}

function report(seconds: number, latencies: number[]): void {
  latencies.sort((a, b) => a - b);
  console.log(JSON.stringify({ count, seconds, p50: (latencies[latencies.length >> 1] ?? 0) / 1000 }));
}

/** Measures calls. */
export async function calls(call: () => Promise<unknown>): Promise<void> {
  for (let i = 0; i < warmUp; i++) {
    await call();
  }
  const latencies: number[] = [];
  const begin = performance.now();
  let last = begin;
  for (let i = 0; i < count; i++) {
    await call();
    const now = performance.now();
    latencies.push(now - last);
    last = now;
  }
  report((last - begin) / 1000, latencies);
}

/** Measures a stream. */
export async function stream(messages: AsyncIterable<{ data: Uint8Array }>): Promise<void> {
  const begin = performance.now();
  let total = 0;
  for await (const m of messages) {
    total += m.data.length;
  }
  if (total !== count * size) {
    throw new Error(`${total} bytes came`);
  }
  report((performance.now() - begin) / 1000, []);
}
