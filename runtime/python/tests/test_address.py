"""Addresses: what they are, and how to mend one that is none."""

from __future__ import annotations

import asyncio
import re
import ssl
from pathlib import Path

import pytest
from echo.v1.echo_ipc import EchoClient, SayRequest
from echoes import Echo

import ipcgen
from ipcgen._address import AddressError, parse, words


@pytest.mark.parametrize(
    ("text", "attributes"),
    [
        ("unix:/run/a b.sock", {"path": "/run/a b.sock"}),
        ("tcp:localhost:80", {"host": "localhost", "port": 80}),
        ("tcp:[::1]:0", {"host": "::1", "port": 0}),
        ("tcp::80", {"host": "", "port": 80}),
        ("fd:3", {"fds": (3, 3)}),
        ("fd:3,4", {"fds": (3, 4)}),
        ("stdio:", {}),
        ("exec:python3 -c 'a b' \"c\\\"d\" e\\ f ''", {"argv": ("python3", "-c", "a b", 'c"d', "e f", "")}),
    ],
)
def test_parse(text: str, attributes: dict[str, object]) -> None:
    address = parse(text)
    assert {key: getattr(address, key) for key in attributes} == attributes


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("/run/echo.sock", 'has no scheme: for a unix socket write "unix:/run/echo.sock"'),
        ("localhost:80", 'has no scheme: for TCP write "tcp:localhost:80"'),
        ("unx:/a", 'there is no scheme "unx": did you mean "unix:/a"?'),
        ("tcp://a:1", 'is not a URL: write "tcp:a:1"'),
        ("unix:", "the path is missing"),
        ("unix:@a", "unix:./@a"),
        ("unix:" + "x" * 104, "the path has 104 bytes, and a socket's may have 103"),
        ("tcp:a", "the port is missing"),
        ("tcp:::1:80", "an IPv6 host stands in brackets"),
        ("tcp:a:b", "the port is b, not a number"),
        ("tcp:a:65536", "not a number from 0 to 65535"),
        ("tls:a:1", "needs a TLS configuration: pass tls="),
        ("stdio:x", "nothing follows the colon"),
        ("fd:x", "want the numbers of descriptors that are open"),
        ("fd:1", "the address stdio: is for"),
        ("exec:", "the program is missing"),
        ("exec:'a", "the quote ' is not closed"),
        ("exec:a\\", "a backslash at the end"),
        ("shm:", "want shm:PATH: the path is missing"),
        ("fifo:/a", "has no fifo: transport, write unix:PATH"),
        ("what", "want one of unix:PATH, tcp:HOST:PORT"),
        ("", "want one of"),
    ],
)
def test_errors(text: str, want: str) -> None:
    with pytest.raises(AddressError, match=re.escape(want)):
        parse(text)
    with pytest.raises(ValueError, match=re.escape(want)):
        ipcgen.dial(text)


def test_tls_with_a_configuration() -> None:
    assert parse("tls:a:1", ssl.create_default_context()).port == 1


async def test_shm_stays_on_the_socket(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with ipcgen.listen(f"shm:{tmp_path}/echo.sock", Echo()) as listener:
        assert listener.address == f"unix:{tmp_path}/echo.sock"
        task = asyncio.create_task(listener.serve())
        caplog.clear()
        async with ipcgen.dial(f"shm:{tmp_path}/echo.sock") as conn:
            assert (await EchoClient(conn).say(SayRequest(text="hello"))).text == "hello"
            assert conn.peer.address == listener.address
        assert "Python has no shared memory, so sessions stay on the socket" in caplog.text
        task.cancel()
        await asyncio.wait((task,))


def test_words() -> None:
    assert words("  a\tb  ") == ["a", "b"]
    assert words("'it'\\''s' x\"y\"z") == ["it's", "xyz"]
