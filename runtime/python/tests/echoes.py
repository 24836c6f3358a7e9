"""The service that tests call: what testdata/vectors/README.md says of echo.v1.Echo, and what these tests need beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from echo.v1.echo_ipc import EchoService, SayRequest, SayResponse, TooLong

import ipcgen


class Echo(EchoService):
    """Gives back what it is given."""

    def __init__(self) -> None:
        self.noted: list[str] = []
        self.waiting = asyncio.Event()
        self.ended: list[ipcgen.Code | None] = []  # why handlers that waited were told to stop

    async def say(self, request: SayRequest) -> SayResponse:
        match request.text:
            case "wait":
                await self.wait()
            case "too long":
                raise ipcgen.RpcError(ipcgen.Code.OUT_OF_RANGE, "over the limit", TooLong(limit=8))
            case "crash":
                raise ZeroDivisionError("a secret")
            case "metadata":
                call = ipcgen.current()
                call.set_trailer("took", "long")
                return SayResponse(text=",".join(f"{k}={v}" for k, v in sorted(call.metadata.items())))
        return SayResponse(text=request.text)

    async def wait(self) -> None:
        self.waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.append(ipcgen.current().cancelled)

    async def repeat(self, request: SayRequest) -> AsyncIterator[SayResponse]:
        for _ in range(request.times):
            yield SayResponse(text=request.text)
        if request.text == "wait":
            await self.wait()

    async def join(self, requests: AsyncIterator[SayRequest]) -> SayResponse:
        return SayResponse(text="".join([request.text async for request in requests]))

    async def chat(self, requests: AsyncIterator[SayRequest]) -> AsyncIterator[SayResponse]:
        async for request in requests:
            yield SayResponse(text=request.text)

    async def note(self, request: SayRequest) -> None:
        self.noted.append(request.text)


class Deaf(EchoService):
    """Reads nothing, and goes on regardless of who waits for it."""

    def __init__(self) -> None:
        self.until = asyncio.Event()

    async def chat(self, requests: AsyncIterator[SayRequest]) -> AsyncIterator[SayResponse]:
        while not self.until.is_set():
            try:
                await self.until.wait()
            except asyncio.CancelledError:
                continue
        yield SayResponse()
