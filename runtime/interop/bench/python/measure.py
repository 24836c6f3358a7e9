"""What all programs do with their command line, and how they measure: README.md of the folder above."""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable

WARM_UP = 2000
"""Calls before the first that is measured."""

Call = Callable[[], object]
AsyncCall = Callable[[], Awaitable[object]]


def arguments() -> tuple[str, str, int, int]:
    """Return what to do ("serve", "call", "stream"), the address, how often, and the bytes of a message."""
    what, address, count, size = sys.argv[1:]
    return what, address, int(count), int(size)


def ready() -> None:
    """Say that the server listens."""
    print("ready", flush=True)


def report(count: int, seconds: float, latencies: list[float]) -> None:
    """Print what was measured."""
    p50 = statistics.median(latencies) if latencies else 0.0
    print(json.dumps({"count": count, "seconds": seconds, "p50": p50}))


def calls(call: Call, count: int) -> None:
    """Measure calls that block."""
    for _ in range(WARM_UP):
        call()
    latencies = []
    begin = last = time.perf_counter()
    for _ in range(count):
        call()
        now = time.perf_counter()
        latencies.append(now - last)
        last = now
    report(count, last - begin, latencies)


async def async_calls(call: AsyncCall, count: int) -> None:
    """Measure calls of an event loop."""
    for _ in range(WARM_UP):
        await call()
    latencies = []
    begin = last = time.perf_counter()
    for _ in range(count):
        await call()
        now = time.perf_counter()
        latencies.append(now - last)
        last = now
    report(count, last - begin, latencies)


def stream(sizes: Iterable[int], count: int, size: int) -> None:
    """Measure a stream, of which the sizes of the messages are given."""
    begin = time.perf_counter()
    total = sum(sizes)
    assert total == count * size, f"{total} bytes came"
    report(count, time.perf_counter() - begin, [])


async def async_stream(sizes: AsyncIterable[int], count: int, size: int) -> None:
    """Measure a stream of an event loop."""
    begin = time.perf_counter()
    total = 0
    async for n in sizes:
        total += n
    assert total == count * size, f"{total} bytes came"
    report(count, time.perf_counter() - begin, [])


def run(main: Awaitable[None]) -> None:
    """Run an event loop."""

    async def wrapped() -> None:
        await main

    asyncio.run(wrapped())
