"""grpcio without an event loop: server, of threads, and client. The messages are the same as ipcgen's."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import measure
from bench_ipc import Payload, StreamRequest


def echo(request: Payload, context: Any) -> Payload:
    return Payload(data=request.data)


def stream(request: StreamRequest, context: Any) -> Iterator[Payload]:
    payload = Payload(data=bytes(request.size))
    for _ in range(request.count):
        yield payload


what, address, count, size = measure.arguments()
if what == "serve":
    server = grpc.server(ThreadPoolExecutor(4))
    methods = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo, Payload.FromString, Payload.SerializeToString),
        "Stream": grpc.unary_stream_rpc_method_handler(stream, StreamRequest.FromString, Payload.SerializeToString),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.v1.Bench", methods),))
    server.add_insecure_port(address)
    server.start()
    measure.ready()
    server.wait_for_termination()
with grpc.insecure_channel(address) as channel:
    if what == "call":
        say = channel.unary_unary("/bench.v1.Bench/Echo", Payload.SerializeToString, Payload.FromString)
        request = Payload(data=bytes(size))
        measure.calls(lambda: say(request), count)
    else:
        download = channel.unary_stream("/bench.v1.Bench/Stream", StreamRequest.SerializeToString, Payload.FromString)
        measure.stream((len(r.data) for r in download(StreamRequest(count=count, size=size))), count, size)
