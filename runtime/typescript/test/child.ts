// A program that tests start: its argument says what it is.
import { client, dial, serve } from "ipcgen";
import { Echo } from "../../../testdata/services/typescript/echo/v1/echo.ipc.js";
import { echo } from "./echo.js";

const [what, address] = process.argv.slice(2) as [string, string];
switch (what) {
  case "serve":
    await (await serve(address, [echo()])).finished;
    break;
  case "print": {
    // Prints where a session runs over its stdout.
    const server = await serve(address, [echo()]);
    console.log("printed by console.log");
    process.stdout.write("written to stdout\n");
    await server.finished;
    break;
  }
  case "exit":
    process.exit(Number(address));
    break;
  case "call": {
    await using conn = await dial(address);
    console.error((await client(Echo, conn).say({ text: "from the child" })).text);
    break;
  }
  case "garbage":
    console.log("this is no session");
    break;
}
