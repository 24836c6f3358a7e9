"""The Python worker: statistics over a stream of samples."""

import asyncio
import statistics
import sys
from collections.abc import AsyncIterator

from polyglot_ipc import DescribeRequest, LogRequest, Sample, StationClient, StatisticsService, Summary, UnknownSensor

import ipcgen


class Statistics(StatisticsService):
    async def summarize(self, requests: AsyncIterator[Sample]) -> Summary:
        # Who calls can be called, over the same connection.
        station = StationClient(ipcgen.current().connection)
        corrections: dict[str, float] = {}
        values: dict[str, list[float]] = {}
        async for sample in requests:
            if sample.sensor not in corrections:
                corrections[sample.sensor] = await self.correction(station, sample.sensor)
            values.setdefault(sample.sensor, []).append(sample.value + corrections[sample.sensor])
        await station.log(LogRequest(text=f"{sum(map(len, values.values()))} samples of {len(values)} sensors"))
        return Summary(rows=[row(sensor, values[sensor]) for sensor in sorted(values)])

    async def correction(self, station: StationClient, sensor: str) -> float:
        try:
            return (await station.describe(DescribeRequest(sensor=sensor))).correction
        except ipcgen.RpcError as e:
            # A message that the schema declares as an error arrives as that type, and can be passed on as it is.
            if unknown := e.detail(UnknownSensor):
                raise ipcgen.RpcError(ipcgen.Code.INVALID_ARGUMENT, "a sample of a sensor that is not there", unknown) from e
            raise


def row(sensor: str, values: list[float]) -> Summary.Row:
    return Summary.Row(
        sensor=sensor,
        count=len(values),
        least=min(values),
        mean=statistics.fmean(values),
        most=max(values),
        deviation=statistics.pstdev(values),
    )


# The Go program starts this one with "stdio:": the connection is stdin and stdout, and print goes to stderr.
asyncio.run(ipcgen.serve(sys.argv[1], Statistics()))
