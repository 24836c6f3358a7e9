// ipcgen: server and client.
import { client, dial, implement, serve } from "ipcgen";
import { Bench } from "./bench.ipc.js";
import { address, calls, count, ready, size, stream, what } from "./measure.js";

const bench = implement(Bench, {
  echo: ({ data }) => ({ data }),
  async *stream(request) {
    const data = new Uint8Array(request.size);
    for (let i = 0; i < request.count; i++) {
      yield { data };
    }
  },
});

if (what === "serve") {
  const server = await serve(address, [bench]);
  ready();
  await server.finished;
} else {
  await using conn = await dial(address);
  const caller = client(Bench, conn);
  const data = new Uint8Array(size);
  await (what === "call" ? calls(() => caller.echo({ data })) : stream(caller.stream({ count, size })));
}
