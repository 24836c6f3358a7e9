"""The testee of Python: it serves and calls interop.v1.Test as the conformance suite says (runtime/interop/README.md)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import ssl
import sys
from collections.abc import AsyncIterator, Iterator

from google.protobuf.empty_pb2 import Empty
from interop.v1 import control_ipc as control
from interop.v1 import test_ipc as test

import ipcgen
from ipcgen import Code, Connection, RpcError, SessionError

DATA_KEPT = 64 << 10
"""Bytes of data that Upload gives back."""


def to_text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def to_bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")


class Named:
    """What belongs to a handler or a call by its name."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.sent = self.received = 0
        self.task: asyncio.Task[None] | None = None
        self.calling = asyncio.Event()


class State:
    """The state of the program."""

    def __init__(self) -> None:
        self.names: dict[str, Named] = {}
        self.sessions: dict[int, Connection] = {}
        self.grace: dict[int, float] = {}  # of those dialed, where it is not the default
        self.numbers = itertools.count(1)
        self.observed: asyncio.Queue[control.Observation] = asyncio.Queue()
        self.serving: asyncio.Task[None] | None = None
        self.background: set[asyncio.Task[None]] = set()

    def name(self, name: str) -> Named:
        return self.names.setdefault(name, Named())

    def session(self, number: int) -> Connection:
        if number not in self.sessions:
            raise RpcError(Code.INVALID_ARGUMENT, f"there is no session {number}")
        return self.sessions[number]

    def observe(self, observation: control.Observation) -> None:
        self.observed.put_nowait(observation)

    def add(self, conn: Connection) -> int:
        """Number a session and observe its end."""
        number = next(self.numbers)
        self.sessions[number] = conn
        task = asyncio.create_task(self._watch(number, conn))
        self.background.add(task)
        task.add_done_callback(self.background.discard)
        return number

    async def _watch(self, number: int, conn: Connection) -> None:
        await conn.wait_closed()
        self.observe(control.Observation(ended=control.Ended(session=number, reason=reason_of(conn.error))))

    async def connected(self, conn: Connection) -> None:
        self.observe(control.Observation(connected=self.add(conn)))

    def begin(self, address: str, options: control.Options) -> str:
        """Begin to serve Test, and return where it can be dialed."""
        listener = ipcgen.listen(
            address, Handlers(self), limits=limits(options), tls=tls(options, ssl.Purpose.CLIENT_AUTH), connected=self.connected
        )
        self.serving = asyncio.create_task(listener.serve())
        return listener.address


def reason_of(error: BaseException | None) -> int:
    """Return why a session ended, or did not begin; 0 where that is not known."""
    return int(error.reason) if isinstance(error, SessionError) else 0


def limits(options: control.Options) -> ipcgen.Limits:
    return ipcgen.Limits(
        max_message=options.max_message or None,
        max_frame=options.max_frame or None,
        calls=options.calls or None,
        window=options.window or None,
        grace=options.grace_ms / 1000 or None,
    )


def tls(options: control.Options, purpose: ssl.Purpose) -> ssl.SSLContext | None:
    if not options.certificate:
        return None
    context = ssl.create_default_context(purpose, cafile=options.authorities)
    context.load_cert_chain(options.certificate, options.key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.check_hostname = False  # the peer is dialed by its number
    return context


class Handlers(test.TestService):
    """Does to each request what it says."""

    def __init__(self, state: State) -> None:
        self.state = state

    async def act(self, request: test.Request) -> None:
        """Do what the request says, except what only some of the methods do."""
        match request.action:
            case test.ACTION_FAIL:
                raise failure(request.failure)
            case test.ACTION_THROW:
                raise RuntimeError(to_text(request.data))
            case test.ACTION_WAIT:
                await self.wait(request.name)
            case test.ACTION_HOLD:
                self.state.observe(control.Observation(waiting=request.name))
                await self.state.name(request.name).gate.wait()

    async def wait(self, name: str) -> None:
        self.state.observe(control.Observation(waiting=name))
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            code = ipcgen.current().cancelled or Code.CANCELLED
            self.state.observe(control.Observation(handler_ended=control.HandlerEnded(name=name, code=code)))
            raise

    async def unary(self, request: test.Request) -> test.Response:
        await self.act(request)
        match request.action:
            case test.ACTION_METADATA:
                for name, value in request.trailers.items():
                    ipcgen.current().set_trailer(name, to_text(value))
                return test.Response(metadata={k: to_bytes(v) for k, v in ipcgen.current().metadata.items()})
            case test.ACTION_CALL_BACK:
                client = test.TestClient(ipcgen.current().connection)
                return test.Response(data=(await client.unary(test.Request(data=request.data))).data)
        return echo(request)

    async def brief(self, request: test.Request) -> test.Response:
        return await self.unary(request)

    async def download(self, request: test.Request) -> AsyncIterator[test.Response]:
        hold = request.action == test.ACTION_HOLD
        if hold:
            await self.act(request)
        named = self.state.name(request.name)
        response = echo(request)
        for _ in range(request.count):
            yield response
            named.sent += 1
        if not hold:
            await self.act(request)

    async def upload(self, requests: AsyncIterator[test.Request]) -> test.Response:
        response = test.Response()
        async for request in requests:
            self.state.name(request.name).received += 1
            await self.act(request)
            response.count += 1
            response.total += len(request.data)
            response.data = response.data + request.data if response.total <= DATA_KEPT else b""
        return response

    async def chat(self, requests: AsyncIterator[test.Request]) -> AsyncIterator[test.Response]:
        async for request in requests:
            named = self.state.name(request.name)
            named.received += 1
            yield await self.unary(request)
            named.sent += 1

    async def tell(self, request: test.Request) -> None:
        self.state.observe(control.Observation(told=request.data))


def echo(request: test.Request) -> test.Response:
    response = test.Response(data=request.data)
    if request.HasField("everything"):
        response.everything.CopyFrom(request.everything)
    return response


def failure(wanted: test.Failure) -> RpcError:
    details: list[test.Refused | test.Busy] = []
    if wanted.HasField("refused"):
        details.append(wanted.refused)
    if wanted.HasField("busy"):
        details.append(wanted.busy)
    return RpcError(wanted.code, wanted.message, *details)


class Testee(control.TesteeService):
    """Does what the suite says, and tells it what came of that."""

    def __init__(self, state: State) -> None:
        self.state = state

    async def serve(self, request: control.ServeRequest) -> control.ServeResponse:
        try:
            return control.ServeResponse(address=self.state.begin(request.address, request.options))
        except (OSError, ValueError) as e:
            return control.ServeResponse(failure=no_session(e))

    async def stop(self, request: control.StopRequest) -> Empty:
        if self.state.serving is not None:
            self.state.serving.cancel()
            await asyncio.wait((self.state.serving,))
        return Empty()

    async def dial(self, request: control.DialRequest) -> control.DialResponse:
        options = request.options
        try:
            conn = await ipcgen.dial(
                request.address, Handlers(self.state), limits=limits(options), tls=tls(options, ssl.Purpose.SERVER_AUTH)
            )
        except (OSError, ValueError) as e:
            return control.DialResponse(failure=no_session(e))
        number = self.state.add(conn)
        if options.grace_ms:
            self.state.grace[number] = options.grace_ms / 1000
        return control.DialResponse(session=number)

    async def shutdown(self, request: control.ShutdownRequest) -> Empty:
        await self.state.session(request.session).shutdown(self.state.grace.get(request.session))
        return Empty()

    async def close(self, request: control.CloseRequest) -> Empty:
        await self.state.session(request.session).close()
        return Empty()

    async def call(self, request: control.CallRequest) -> control.CallResponse:
        call = OutgoingCall(self.state.session(request.session), self.state.name(request.name), request)
        task = asyncio.create_task(call.run())
        try:
            await asyncio.wait((task,))
        finally:
            task.cancel()
        return call.result

    async def cancel(self, request: control.CancelRequest) -> Empty:
        named = self.state.name(request.name)
        await named.calling.wait()
        if named.task is not None:
            named.task.cancel()
        return Empty()

    async def open(self, request: control.OpenRequest) -> Empty:
        self.state.name(request.name).gate.set()
        return Empty()

    async def progress(self, request: control.ProgressRequest) -> control.ProgressResponse:
        named = self.state.name(request.name)
        return control.ProgressResponse(sent=named.sent, received=named.received)

    async def observe(self, request: Empty) -> AsyncIterator[control.Observation]:
        while True:
            yield await self.state.observed.get()


def no_session(error: Exception) -> control.NoSession:
    return control.NoSession(reason=reason_of(error), message=str(error))


class OutgoingCall:
    """A call that the suite wants."""

    def __init__(self, conn: Connection, named: Named, request: control.CallRequest) -> None:
        self.named = named
        self.request = request
        self.client = test.TestClient(conn)
        self.newer = test.NewerClient(conn)
        self.result = control.CallResponse()
        self.trailers: dict[str, str] = {}
        self.options = ipcgen.CallOptions(trailers=self.trailers)
        if request.timeout_ms:
            self.options["timeout"] = request.timeout_ms / 1000
        if request.metadata:
            self.options["metadata"] = {k: to_text(v) for k, v in request.metadata.items()}

    async def run(self) -> None:
        """Make the call, and note how it ended."""
        if not self.named.calling.is_set():
            # Only now: a task that is cancelled before its first step notes nothing.
            self.named.task = asyncio.current_task()
            self.named.calling.set()
        result = self.result
        try:
            await self.make()
        except RpcError as e:
            result.code, result.message, result.not_executed = int(e.code), e.message, e.not_executed
            if refused := e.detail(test.Refused):
                result.refused.CopyFrom(refused)
            if busy := e.detail(test.Busy):
                result.busy.CopyFrom(busy)
        except asyncio.CancelledError as e:
            result.code, result.not_executed = Code.CANCELLED, getattr(e, "not_executed", False)
        except Exception as e:
            result.code, result.message = Code.UNKNOWN, f"testee: {e!r}"
        for name, value in self.trailers.items():
            result.trailers[name] = to_bytes(value)

    async def make(self) -> None:
        first = self.request.requests[0] if self.request.requests else test.Request()
        match self.request.method:
            case "Unary":
                self.received(await self.client.unary(first, **self.options))
            case "Brief":
                self.received(await self.client.brief(first, **self.options))
            case "Unimplemented":
                self.received(await self.client.unimplemented(first, **self.options))
            case "Newer/Unary":
                self.received(await self.newer.unary(first, **self.options))
            case "Tell":
                await self.client.tell(first, **self.options)
            case "Download":
                async for response in self.client.download(first, **self.options):
                    self.received(response)
                    if not await self.stays():
                        break
            case "Upload":
                self.received(await self.client.upload(self.requests(), **self.options))
            case "Chat":
                await self.chat()
            case other:
                raise ValueError(f"there is no method {other}")

    def requests(self) -> Iterator[test.Request]:
        """Return all that the call sends. They count as sent when the next one is asked for."""
        for _ in range(max(1, self.request.rounds)):
            for request in self.request.requests:
                yield request
                self.named.sent += 1

    def received(self, response: test.Response) -> None:
        self.named.received += 1
        self.result.received += 1
        if not self.request.count_only:
            self.result.responses.append(response)

    async def stays(self) -> bool:
        """Wait where the caller is to pause, and tell whether it is to go on."""
        if self.request.HasField("pause_after") and self.result.received == self.request.pause_after:
            await self.named.gate.wait()
        return not self.request.HasField("leave_after") or self.result.received < self.request.leave_after

    async def chat(self) -> None:
        async with self.client.chat(**self.options) as stream:
            if not self.request.in_turn:
                await self.chat_at_once(stream)
                return
            for request in self.requests():
                with contextlib.suppress(EOFError):  # how the call ended, receive tells
                    await stream.send(request)
                response = await stream.receive()
                if response is None:
                    return
                self.received(response)
                if not await self.stays():
                    return
            await stream.close_send()
            await self.receive(stream)

    async def chat_at_once(self, stream: ipcgen.BidiStream[test.Request, test.Response]) -> None:
        async def send() -> None:
            with contextlib.suppress(EOFError, RpcError):  # how the call ended, receive tells
                for request in self.requests():
                    await stream.send(request)
                await stream.close_send()

        sending = asyncio.create_task(send())
        try:
            await self.receive(stream)
        finally:
            sending.cancel()
            await asyncio.wait((sending,))

    async def receive(self, stream: ipcgen.BidiStream[test.Request, test.Response]) -> None:
        async for response in stream:
            self.received(response)
            if not await self.stays():
                return


async def main(addresses: list[str]) -> None:
    """Serve control at the first address, and, where there is a second one, Test at that."""
    state = State()
    listener = ipcgen.listen(addresses[0], Testee(state))
    if len(addresses) == 1:
        await listener.serve()
        return
    serving = asyncio.create_task(listener.serve())
    state.begin(addresses[1], control.Options())
    assert state.serving is not None
    await asyncio.wait((state.serving,))
    serving.cancel()
    await asyncio.wait((serving,))


if __name__ == "__main__":
    logging.getLogger("ipcgen").addHandler(logging.NullHandler())  # what goes wrong is meant to
    logging.getLogger("ipcgen").propagate = False
    asyncio.run(main(sys.argv[1:]))
