"""A program that tests start: it serves Echo at the address it is given, as the first word says."""

from __future__ import annotations

import asyncio
import os
import sys

import conftest  # noqa: F401 - finds the schema
from echo.v1.echo_ipc import EchoService, SayRequest, SayResponse
from echoes import Echo

import ipcgen


class Deadly(EchoService):
    """Dies in the middle of a call."""

    async def say(self, request: SayRequest) -> SayResponse:
        os._exit(int(request.text))


class Noisy(Echo):
    """Prints what it gives back."""

    async def say(self, request: SayRequest) -> SayResponse:
        print("printed:", request.text)
        return await super().say(request)


SERVICES = {"plain": Echo, "deadly": Deadly, "noisy": Noisy}


def main(how: str, address: str) -> None:
    asyncio.run(ipcgen.serve(address, SERVICES[how]()))


if __name__ == "__main__":
    if sys.argv[1] == "exits":
        sys.exit(3)
    main(sys.argv[1], sys.argv[2])
