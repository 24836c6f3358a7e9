"""Calls as users make them without an event loop, from one thread and from several."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from echo.v1.echo_ipc import EchoClient, EchoClientSync, EchoService, SayRequest, TooLong
from echoes import Deaf, Echo
from forks import in_fork

import ipcgen
from ipcgen import Code, RpcError


class Server:
    """Echo, served by an event loop in a thread of its own."""

    def __init__(self, address: str, limits: ipcgen.Limits | None = None, echo: EchoService | None = None) -> None:
        self.echo = Echo()
        self.service = echo or self.echo
        self.address = address
        self.limits = limits
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(self._serve(),))
        self.thread.start()
        self.ready.wait()

    async def _serve(self) -> None:
        self.stop = asyncio.Event()
        self.conns: list[ipcgen.Connection] = []
        async with ipcgen.listen(self.address, self.service, limits=self.limits, connected=self._connected) as listener:
            task = asyncio.create_task(listener.serve())
            self.ready.set()
            await self.stop.wait()
            task.cancel()
            await asyncio.wait((task,))

    async def _connected(self, conn: ipcgen.Connection) -> None:
        self.conns.append(conn)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join()
        self.loop.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(f"unix:{tmp_path}/echo.sock")
    yield server
    server.close()


@pytest.fixture
def conn(server: Server) -> Iterator[ipcgen.SyncConnection]:
    with ipcgen.dial_sync(server.address) as conn:
        yield conn


def request(text: str, times: int = 0) -> SayRequest:
    return SayRequest(text=text, times=times)


def settled(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; without that the test does not end."""
    while not condition():
        time.sleep(0.001)


def test_each_shape(server: Server, conn: ipcgen.SyncConnection) -> None:
    client = EchoClientSync(conn)
    assert client.say(request("hello")).text == "hello"
    assert [r.text for r in client.repeat(request("again", 3))] == ["again"] * 3
    assert client.join(request(c) for c in "abc").text == "abc"
    with client.chat() as chat:
        for text in ("one", "two"):
            chat.send(request(text))
            answer = chat.receive()
            assert answer is not None
            assert answer.text == text
        chat.close_send()
        assert chat.receive() is None
    client.note(request("noted"))
    conn.ping()
    settled(lambda: server.echo.noted == ["noted"])


@pytest.mark.parametrize("size", [0, 16_384, 131_072, 3_000_000])
def test_sizes(conn: ipcgen.SyncConnection, size: int) -> None:
    client, text = EchoClientSync(conn), "x" * size
    assert client.say(request(text)).text == text
    assert [r.text == text for r in client.repeat(request(text, 3))] == [True] * 3


def test_errors(conn: ipcgen.SyncConnection) -> None:
    client = EchoClientSync(conn)
    with pytest.raises(RpcError) as caught:
        client.say(request("too long"))
    assert caught.value.detail(TooLong) == TooLong(limit=8)
    with pytest.raises(TypeError, match="want a message of the type"):
        client.say(TooLong())  # type: ignore[arg-type]
    trailers: dict[str, str] = {}
    assert client.say(request("metadata"), metadata={"lang": "en"}, trailers=trailers).text == "lang=en"
    assert trailers == {"took": "long"}


def test_deadlines(server: Server, conn: ipcgen.SyncConnection) -> None:
    client = EchoClientSync(conn)
    with pytest.raises(TimeoutError):
        client.say(request("wait"), timeout=0.02)
    with pytest.raises(ipcgen.DeadlineExceeded):
        list(client.repeat(request("wait", 2), timeout=0.02))
    settled(lambda: len(server.echo.ended) == 2)
    assert set(server.echo.ended) == {Code.DEADLINE_EXCEEDED}
    assert client.say(request("next")).text == "next"


def test_closing_a_call_ends_receiving(tmp_path: Path) -> None:
    deaf = Deaf()
    server = Server(f"unix:{tmp_path}/echo.sock", echo=deaf)
    try:
        with ipcgen.dial_sync(server.address) as conn, ThreadPoolExecutor() as threads:
            with EchoClientSync(conn).chat() as chat:
                receiving = threads.submit(chat.receive)
                settled(lambda: conn._reading)
            with pytest.raises(RpcError) as caught:
                receiving.result()
            assert caught.value.code == Code.CANCELLED
    finally:
        server.loop.call_soon_threadsafe(deaf.until.set)
        server.close()


@pytest.mark.parametrize("timeout", [float("inf"), 1e12, 3e6])
def test_a_deadline_that_is_far_away(conn: ipcgen.SyncConnection, timeout: float) -> None:
    client = EchoClientSync(conn)
    assert client.say(request("x"), timeout=timeout).text == "x"
    with pytest.raises(TypeError, match="want seconds, as a number"):
        client.say(request("x"), timeout="5")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a call has no option 'timeuot'"):
        client.say(request("x"), timeuot=5)  # type: ignore[call-arg]
    conn.ping(timeout)


def test_the_other_kind_of_client(conn: ipcgen.SyncConnection) -> None:
    with pytest.raises(TypeError, match="type Connection, got 'SyncConnection': clients whose names end in Sync"):
        EchoClient(conn)  # type: ignore[arg-type]


def test_many_threads(conn: ipcgen.SyncConnection) -> None:
    client = EchoClientSync(conn)
    failures: list[BaseException] = []

    def call(n: int) -> None:
        try:
            for i in range(50):
                assert client.say(request(f"{n}.{i}")).text == f"{n}.{i}"
            assert len(client.say(request("x" * 500_000)).text) == 500_000
            assert sum(1 for _ in client.repeat(request("y" * 1000, 100))) == 100
        except BaseException as e:
            failures.append(e)

    threads = [threading.Thread(target=call, args=(n,)) for n in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_more_threads_than_slots(tmp_path: Path) -> None:
    server = Server(f"unix:{tmp_path}/few.sock", ipcgen.Limits(calls=2))
    try:
        with ipcgen.dial_sync(server.address) as conn:
            test_many_threads(conn)
            client = EchoClientSync(conn)
            waiting = [client.repeat(request("wait", 1)) for _ in range(2)]
            for stream in waiting:
                next(stream)
            with pytest.raises(ipcgen.DeadlineExceeded, match="slots") as caught:
                client.say(request("x"), timeout=0.02)
            assert caught.value.not_executed
            for stream in waiting:
                stream.close()
            assert client.say(request("x")).text == "x"
    finally:
        server.close()


def test_a_thread_sends_while_another_receives(conn: ipcgen.SyncConnection) -> None:
    with EchoClientSync(conn).chat() as chat:

        def send() -> None:
            for i in range(500):
                chat.send(request(f"{i} " + "x" * 5000))
            chat.close_send()

        thread = threading.Thread(target=send)
        thread.start()
        received = [int(r.text.split()[0]) for r in chat]
        thread.join()
    assert received == list(range(500))


def test_sending_on_what_this_side_has_closed(conn: ipcgen.SyncConnection) -> None:
    chat = EchoClientSync(conn).chat()
    chat.close_send()
    with pytest.raises(RpcError, match="this side has closed its half of the call") as caught:
        chat.send(request("late"))
    assert (caught.value.code, caught.value.not_executed) == (Code.FAILED_PRECONDITION, False)
    assert chat.receive() is None
    with pytest.raises(EOFError):  # now the peer has ended it
        chat.send(request("later"))
    for opened in (True, False):
        left = EchoClientSync(conn).chat()
        if opened:
            left.send(request("x"))
        left.close()
        with pytest.raises(RpcError, match="this side has closed the call") as caught:
            left.send(request("late"))
        assert caught.value.code == Code.FAILED_PRECONDITION
        with pytest.raises(RpcError) as caught:
            left.receive()
        assert caught.value.code == Code.CANCELLED


def test_a_message_over_the_limit(conn: ipcgen.SyncConnection) -> None:
    with pytest.raises(RpcError, match="over the limit of") as caught:
        EchoClientSync(conn).join([request("x" * (5 << 20))])
    assert (caught.value.code, caught.value.not_executed) == (Code.RESOURCE_EXHAUSTED, False)


def test_a_message_that_cannot_be_sent_ends_the_call(conn: ipcgen.SyncConnection) -> None:
    for opened in (True, False):
        chat = EchoClientSync(conn).chat()
        if opened:
            chat.send(request("x"))
        with pytest.raises(RpcError, match="over the limit of"):
            chat.send(request("x" * (5 << 20)))
        settled(lambda: not conn._session.pending)  # the handler was told, and has answered
        with pytest.raises(RpcError) as caught:
            chat.receive()
        assert (caught.value.code, caught.value.remote) == (Code.RESOURCE_EXHAUSTED, False)


@contextmanager
def one_call_at_a_time(tmp_path: Path) -> Iterator[tuple[ipcgen.SyncConnection, EchoClientSync, ThreadPoolExecutor]]:
    server = Server(f"unix:{tmp_path}/one.sock", ipcgen.Limits(calls=1))
    try:
        with ipcgen.dial_sync(server.address) as conn, ThreadPoolExecutor() as pool:
            yield conn, EchoClientSync(conn), pool
    finally:
        server.close()


def test_closing_a_call_that_waits_for_its_slot(tmp_path: Path) -> None:
    with one_call_at_a_time(tmp_path) as (conn, client, pool):
        with client.chat() as first:
            chat = client.chat()
            sending = pool.submit(chat.send, request("x"))
            settled(lambda: bool(conn._session.queue))
            chat.close()
            first.close_send()
            assert first.receive() is None
        with pytest.raises(RpcError) as caught:
            sending.result()
        assert caught.value.code == Code.CANCELLED
        settled(lambda: not conn._session.pending)


def test_sending_and_receiving_open_one_call(tmp_path: Path) -> None:
    with one_call_at_a_time(tmp_path) as (conn, client, pool):
        with client.chat() as first:
            chat = client.chat()
            receiving = pool.submit(chat.receive)
            settled(lambda: bool(conn._session.queue))
            sending = pool.submit(chat.send, request("x"))
            settled(lambda: sending.running() and chat._opening.locked())
            assert len(conn._session.queue) == 1
            first.close_send()
            assert first.receive() is None
        sending.result()
        response = receiving.result()
        assert response is not None
        assert response.text == "x"
        chat.close()


def test_a_stream_that_has_ended_stays_so(conn: ipcgen.SyncConnection) -> None:
    with EchoClientSync(conn).chat() as chat:
        chat.close_send()
        assert chat.receive() is None
    assert chat.receive() is None


def test_leaving_a_loop_cancels_the_call(server: Server, conn: ipcgen.SyncConnection) -> None:
    for _ in EchoClientSync(conn).repeat(request("x" * 1000, 1_000_000)):
        break
    gc.collect()
    settled(lambda: not conn._session.pending)  # read by the connection's own thread


def test_an_idle_connection_answers(server: Server, conn: ipcgen.SyncConnection) -> None:
    EchoClientSync(conn).say(request("x"))
    settled(lambda: len(server.conns) == 1)
    # Nobody calls: the connection's own thread reads.
    asyncio.run_coroutine_threadsafe(server.conns[0].ping(), server.loop).result()
    asyncio.run_coroutine_threadsafe(server.conns[0].close(), server.loop).result()
    settled(lambda: conn.error is not None)
    with pytest.raises(RpcError, match="the peer closed the session") as caught:
        EchoClientSync(conn).say(request("x"))
    assert caught.value.not_executed


def test_closing_wakes_threads(conn: ipcgen.SyncConnection) -> None:
    failures: list[RpcError] = []

    def call() -> None:
        with pytest.raises(RpcError) as caught:
            EchoClientSync(conn).say(request("wait"))
        failures.append(caught.value)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for t in threads:
        t.start()
    settled(lambda: conn._session.pending == 4)
    conn.close()
    for t in threads:
        t.join()
    assert [(e.code, e.not_executed) for e in failures] == [(Code.UNAVAILABLE, False)] * 4


def test_a_forked_process_leaves_the_connection_alone(conn: ipcgen.SyncConnection) -> None:
    client, descriptor = EchoClientSync(conn), conn._channel.reads
    with client.chat() as chat:
        chat.send(request("x"))

        def leaves() -> str:
            chat.close()
            with conn:
                pass
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(descriptor)  # else the peer would not notice the death of the process whose session it is
            return "left"

        uses: list[Callable[[], object]] = [
            lambda: client.say(request("x")),
            lambda: client.note(request("x")),
            lambda: list(client.repeat(request("x", 1))),
            lambda: client.join([]),
            lambda: chat.send(request("x")),
            chat.receive,
            chat.close_send,
            conn.ping,
            conn.shutdown,
        ]
        for use in uses:
            assert in_fork(use) == (
                f"RuntimeError: the connection to {conn.peer.address} belongs to the process that this one was forked from: "
                "dial in this one"
            )
        assert in_fork(leaves) == "left"
        answer = chat.receive()
        assert answer is not None
        assert answer.text == "x"
    assert client.say(request("next")).text == "next"


def test_shutdown(server: Server, conn: ipcgen.SyncConnection) -> None:
    client = EchoClientSync(conn)
    with client.chat() as chat:
        chat.send(request("before"))
        chat.receive()
        leaving = threading.Thread(target=conn.shutdown)
        leaving.start()
        settled(lambda: conn._session.leaving)
        with pytest.raises(RpcError, match="draining") as caught:
            client.say(request("x"))
        assert caught.value.not_executed
        chat.close_send()
        assert chat.receive() is None
    leaving.join()
    assert conn.error is not None
    assert conn.error.reason == ipcgen.Reason.DRAINED


def test_a_server_that_drains_is_not_kept_waiting(server: Server, conn: ipcgen.SyncConnection) -> None:
    EchoClientSync(conn).say(request("x"))
    server.loop.call_soon_threadsafe(server.stop.set)
    server.thread.join()  # it sent a PING, which the idle connection has answered
    assert server.conns[0].error is not None
    assert server.conns[0].error.reason == ipcgen.Reason.DRAINED
