"""ipcgen without an event loop in the client. Its server is that of ipcgen_async.py."""

import measure
from bench_ipc import BenchClientSync, Payload, StreamRequest

import ipcgen

what, address, count, size = measure.arguments()
with ipcgen.dial_sync(address) as conn:
    client = BenchClientSync(conn)
    if what == "call":
        request = Payload(data=bytes(size))
        measure.calls(lambda: client.echo(request), count)
    else:
        measure.stream((len(r.data) for r in client.stream(StreamRequest(count=count, size=size))), count, size)
