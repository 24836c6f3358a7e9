/// <reference types="node" preserve="true" />
/**
 * The runtime of code that ipcgen generates: typed calls between processes over unix sockets, TCP, TLS and pipes, with
 * no daemon between them.
 *
 *	const server = await serve("unix:/run/user/1000/echo.sock", [implement(Echo, { say: (req) => ({ text: req.text }) })]);
 *
 *	await using conn = await dial("unix:/run/user/1000/echo.sock");
 *	const { text } = await client(Echo, conn).say({ text: "hello" });
 *
 * Both ends of a session are equal: dial takes services too, which the peer's handlers call through their context's conn.
 * Every call ends: with the answer, with its signal or deadline, or with the session, which ends when the peer dies,
 * stalls or breaks the protocol. RpcError.notExecuted tells the calls that certainly did not run and so can be repeated.
 *
 * @packageDocumentation
 */
// The first line is for programs: since version 6 the compiler looks at no types that it is not told of.
export { client } from "./client.js";
export { dial, local, serve } from "./conn.js";
export type { Conn, ConnOptions, DialOptions, Peer, Server, ServeOptions } from "./conn.js";
export { Code, codeName, Reason, reasonName, RpcError, SessionError } from "./error.js";
export type { RpcErrorOptions } from "./error.js";
export { implement } from "./implement.js";
export type { Implementation } from "./implement.js";
export type { Limits } from "./limits.js";
export { Metadata } from "./metadata.js";
export type { MetadataInit } from "./metadata.js";
export { Service } from "./method.js";
export type { Kind, MethodDesc } from "./method.js";
export type { Logger } from "./session.js";
export type { BidiCall, CallContext, CallOptions, Init } from "./types.js";
