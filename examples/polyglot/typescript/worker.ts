// The TypeScript worker: a report of a summary.
import { client, implement, serve } from "ipcgen";
import { Reporter, Station, type Summary_Row } from "./polyglot.ipc.js";

const width = 20;

const reporter = implement(Reporter, {
  async *render(summary, context) {
    // Who calls can be called, over the same connection.
    const station = client(Station, context.conn);
    for (const row of summary.rows) {
      const { place, unit } = await station.describe({ sensor: row.sensor });
      const number = (n: number) => `${n.toFixed(1)} ${unit}`.padStart(9);
      yield { text: `${place.padEnd(12)} ${number(row.mean)} ± ${number(row.deviation).trim().padEnd(8)} |${bar(row)}|` };
    }
    await station.log({ text: `a report of ${summary.rows.length} lines` });
  },
});

/** Draws where the mean lies between the least and the most. */
function bar(row: Summary_Row): string {
  const at = Math.round(((row.mean - row.least) / (row.most - row.least || 1)) * width);
  return "-".repeat(at) + "o" + "-".repeat(width - at);
}

// The Go program starts this one with "stdio:": the connection is stdin and stdout, and console.log goes to stderr.
const server = await serve(process.argv[2] ?? "stdio:", [reporter]);
await server.finished;
