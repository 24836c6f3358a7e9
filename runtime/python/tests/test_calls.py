"""Calls as users make them with asyncio: what comes back, how they fail, what ends them."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import re
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import HANGS, TESTDATA
from echo.v1.echo_ipc import EchoClient, EchoClientSync, EchoService, SayRequest, SayResponse, TooLong
from echoes import Deaf, Echo
from forks import in_fork
from google.protobuf.descriptor_pb2 import UninterpretedOption
from google.protobuf.empty_pb2 import Empty

import ipcgen
import ipcgen.generated
from ipcgen import Code, RpcError
from ipcgen._channel import Peer, SocketChannel
from ipcgen._endpoint import Endpoint, begin


def request(text: str, times: int = 0) -> SayRequest:
    return SayRequest(text=text, times=times)


async def settled(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; the test's own limit bounds that."""
    while not condition():  # nobody tells when it does
        await asyncio.sleep(0)


async def test_each_shape() -> None:
    echo = Echo()
    async with ipcgen.local(echo) as conn:
        client = EchoClient(conn)
        assert (await client.say(request("hello"))).text == "hello"
        assert [r.text async for r in client.repeat(request("again", 3))] == ["again"] * 3
        assert (await client.join([request("a"), request("b")])).text == "ab"
        async with client.chat() as chat:
            for text in ("one", "two"):
                await chat.send(request(text))
                answer = await chat.receive()
                assert answer is not None
                assert answer.text == text
            await chat.close_send()
            assert await chat.receive() is None
        await client.note(request("noted"))
        await conn.ping()
        await settled(lambda: echo.noted == ["noted"])


async def test_requests_from_an_async_generator() -> None:
    async def texts() -> AsyncIterator[SayRequest]:
        for text in "xyz":
            yield request(text)

    async with ipcgen.local(Echo()) as conn:
        assert (await EchoClient(conn).join(texts())).text == "xyz"


@pytest.mark.parametrize("size", [0, 4070, 16_384, 131_040, 131_072, 3_000_000])
async def test_sizes(size: int) -> None:
    async with ipcgen.local(Echo()) as conn:
        client, text = EchoClient(conn), "x" * size
        assert (await client.say(request(text))).text == text
        assert [r.text == text async for r in client.repeat(request(text, 3))] == [True] * 3
        assert len((await client.join([request("y" * (size // 2))] * 2)).text) == size // 2 * 2


async def test_many_at_a_time() -> None:
    async with ipcgen.local(Echo(), limits=ipcgen.Limits(calls=4)) as conn:
        client = EchoClient(conn)
        answers = await asyncio.gather(*(client.say(request(str(i))) for i in range(200)))
        assert [a.text for a in answers] == [str(i) for i in range(200)]


async def test_a_stream_that_nobody_reads_holds_up_no_other() -> None:
    async with ipcgen.local(Echo()) as conn:
        client = EchoClient(conn)
        async with client.repeat(request("x" * 100_000, 1000)) as stream:
            await anext(stream)
            assert (await client.say(request("hello"))).text == "hello"
            count = 1
            async for _ in stream:
                count += 1
            assert count == 1000


async def test_typed_errors() -> None:
    async with ipcgen.local(Echo()) as conn:
        with pytest.raises(RpcError) as caught:
            await EchoClient(conn).say(request("too long"))
    e = caught.value
    assert (e.code, e.message, e.remote, e.not_executed) == (Code.OUT_OF_RANGE, "over the limit", True, False)
    assert e.detail(TooLong) == TooLong(limit=8)
    assert e.detail(Empty) is None
    assert str(e) == "echo.v1.Echo/Say: OUT_OF_RANGE: over the limit"


class Careless(EchoService):
    """Fails with errors that are not made as they are to be."""

    def __init__(self, error: Any) -> None:
        self.error = error

    async def say(self, request: SayRequest) -> SayResponse:
        raise self.error


@pytest.mark.parametrize(
    ("code", "message", "details", "want"),
    [
        (Code.NOT_FOUND, FileNotFoundError("gone"), (), (Code.NOT_FOUND, "gone")),
        (-1, "x", (), (Code.UNKNOWN, "x")),
        (2**32, "x", (), (Code.UNKNOWN, "x")),
        ("NOT_FOUND", "x", (), (Code.UNKNOWN, "x")),
        (Code.NOT_FOUND, "x", ("a detail",), (Code.NOT_FOUND, "x")),
        (77, "x", (), (77, "x")),
    ],
)
async def test_an_error_that_is_not_as_it_is_to_be(code: Any, message: Any, details: Any, want: tuple[int, str]) -> None:
    async with ipcgen.local(Careless(RpcError(code, message, *details))) as conn:
        with pytest.raises(RpcError) as caught:
            await EchoClient(conn).say(request("x"))
        assert (caught.value.code, caught.value.message) == want
        assert caught.value.remote


async def test_what_was_not_written_for_the_caller_stays(caplog: pytest.LogCaptureFixture) -> None:
    async with ipcgen.local(Echo()) as conn:
        with caplog.at_level(logging.ERROR, "ipcgen"), pytest.raises(RpcError) as caught:
            await EchoClient(conn).say(request("crash"))
    assert caught.value.code == Code.UNKNOWN
    assert "secret" not in caught.value.message
    assert "a secret" in caplog.text


async def test_unimplemented_and_unknown() -> None:
    async with ipcgen.local(EchoService()) as conn:
        client = EchoClient(conn)
        for call in (client.say(request("x")), client.join([]), anext(client.repeat(request("x")))):
            with pytest.raises(RpcError) as caught:
                await call
            assert (caught.value.code, caught.value.not_executed) == (Code.UNIMPLEMENTED, True)
    async with ipcgen.local() as conn:
        with pytest.raises(RpcError, match="does not serve this method") as caught:
            await EchoClient(conn).say(request("x"))
        assert (caught.value.code, caught.value.not_executed) == (Code.UNIMPLEMENTED, True)


async def test_metadata_and_trailers() -> None:
    trailers: dict[str, str] = {}
    raw = b"\xff\x00".decode("utf-8", "surrogateescape")
    async with ipcgen.local(Echo()) as conn:
        client = EchoClient(conn)
        with pytest.raises(RpcError, match="want 1 to 255 characters") as caught:
            await client.say(request("metadata"), metadata={"Upper": "x"})
        assert (caught.value.code, caught.value.not_executed) == (Code.INVALID_ARGUMENT, True)
        answer = await client.say(request("metadata"), metadata={"lang": "en", "b": "2"}, trailers=trailers)
        assert answer.text == "b=2,lang=en"
        assert trailers == {"took": "long"}
        await client.say(request("x"), metadata={"raw": raw})


class Trailing(EchoService):
    """Sends a trailer of so many of the text."""

    async def say(self, request: SayRequest) -> SayResponse:
        ipcgen.current().set_trailer("t", request.text * request.times)
        return SayResponse(text="x" * 3000)


async def test_metadata_and_trailers_over_the_peers_frame() -> None:
    async with ipcgen.local(Trailing(), limits=ipcgen.Limits(max_frame=4096)) as conn:
        client = EchoClient(conn)
        with pytest.raises(RpcError, match=r"metadata takes 5021 bytes .* over the limit of 4096 of a frame") as caught:
            await client.say(request("x"), metadata={"m": "x" * 4999})
        assert (caught.value.code, caught.value.not_executed) == (Code.INVALID_ARGUMENT, True)
        with pytest.raises(RpcError, match=r"the trailers take 5010 bytes, over the limit of 4096 of a frame") as caught:
            await client.say(request("x", 5000))
        assert (caught.value.code, caught.value.not_executed, caught.value.remote) == (Code.RESOURCE_EXHAUSTED, False, True)
        for text, times in ("x", 1080), ("\N{GRINNING FACE}", 270):  # four bytes each
            assert len((await client.say(request(text, times))).text) == 3000
        assert conn.error is None


async def test_a_wrong_type_is_said_before_anything_is_sent() -> None:
    async with ipcgen.local(Echo()) as conn:
        with pytest.raises(TypeError, match=r"echo\.v1\.Echo/Say: want a message of the type echo\.v1\.SayRequest"):
            await EchoClient(conn).say(Empty())  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"echo\.v1\.Echo/Repeat: want a message of the type"):
            EchoClient(conn).repeat(Empty())  # type: ignore[arg-type]
        gc.collect()  # what was made of it meets its end without a warning


async def test_closing_a_call_that_waits_for_its_slot() -> None:
    echo = Echo()
    async with ipcgen.local(echo, limits=ipcgen.Limits(calls=1)) as conn:
        first = asyncio.create_task(EchoClient(conn).say(request("wait")))
        await echo.waiting.wait()
        chat = EchoClient(conn).chat()
        sending = asyncio.create_task(chat.send(request("x")))
        await settled(lambda: bool(conn._session.queue))
        await chat.aclose()
        first.cancel()
        with pytest.raises(RpcError) as caught:
            await sending
        assert caught.value.code == Code.CANCELLED
        with pytest.raises(RpcError) as caught:
            await chat.receive()
        assert caught.value.code == Code.CANCELLED
        await settled(lambda: not conn._session.pending)
        await asyncio.wait((first,))


async def test_deadline() -> None:
    echo = Echo()
    async with ipcgen.local(echo) as conn:
        client = EchoClient(conn)
        with pytest.raises(TimeoutError) as caught:
            await client.say(request("wait"), timeout=0.01)
        assert isinstance(caught.value, ipcgen.DeadlineExceeded)
        await settled(lambda: echo.ended == [Code.DEADLINE_EXCEEDED])
        with pytest.raises(RpcError) as late:
            await client.say(request("x"), timeout=-1)
        assert (late.value.code, late.value.not_executed) == (Code.DEADLINE_EXCEEDED, True)
        with pytest.raises(ipcgen.DeadlineExceeded):
            async for _ in client.repeat(request("wait", 2), timeout=0.01):
                pass


@pytest.mark.parametrize("timeout", [float("inf"), 1e12, pytest.param(10**400, id="10**400"), 3e6])
async def test_a_deadline_that_is_far_away(timeout: float) -> None:
    async with ipcgen.local(Echo()) as conn:
        client = EchoClient(conn)
        assert (await client.say(request("x"), timeout=timeout)).text == "x"
        assert [r.text async for r in client.repeat(request("x", 2), timeout=timeout)] == ["x", "x"]


async def test_what_is_no_connection(tmp_path: Path) -> None:
    where = f"unix:{tmp_path}/echo.sock"
    with pytest.raises(TypeError, match="type Connection, got 'Dialing': await what"):
        EchoClient(ipcgen.dial(where))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="type SyncConnection, got 'Dialing': await what"):
        EchoClientSync(ipcgen.dial(where))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"type Connection, got 'str'$"):
        EchoClient(where)  # type: ignore[arg-type]
    async with ipcgen.local(Echo()) as conn:
        with pytest.raises(TypeError, match=r"type SyncConnection, got 'Connection': ipcgen\.dial_sync makes"):
            EchoClientSync(conn)  # type: ignore[arg-type]


def plain(method: Callable[..., object]) -> Callable[..., object]:
    return lambda *arguments: method(*arguments)


def in_thread(method: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(method)
    async def wrapper(*arguments: object) -> object:
        return await asyncio.to_thread(method, *arguments)

    return wrapper


async def test_what_is_no_handler() -> None:
    def returns(self: object, request: SayRequest) -> SayResponse:
        raise AssertionError("it was run")

    def yields(self: object, request: SayRequest) -> Iterator[SayResponse]:
        yield SayResponse()

    async def yields_later(self: object, request: SayRequest) -> AsyncIterator[SayResponse]:
        yield SayResponse()

    async def returns_later(self: object, request: SayRequest) -> SayResponse:
        return SayResponse()

    for name, handler in [
        ("say", returns),
        ("say", yields),
        ("say", yields_later),
        ("say", functools.wraps(returns)(plain(returns))),
        ("note", returns),
        ("join", returns),
        ("repeat", returns_later),
        ("repeat", yields),
        ("chat", returns_later),
    ]:
        wrong = type("Wrong", (Echo,), {name: handler})
        with pytest.raises(TypeError, match=rf"^Wrong\.{name} handles echo\.v1\.Echo/\w+: want an .async def. that"):
            ipcgen.listen("tcp:127.0.0.1:0", wrong())
    members = {"say": in_thread(lambda self, request: SayResponse(text="x")), "repeat": plain(yields_later)}
    async with ipcgen.local(type("Right", (EchoService,), members)()) as conn:
        client = EchoClient(conn)
        assert (await client.say(request("x"))).text == "x"
        assert [r.text async for r in client.repeat(request("x"))] == [""]
        with pytest.raises(RpcError) as caught:
            await client.join([])
        assert caught.value.code == Code.UNIMPLEMENTED


async def test_closing_a_call_ends_receiving() -> None:
    deaf = Deaf()
    async with ipcgen.local(deaf) as conn:
        async with EchoClient(conn).chat() as chat:
            receiving = asyncio.create_task(chat.receive())
            await asyncio.sleep(0)
        done, _ = await asyncio.wait((receiving,), timeout=HANGS)
        deaf.until.set()
        assert done
        with pytest.raises(RpcError) as caught:
            await receiving
        assert caught.value.code == Code.CANCELLED


async def test_a_deadline_is_one_for_send_and_receive() -> None:
    deaf = Deaf()
    async with ipcgen.local(deaf) as conn, EchoClient(conn).chat(timeout=0.05) as chat:

        async def send() -> None:
            while True:
                await chat.send(request("x" * 10_000))

        ended = await asyncio.gather(chat.receive(), send(), return_exceptions=True)
        again = await asyncio.gather(chat.receive(), return_exceptions=True)
        deaf.until.set()
        assert [type(e) for e in (*ended, *again)] == [ipcgen.DeadlineExceeded] * 3


def test_generated_code_uses_what_is_for_it() -> None:
    source = (TESTDATA / "services" / "python" / "echo" / "v1" / "echo_ipc.py").read_text()
    used = set(re.findall(r"\b_ipcgen\.(\w+)", source))
    assert used <= set(ipcgen.generated.__all__)  # type checkers take other names for private


def test_what_is_public() -> None:
    """What editors offer of a connection is what its users have of it, and nothing by which a session drives it."""
    common = {"close", "error", "peer", "ping", "shutdown"}
    for kind, more in ((ipcgen.Connection, {"wait_closed"}), (ipcgen.SyncConnection, set[str]())):
        assert {name for name in dir(kind) if not name.startswith("_")} == common | more


async def test_what_is_no_option() -> None:
    there_is = "a call has no option 'timeuot': there is timeout, metadata, trailers"
    async with ipcgen.local(Echo()) as conn:
        client = EchoClient(conn)
        with pytest.raises(TypeError, match=rf"echo\.v1\.Echo/Say: {there_is}"):
            await client.say(request("x"), timeuot=5)  # type: ignore[call-arg]
        with pytest.raises(TypeError, match=there_is):
            await client.note(request("x"), timeuot=5)  # type: ignore[call-arg]
        with pytest.raises(TypeError, match=there_is):
            await client.join([request("x")], timeuot=5)  # type: ignore[call-arg]
        with pytest.raises(TypeError, match=there_is):
            async for _ in client.repeat(request("x"), timeuot=5):  # type: ignore[call-arg]
                pass
        with pytest.raises(TypeError, match=there_is):
            await client.chat(timeuot=5).send(request("x"))  # type: ignore[call-arg]


async def test_what_is_no_timeout() -> None:
    async with ipcgen.local(Echo()) as conn:
        client = EchoClient(conn)
        with pytest.raises(RpcError, match="timeout is nan: want seconds") as caught:
            await client.say(request("x"), timeout=float("nan"))
        assert (caught.value.code, caught.value.not_executed) == (Code.INVALID_ARGUMENT, True)
        with pytest.raises(TypeError, match=r"echo\.v1\.Echo/Say: timeout is '5': want seconds, as a number"):
            await client.say(request("x"), timeout="5")  # type: ignore[arg-type]


async def test_what_is_no_metadata() -> None:
    async with ipcgen.local(Echo()) as conn:
        client = EchoClient(conn)
        with pytest.raises(TypeError, match=r"metadata \{'a': 5\}: want names and values of the type str"):
            await client.say(request("x"), metadata={"a": 5})  # type: ignore[dict-item]
        with pytest.raises(TypeError, match=r"metadata \{5: 'a'\}: want names"):
            await client.say(request("x"), metadata={5: "a"})  # type: ignore[dict-item]
        with pytest.raises(TypeError, match="metadata is of the type 'list': want a mapping"):
            await client.say(request("x"), metadata=[("a", "b")])  # type: ignore[arg-type]


async def test_asyncio_timeout_is_a_deadline() -> None:
    echo = Echo()
    async with ipcgen.local(echo) as conn:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await EchoClient(conn).say(request("wait"))
        await settled(lambda: echo.ended == [Code.CANCELLED])


@pytest.mark.parametrize("shape", ["say", "repeat", "join", "chat"])
async def test_cancelling_the_task_cancels_the_call(shape: str) -> None:
    echo = Echo()

    async def requests() -> AsyncIterator[SayRequest]:
        yield request("x")
        echo.waiting.set()
        await asyncio.Event().wait()

    async def call(client: EchoClient) -> None:
        match shape:
            case "say":
                await client.say(request("wait"))
            case "repeat":
                async for _ in client.repeat(request("wait", 1)):
                    pass
            case "join":
                await client.join(requests())
            case "chat":
                async with client.chat() as chat:
                    await chat.send(request("x"))
                    await chat.receive()
                    echo.waiting.set()
                    await chat.receive()

    async with ipcgen.local(echo) as conn:
        task = asyncio.create_task(call(EchoClient(conn)))
        await echo.waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await settled(lambda: not conn._session.pending)  # the handler was told, and has answered


async def test_leaving_a_loop_cancels_the_call() -> None:
    async with ipcgen.local(Echo()) as conn:
        async for _ in EchoClient(conn).repeat(request("x" * 1000, 1_000_000)):
            break
        gc.collect()
        await settled(lambda: not conn._session.pending)


async def test_sending_on_what_this_side_has_closed() -> None:
    async with ipcgen.local(Echo()) as conn:
        chat = EchoClient(conn).chat()
        await chat.close_send()
        with pytest.raises(RpcError, match="this side has closed its half of the call") as caught:
            await chat.send(request("late"))
        assert (caught.value.code, caught.value.not_executed) == (Code.FAILED_PRECONDITION, False)
        assert await chat.receive() is None
        with pytest.raises(EOFError):  # now the peer has ended it
            await chat.send(request("later"))
        for opened in (True, False):
            left = EchoClient(conn).chat()
            if opened:
                await left.send(request("x"))
            await left.aclose()
            with pytest.raises(RpcError, match="this side has closed the call") as caught:
                await left.send(request("late"))
            assert caught.value.code == Code.FAILED_PRECONDITION
            with pytest.raises(RpcError) as caught:
                await left.receive()
            assert caught.value.code == Code.CANCELLED


async def test_a_stream_that_has_ended_stays_so() -> None:
    async with ipcgen.local(Echo()) as conn:
        async with EchoClient(conn).chat() as chat:
            await chat.close_send()
            assert await chat.receive() is None
        assert await chat.receive() is None
        async with EchoClient(conn).repeat(request("x", 1)) as responses:
            assert [r.text async for r in responses] == ["x"]
        assert [r async for r in responses] == []


async def test_a_handler_that_has_not_begun_is_not_started() -> None:
    echo = Echo()
    async with ipcgen.local(echo) as conn:
        task = asyncio.create_task(EchoClient(conn).say(request("wait")))
        await asyncio.sleep(0)  # the call is on its way
        task.cancel()
        await asyncio.wait((task,))
        await settled(lambda: not conn._session.pending)
        assert (await EchoClient(conn).say(request("next"))).text == "next"


async def test_handlers_call_their_caller() -> None:
    class Back(EchoService):
        async def say(self, request: SayRequest) -> SayResponse:
            return await EchoClient(ipcgen.current().connection).say(SayRequest(text=request.text + "!"))

    a, b = socket.socketpair()
    peer = Peer("local", same_user=True)
    one, other = await asyncio.gather(
        begin(SocketChannel(a, peer), 0, Endpoint((Echo(),), None), "a"),
        begin(SocketChannel(b, peer), 1, Endpoint((Back(),), None), "b"),
    )
    async with one, other:
        assert one.peer.services == ("echo.v1.Echo",)
        assert (await EchoClient(one).say(SayRequest(text="hi"))).text == "hi!"


async def test_a_message_over_the_limit() -> None:
    async with ipcgen.local(Echo(), limits=ipcgen.Limits(max_message=5000)) as conn:
        client = EchoClient(conn)
        with pytest.raises(RpcError, match="over the limit of 5000") as caught:
            await client.say(request("x" * 5000))
        assert (caught.value.code, caught.value.not_executed) == (Code.RESOURCE_EXHAUSTED, True)
        with pytest.raises(RpcError) as caught:
            await client.join([request("x" * 3000)] * 2)
        assert caught.value.code == Code.RESOURCE_EXHAUSTED
        with pytest.raises(RpcError, match="over the limit of 5000") as caught:
            await client.join([request("x" * 5000)])
        assert not caught.value.not_executed  # the handler may run before it has a request


@pytest.mark.parametrize("opened", [True, False])
@pytest.mark.parametrize(
    ("message", "error", "code"),
    [
        (request("x" * 5000), RpcError, Code.RESOURCE_EXHAUSTED),
        (SayResponse(text="x"), TypeError, Code.INVALID_ARGUMENT),
    ],
    ids=["too large", "of another type"],
)
async def test_a_message_that_cannot_be_sent_ends_the_call(
    message: Any, error: type[Exception], code: Code, opened: bool
) -> None:
    async with ipcgen.local(Echo(), limits=ipcgen.Limits(max_message=5000)) as conn:
        chat = EchoClient(conn).chat()
        if opened:
            await chat.send(request("x"))
        with pytest.raises(error):
            await chat.send(message)
        await settled(lambda: not conn._session.pending)  # the handler was told, and has answered
        with pytest.raises(RpcError) as caught:
            await chat.receive()
        assert (caught.value.code, caught.value.remote) == (code, False)
        with pytest.raises(EOFError if opened else RpcError):
            await chat.send(request("next"))


class Incomplete(ipcgen.Service):
    """Answers with a message that cannot be encoded: its required fields are not set."""

    _service = "test.v1.Incomplete"
    ANSWER = ipcgen.generated.UnaryMethod("test.v1.Incomplete/Answer", Empty, UninterpretedOption.NamePart)
    ASK = ipcgen.generated.UnaryMethod("test.v1.Incomplete/Ask", UninterpretedOption.NamePart, Empty)
    _methods = (("answer", ANSWER), ("ask", ASK))

    async def answer(self, request: Empty) -> UninterpretedOption.NamePart:
        return UninterpretedOption.NamePart()

    async def ask(self, request: UninterpretedOption.NamePart) -> Empty:
        raise AssertionError("a request that cannot be encoded has come")


async def test_a_message_that_cannot_be_encoded() -> None:
    async with ipcgen.local(Incomplete()) as conn:
        with pytest.raises(RpcError, match=r"encoding the message: .*required") as caught:
            await Incomplete.ASK.call(conn, UninterpretedOption.NamePart(), {})
        e = caught.value
        assert (e.code, e.not_executed, e.remote) == (Code.INVALID_ARGUMENT, True, False)
        with pytest.raises(RpcError, match=r"encoding the message: .*required") as caught:
            await Incomplete.ANSWER.call(conn, Empty(), {})
        e = caught.value
        assert (e.code, e.not_executed, e.remote) == (Code.INTERNAL, False, True)


async def test_shutdown_lets_calls_finish() -> None:
    echo = Echo()
    async with ipcgen.local(echo) as conn:
        client = EchoClient(conn)
        async with client.chat() as chat:
            await chat.send(request("before"))
            await chat.receive()
            leaving = asyncio.create_task(conn.shutdown())
            await settled(lambda: conn._session.leaving)
            with pytest.raises(RpcError, match="draining") as caught:
                await client.say(request("x"))
            assert (caught.value.code, caught.value.not_executed) == (Code.UNAVAILABLE, True)
            await chat.send(request("after"))
            answer = await chat.receive()
            assert answer is not None
            assert answer.text == "after"
            assert not leaving.done()
            await chat.close_send()
            assert await chat.receive() is None
        await leaving
        assert conn.error is not None
        assert conn.error.reason == ipcgen.Reason.DRAINED


async def test_shutdown_waits_no_longer_than_its_grace() -> None:
    echo = Echo()
    async with ipcgen.local(echo) as conn:
        call = asyncio.create_task(EchoClient(conn).say(request("wait")))
        await echo.waiting.wait()
        await conn.shutdown(0.01)
        with pytest.raises(RpcError) as caught:
            await call
        assert (caught.value.code, caught.value.not_executed) == (Code.UNAVAILABLE, False)


async def test_closing_fails_calls() -> None:
    echo = Echo()
    async with ipcgen.local(echo) as conn:
        client = EchoClient(conn)
        call = asyncio.create_task(client.say(request("wait")))
        await echo.waiting.wait()
        await conn.close()
        with pytest.raises(RpcError, match="this side closed it") as caught:
            await call
        assert isinstance(caught.value.__cause__, ipcgen.SessionError)
        assert not caught.value.not_executed
        with pytest.raises(RpcError) as refused:
            await client.say(request("x"))
        assert refused.value.not_executed


async def test_a_forked_process_leaves_the_connection_alone() -> None:
    async with ipcgen.local(Echo()) as conn:
        client = EchoClient(conn)
        async with client.chat() as chat:
            await chat.send(request("x"))

            async def collect() -> list[SayResponse]:
                return [r async for r in client.repeat(request("x", 1))]

            async def leave() -> str:
                await chat.aclose()
                async with conn:
                    pass
                return "left"

            uses: list[Callable[[], Coroutine[Any, Any, object]]] = [
                lambda: client.say(request("x")),
                lambda: client.note(request("x")),
                collect,
                lambda: client.join([]),
                lambda: chat.send(request("x")),
                chat.receive,
                chat.close_send,
                conn.ping,
                conn.shutdown,
            ]
            for use in uses:
                said = in_fork(lambda use=use: asyncio.run(use()))  # type: ignore[misc]
                assert said.startswith("RuntimeError: the connection to local belongs to the process that this one was forked")
            assert in_fork(lambda: asyncio.run(leave())) == "left"
            answer = await chat.receive()
            assert answer is not None
            assert answer.text == "x"
        assert (await client.say(request("next"))).text == "next"


async def test_large_responses_take_turns() -> None:
    """Where there is room for one of several large responses only, each comes in its turn."""
    limits = ipcgen.Limits(max_message=40_000, assembly=40_000, window=16_384, max_frame=4096)
    async with ipcgen.local(Echo(), limits=limits) as conn:
        client, text = EchoClient(conn), "x" * 39_000
        for _ in range(10):
            answers = await asyncio.gather(*(client.say(request(text)) for _ in range(16)))
            assert all(a.text == text for a in answers)
        assert conn._session.reserved == 0
