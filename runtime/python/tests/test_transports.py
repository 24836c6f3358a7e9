"""Dialing and serving over each transport, and what comes of peers that die, stay silent or are not there."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shlex
import signal
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from echo.v1.echo_ipc import EchoClient, EchoClientSync, SayRequest
from echoes import Echo

import ipcgen
from ipcgen import Code, Reason, RpcError

CHILD = Path(__file__).with_name("child.py")


def command(how: str, address: str) -> str:
    """Return the address of a child that serves."""
    return "exec:" + shlex.join([sys.executable, "-B", str(CHILD), how, address])


@contextlib.asynccontextmanager
async def serving(address: str, echo: Echo | None = None, **options: object) -> AsyncIterator[str]:
    """Serve Echo, and give the address where it can be dialed."""
    async with ipcgen.listen(address, echo or Echo(), **options) as listener:  # type: ignore[arg-type]
        task = asyncio.create_task(listener.serve())
        try:
            yield listener.address
        finally:
            task.cancel()
            await asyncio.wait((task,))


def hello(conn: ipcgen.SyncConnection) -> str:
    return EchoClientSync(conn).say(SayRequest(text="hello")).text




@pytest.mark.parametrize("scheme", ["unix", "tcp", "tcp6"])
async def test_sockets(scheme: str, tmp_path: Path) -> None:
    address = {"unix": f"unix:{tmp_path}/echo.sock", "tcp": "tcp:127.0.0.1:0", "tcp6": "tcp:[::1]:0"}[scheme]
    if scheme == "tcp6" and not socket.has_ipv6:
        pytest.skip("there is no IPv6 here")
    async with serving(address) as there:
        async with ipcgen.dial(there) as conn:
            assert (await EchoClient(conn).say(SayRequest(text="hello"))).text == "hello"
            assert conn.peer.same_user == (scheme == "unix")
            assert conn.peer.pid == (os.getpid() if scheme == "unix" else None)

        def dial_sync() -> str:
            with ipcgen.dial_sync(there) as conn:
                return hello(conn)

        assert await asyncio.to_thread(dial_sync) == "hello"


async def test_a_unix_socket_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "echo.sock"
    async with serving(f"unix:{path}") as there:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(OSError, match="another server listens there"):
            ipcgen.listen(there, Echo())
        assert [p.name for p in tmp_path.iterdir()] == ["echo.sock"]
    assert not path.exists()


async def test_what_a_dead_server_left_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "echo.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(ConnectionRefusedError, match="the server has died and left the file behind"):
        await ipcgen.dial(f"unix:{path}")
    async with serving(f"unix:{path}") as there, ipcgen.dial(there) as conn:
        await conn.ping()


async def test_where_nobody_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such socket: is the server running"):
        await ipcgen.dial(f"unix:{tmp_path}/none.sock")
    with pytest.raises(FileNotFoundError, match="no such socket"):
        ipcgen.dial_sync(f"unix:{tmp_path}/none.sock")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="there is a file that is not a socket"):
        await ipcgen.dial(f"unix:{tmp_path}/file")
    with pytest.raises(FileExistsError, match="there is a file that is not a socket: remove it"):
        ipcgen.listen(f"unix:{tmp_path}/file", Echo())
    with pytest.raises(FileNotFoundError, match="make the directory first"):
        ipcgen.listen(f"unix:{tmp_path}/none/echo.sock", Echo())
    with pytest.raises(FileNotFoundError, match="exec:no-such-program: starting it"):
        await ipcgen.dial("exec:no-such-program")


async def test_a_child_over_its_stdin_and_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    async with ipcgen.dial(command("noisy", "stdio:")) as conn:
        client = EchoClient(conn)
        assert (await client.say(SayRequest(text="hello"))).text == "hello"
        assert (await client.say(SayRequest(text="again"))).text == "again"
        assert conn.peer.same_user
        await conn.shutdown()
    assert "printed: again" in capfd.readouterr().err


def test_a_child_for_a_thread() -> None:
    with ipcgen.dial_sync(command("plain", "stdio:")) as conn:
        assert hello(conn) == "hello"


async def test_how_a_child_ended_is_told() -> None:
    with pytest.raises(ipcgen.SessionError, match="ended with exit status 3") as caught:
        await ipcgen.dial(command("exits", "stdio:"))
    assert caught.value.reason == Reason.PEER_GONE
    with pytest.raises(ipcgen.SessionError, match="ended with exit status 3"):
        ipcgen.dial_sync(command("exits", "stdio:"))


async def test_calls_fail_when_the_peer_dies() -> None:
    async with ipcgen.dial(command("deadly", "stdio:")) as conn:
        client = EchoClient(conn)
        with pytest.raises(RpcError, match="exit status 7") as caught:
            await client.say(SayRequest(text="7"))
        assert (caught.value.code, caught.value.not_executed) == (Code.UNAVAILABLE, False)
        with pytest.raises(RpcError) as caught:
            await client.say(SayRequest(text="8"))
        assert caught.value.not_executed


@pytest.mark.parametrize("shape", ["say", "repeat", "join", "chat"])
async def test_every_kind_of_call_ends_when_the_peer_is_killed(shape: str, tmp_path: Path) -> None:
    there = f"unix:{tmp_path}/echo.sock"
    server = subprocess.Popen([sys.executable, "-B", str(CHILD), "plain", there])
    try:
        conn = await dial_when_it_is_there(there)
        async with conn:
            call = asyncio.create_task(endless(EchoClient(conn), shape))
            await conn.ping()  # the call is there
            server.send_signal(signal.SIGKILL)
            with pytest.raises((RpcError, EOFError)):
                await call
            await conn.wait_closed()
            assert conn.error is not None
            assert (conn.error.reason, conn.error.peer) == (Reason.PEER_GONE, there)
            assert str(conn.error).startswith(f"session with {there} ended: peer gone: ")
    finally:
        server.kill()
        server.wait()


async def dial_when_it_is_there(address: str) -> ipcgen.Connection:
    while True:
        try:
            return await ipcgen.dial(address)
        except OSError:
            await asyncio.sleep(0.01)


async def endless(client: EchoClient, shape: str) -> None:
    """Make a call that does not end."""
    match shape:
        case "say":
            await client.say(SayRequest(text="wait"))
        case "repeat":
            async for _ in client.repeat(SayRequest(text="x" * 100, times=2**31)):
                pass
        case "join":

            async def requests() -> AsyncIterator[SayRequest]:
                while True:
                    yield SayRequest(text="x")
                    await asyncio.sleep(0)

            await client.join(requests())
        case "chat":
            async with client.chat() as chat:
                while True:
                    await chat.send(SayRequest(text="x"))
                    await chat.receive()


def test_a_thread_that_waits_is_told_when_the_peer_is_killed(tmp_path: Path) -> None:
    ended = r"session with exec:\S+ ended: .* exit status 9"
    with ipcgen.dial_sync(command("deadly", "stdio:")) as conn, pytest.raises(RpcError, match=ended) as caught:
        EchoClientSync(conn).say(SayRequest(text="9"))
    assert (caught.value.code, caught.value.not_executed) == (Code.UNAVAILABLE, False)


async def test_a_peer_that_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "silent.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        limits = ipcgen.Limits(handshake=0.05)
        with pytest.raises(ipcgen.SessionError, match="HELLO did not come within") as caught:
            await ipcgen.dial(f"unix:{path}", limits=limits)
        assert caught.value.reason == Reason.NO_HANDSHAKE
        with pytest.raises(ipcgen.SessionError, match="HELLO did not come within"):
            ipcgen.dial_sync(f"unix:{path}", limits=limits)


@pytest.mark.parametrize("scheme", ["unix", "tcp", "tls"])
async def test_who_only_looks_is_not_worth_a_warning(
    scheme: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address = f"unix:{tmp_path}/echo.sock" if scheme == "unix" else f"{scheme}:127.0.0.1:0"
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if scheme == "tls" else None
    async with serving(address, tls=tls) as there:
        for sent, level in ((b"", logging.DEBUG), (b"IPC", logging.WARNING)):
            caplog.clear()
            family = socket.AF_UNIX if scheme == "unix" else socket.AF_INET
            with caplog.at_level(logging.DEBUG, "ipcgen"), socket.socket(family) as peer:
                peer.connect(there[5:] if scheme == "unix" else ("127.0.0.1", int(there.rpartition(":")[2])))
                peer.sendall(sent)
                peer.shutdown(socket.SHUT_WR)
                if not sent:
                    peer.close()
                while not (said := [r for r in caplog.records if r.name == "ipcgen"]):
                    await asyncio.sleep(0)
            assert [(r.levelno, r.getMessage()[:21]) for r in said] == [(level, "session did not begin")]


async def test_a_peer_that_reads_nothing() -> None:
    ours, theirs = socket.socketpair()
    other, conn = await asyncio.gather(
        ipcgen.dial(f"fd:{theirs.detach()}"),
        ipcgen.dial(f"fd:{ours.detach()}", limits=ipcgen.Limits(stall=0.05)),
    )
    asyncio.get_running_loop().remove_reader(other._channel.reads)
    async with other, conn:
        calls = [asyncio.create_task(EchoClient(conn).say(SayRequest(text="x" * 100_000))) for _ in range(50)]
        await conn.wait_closed()
        assert conn.error is not None
        assert conn.error.reason == Reason.STALLED
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(r, RpcError) and r.code == Code.UNAVAILABLE for r in results)
        # Those whose first byte was never handed over have certainly not been executed.
        assert {r.not_executed for r in results if isinstance(r, RpcError)} == {False, True}


async def test_a_listener_that_stops_lets_calls_finish(tmp_path: Path) -> None:
    echo = Echo()
    async with ipcgen.listen(f"unix:{tmp_path}/echo.sock", echo) as listener:
        task = asyncio.create_task(listener.serve())
        async with ipcgen.dial(listener.address) as conn:
            async with EchoClient(conn).chat() as chat:
                await chat.send(SayRequest(text="one"))
                await chat.receive()
                task.cancel()
                while not conn._session.peer_leaving:
                    await asyncio.sleep(0.001)
                await chat.send(SayRequest(text="two"))
                answer = await chat.receive()
                assert answer is not None
                assert answer.text == "two"
                await chat.close_send()
                assert await chat.receive() is None
            with pytest.raises(asyncio.CancelledError):
                await task
            await conn.wait_closed()


async def test_sessions_are_bounded(tmp_path: Path) -> None:
    async with (
        serving(f"unix:{tmp_path}/echo.sock", limits=ipcgen.Limits(sessions=1)) as there,
        ipcgen.dial(there) as conn,
    ):
        with pytest.raises(ipcgen.SessionError):
            await ipcgen.dial(there)
        await conn.ping()


def test_descriptors_that_cannot_carry_a_session(tmp_path: Path) -> None:
    reads, writes = os.pipe()
    with (tmp_path / "file").open("wb") as file, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        for address, want in [
            ("fd:9999", "is not open"),
            (f"fd:{file.fileno()}", "is a file or a directory"),
            (f"fd:{datagrams.fileno()}", "is a socket, but not of a stream"),
            (f"fd:{reads}", "cannot be both read from and written to"),
            (f"fd:{writes},{reads}", "cannot be read from: a pipe goes one way"),
        ]:
            with pytest.raises(OSError, match=want):
                ipcgen.dial_sync(address)
    os.close(reads)
    os.close(writes)


async def test_an_echo_is_no_peer() -> None:
    with pytest.raises(ipcgen.SessionError, match="it is no ipcgen peer") as caught:
        await ipcgen.dial("exec:cat")
    assert caught.value.reason == Reason.FOREIGN
    with pytest.raises(ipcgen.SessionError, match="it is no ipcgen peer"):
        ipcgen.dial_sync("exec:cat")
