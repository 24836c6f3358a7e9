"""ipcgen with asyncio: server and client."""

from collections.abc import AsyncIterator

import measure
from bench_ipc import BenchClient, BenchService, Payload, StreamRequest

import ipcgen


class Bench(BenchService):
    async def echo(self, request: Payload) -> Payload:
        return Payload(data=request.data)

    async def stream(self, request: StreamRequest) -> AsyncIterator[Payload]:
        payload = Payload(data=bytes(request.size))
        for _ in range(request.count):
            yield payload


async def main() -> None:
    what, address, count, size = measure.arguments()
    if what == "serve":
        async with ipcgen.listen(address, Bench()) as listener:
            measure.ready()
            await listener.serve()
        return
    async with ipcgen.dial(address) as conn:
        client = BenchClient(conn)
        if what == "call":
            request = Payload(data=bytes(size))
            await measure.async_calls(lambda: client.echo(request), count)
            return

        async def sizes() -> AsyncIterator[int]:
            async for response in client.stream(StreamRequest(count=count, size=size)):
                yield len(response.data)

        await measure.async_stream(sizes(), count, size)


measure.run(main())
