// Package ipc is the runtime of code that ipcgen generates: typed calls between processes over unix sockets, shared
// memory, TCP, TLS and pipes, with no daemon between them.
//
// A program that offers a service implements the generated interface and serves it:
//
//	err := ipc.Serve(ctx, "unix:/run/user/1000/echo.sock", echov1.NewEchoService(impl))
//
// A program that uses it dials and makes a client:
//
//	conn, err := ipc.Dial(ctx, "unix:/run/user/1000/echo.sock")
//	client := echov1.NewEchoClient(conn)
//	res, err := client.Say(ctx, &echov1.SayRequest{Text: "hello"})
//
// Both ends of a session are equal: Dial takes services too, which the peer's handlers call through ConnOf. What an
// address may be is said at Dial; what may be set beside it, at Endpoint.
//
// Everything may be used by any number of goroutines, except where a type says otherwise. Every call ends: with the
// answer, with its context, or with the session, which ends when the peer dies, stalls or breaks the protocol. Errors
// of calls are *Error; Error.NotExecuted tells the calls that certainly did not run and so can be repeated.
//
// A message is read while the call or Send that it is given to goes on, and a handler's answer until it has left; nobody may
// change it meanwhile.
//
// Large contents of bytes travel apart from their messages where the schema says so by the option blob and the session is in
// shared memory; Endpoint.BlobsInPlace and Release save copying them at all.
//
// The protocol is specified in runtime/PROTOCOL.md.
package ipc

// Supports1 is referred to by generated code: code that refers to a Supports constant that this package lacks needs a
// newer version of the package.
const Supports1 = true
