"""grpcio with asyncio, grpc.aio: server and client. The messages are the same as ipcgen's."""

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import measure
from bench_ipc import Payload, StreamRequest


async def echo(request: Payload, context: Any) -> Payload:
    return Payload(data=request.data)


async def stream(request: StreamRequest, context: Any) -> AsyncIterator[Payload]:
    payload = Payload(data=bytes(request.size))
    for _ in range(request.count):
        yield payload


async def main() -> None:
    what, address, count, size = measure.arguments()
    if what == "serve":
        server = grpc.aio.server()
        methods = {
            "Echo": grpc.unary_unary_rpc_method_handler(echo, Payload.FromString, Payload.SerializeToString),
            "Stream": grpc.unary_stream_rpc_method_handler(stream, StreamRequest.FromString, Payload.SerializeToString),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.v1.Bench", methods),))
        server.add_insecure_port(address)
        await server.start()
        measure.ready()
        await server.wait_for_termination()
    async with grpc.aio.insecure_channel(address) as channel:
        if what == "call":
            say = channel.unary_unary("/bench.v1.Bench/Echo", Payload.SerializeToString, Payload.FromString)
            request = Payload(data=bytes(size))
            await measure.async_calls(lambda: say(request), count)
            return
        download = channel.unary_stream("/bench.v1.Bench/Stream", StreamRequest.SerializeToString, Payload.FromString)

        async def sizes() -> AsyncIterator[int]:
            async for response in download(StreamRequest(count=count, size=size)):
                yield len(response.data)

        await measure.async_stream(sizes(), count, size)


measure.run(main())
