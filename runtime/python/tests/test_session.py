"""Conversations with one end of a session, against the vectors: what it must do with what its peer sends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import pytest
from echo.v1.echo_ipc import EchoClient, SayRequest, TooLong
from echoes import Echo
from test_frame import FLAGS
from vectors import load, unhex

import ipcgen
from ipcgen import _frame as frame
from ipcgen._errors import REASON_NAMES

FILE = load("sessions.json")
LIMITS = ipcgen.Limits(
    max_frame=FILE["max_frame"], max_message=FILE["max_message"], calls=FILE["max_slots"], window=FILE["window"]
)


class End:
    """The end under test, and how it ended."""

    def __init__(self, side: str, fd: int) -> None:
        self.conn: asyncio.Future[ipcgen.Connection] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._listen(fd) if side == "listener" else self._dial(fd))
        self.call: asyncio.Task[dict[str, Any]] | None = None

    async def _listen(self, fd: int) -> None:
        await ipcgen.serve(f"fd:{fd}", Echo(), limits=LIMITS, connected=self._connected)

    async def _connected(self, conn: ipcgen.Connection) -> None:
        self.conn.set_result(conn)

    async def _dial(self, fd: int) -> None:
        conn = await ipcgen.dial(f"fd:{fd}", Echo(), limits=LIMITS)
        self.conn.set_result(conn)
        await conn.wait_closed()

    async def reason(self) -> str:
        """Return why the session ended, or did not begin."""
        try:
            await self.task
            error = (await self.conn).error
        except ipcgen.SessionError as e:
            error = e
        assert error is not None
        return REASON_NAMES[error.reason]

    async def do_call(self, step: dict[str, Any]) -> dict[str, Any]:
        client, request = EchoClient(await self.conn), SayRequest(text=step["text"], times=step.get("times", 0))
        texts: list[str] = []
        trailers: dict[str, str] = {}
        outcome: dict[str, Any] = {"code": 0}
        try:
            if step["method"].endswith("/Say"):
                texts.append((await client.say(request, trailers=trailers)).text)
            else:
                async for response in client.repeat(request, trailers=trailers):
                    texts.append(response.text)  # those before an error count
        except asyncio.CancelledError:
            outcome["code"] = int(ipcgen.Code.CANCELLED)
        except ipcgen.RpcError as e:
            outcome["code"] = int(e.code)
            if e.remote:
                outcome["message"] = e.message
            if e.not_executed:
                outcome["not_executed"] = True
            if detail := e.detail(TooLong):
                outcome["limit"] = detail.limit
        if texts:
            outcome["texts"] = texts
        if trailers:
            outcome["trailers"] = {k: v.encode("utf-8", "surrogateescape").hex() for k, v in trailers.items()}
        return outcome


class Peer:
    """The test, as the end under test sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bytewise: bool) -> None:
        self.reader, self.writer, self.bytewise = reader, writer, bytewise
        self.greeted = False

    async def send(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            for part in [bytes((b,)) for b in data] if self.bytewise else [data]:
                self.writer.write(part)
                await self.writer.drain()
                await asyncio.sleep(0)

    async def frame(self) -> dict[str, Any]:
        """Return the next frame that is neither HELLO nor CREDIT."""
        if not self.greeted:
            assert await self.reader.readexactly(8) == frame.PREFACE
            self.greeted = True
        while True:
            word, _, length, stream, arg = frame.HEADER.unpack(await self.reader.readexactly(16))
            payload = await self.reader.readexactly(length)
            if word & 0xFF not in (frame.HELLO, frame.CREDIT):
                return {"word": word, "stream": stream, "arg": arg, "payload": payload}

    async def expect(self, want: dict[str, Any]) -> None:
        """Read the next frame; what is wanted must be true of it."""
        got = await self.frame()
        type_ = frame.RULES[got["word"] & 0xFF].name
        assert type_ == want["type"], got
        for key in ("stream", "arg"):
            assert got[key] == want.get(key, got[key]), got
        if "flags" in want:
            assert {name for name, bit in FLAGS.items() if got["word"] >> 8 & bit} == set(want["flags"])
        payload, message, limit = got["payload"], got["payload"], frame.MetadataLimit(64, 8192)
        if type_ == "CALL":
            method, _, _, message = frame.parse_call(payload, 0, len(payload), limit)
            assert method.to_bytes(8, "little").hex() == want.get("method", method.to_bytes(8, "little").hex())
        elif type_ == "STATUS":
            head, message = frame.parse_status(payload, 0, len(payload), limit)
            if "details" in want:
                assert head.details == [(d["type"], unhex(d["value"])) for d in want["details"]]
        if "message" in want:
            assert message == unhex(want["message"])


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize("case", FILE["cases"], ids=lambda case: case["name"])
async def test_conversation(case: dict[str, Any], bytewise: bool) -> None:
    ours, theirs = socket.socketpair()
    end = End(case["side"], theirs.detach())
    peer = Peer(*await asyncio.open_connection(sock=ours), bytewise)
    try:
        for step in case["steps"]:
            await play(step, end, peer)
        if "ends" in case:
            assert await end.reason() == case["ends"]
            with contextlib.suppress(ConnectionError):
                while await peer.reader.read(65536):
                    pass  # what it had left to say
        else:
            await peer.send(frame.header(frame.PING, 0, 0))
            await peer.expect({"type": "PING", "flags": ["ACK"]})
        if end.call is not None:
            assert await end.call == {"code": 0, **case["outcome"]}
    finally:
        end.task.cancel()
        peer.writer.close()
        waited = [end.task, *([end.call] if end.call is not None else [])]
        await asyncio.wait(waited)
        if end.conn.done():
            await end.conn.result().close()


async def play(step: dict[str, Any], end: End, peer: Peer) -> None:
    match step["do"]:
        case "hello":
            await peer.send(unhex(FILE["hello"]))
        case "send":
            await peer.send(unhex(step["hex"]))
        case "close":
            peer.writer.write_eof()
        case "call":
            await end.conn
            end.call = asyncio.create_task(end.do_call(step))
        case "cancel":
            assert end.call is not None
            end.call.cancel()
        case "await":
            await peer.expect(step["frame"])
        case other:
            raise AssertionError(f"unknown step {other}")
