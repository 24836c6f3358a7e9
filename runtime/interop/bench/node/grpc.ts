// @grpc/grpc-js: server and client, as its documentation has them.
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";
import { address, calls, count, ready, size, stream, what } from "./measure.js";

type Payload = { data: Uint8Array };
type Answer = (err: Error | null, payload: Payload) => void;

const schema = loader.loadSync(new URL("../../bench.proto", import.meta.url).pathname);
// The package is untyped where it makes clients from a schema at run time.
const { Bench } = (grpc.loadPackageDefinition(schema) as any).bench.v1;

if (what === "serve") {
  const server = new grpc.Server();
  server.addService(Bench.service, {
    echo: (call: { request: Payload }, answer: Answer) => answer(null, { data: call.request.data }),
    stream: async (call: grpc.ServerWritableStream<{ count: number; size: number }, Payload>) => {
      const data = new Uint8Array(call.request.size);
      for (let i = 0; i < call.request.count; i++) {
        if (!call.write({ data })) {
          await new Promise((resolve) => call.once("drain", resolve));
        }
      }
      call.end();
    },
  });
  server.bindAsync(address, grpc.ServerCredentials.createInsecure(), (err) => {
    if (err !== null) {
      throw err;
    }
    ready();
  });
} else {
  const caller = new Bench(address, grpc.credentials.createInsecure());
  const data = new Uint8Array(size);
  const call = (): Promise<Payload> =>
    new Promise((resolve, reject) => caller.echo({ data }, (err: Error | null, res: Payload) => (err === null ? resolve(res) : reject(err))));
  await (what === "call" ? calls(call) : stream(caller.stream({ count, size })));
  caller.close();
}
