"""Archive files -> exact rows per day: repeats out, sessions found, measured, read out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import apache_beam as beam
import polars as pl
from apache_beam.pvalue import PCollection

from beam_pipelines.steps.columns import pack, unpack
from beam_pipelines.steps.live import Merge
from transforms import dedup
from transforms.daily import REPEATS, TOTAL, Stamp, daily_rows
from transforms.grid import add_local_day
from transforms.measure import measure
from transforms.metrics import PERSON, STATISTICS
from transforms.sessions import mark_starts
from transforms.statistics import DistinctSet, Statistic, Total

_NEEDED = {c for spec in STATISTICS.values() for c in spec.needs} - {"session_start"}
_COLUMNS = sorted({*dedup.KEY, *dedup.ORDER, "event_time", *_NEEDED})
_Key = tuple[str, str, str, str]  # project, statistic, dimensions, ISO day
Spans = Mapping[str, tuple[tuple[int, int], ...]]
Days = frozenset[tuple[str, date]]


@dataclass
class DailyRows(beam.PTransform):
    """Paths of archive files -> rows of `daily_aggregate` for `days`, exact.

    days:   (project, local day) wanted
    spans:  by project, [start, end) in us of the events to read: the days and their neighbours,
            where the other copy of a repeat or the rest of a session may lie
    zones:  time zone by project
    Bounded. The same archive gives the same values, however its files are cut.
    """

    days: Days
    spans: Spans
    zones: Mapping[str, str]
    stamp: Stamp
    shards: int = 8

    def expand(self, paths: PCollection[str]) -> PCollection[dict[str, Any]]:
        kept = (
            paths
            | "Read" >> beam.ParDo(_Read(self.spans, self.shards))
            | "ById" >> beam.GroupByKey()
            | "KeepFirst"
            >> beam.ParDo(_KeepFirst(self.zones, self.shards)).with_outputs(
                _KeepFirst.REPEATS, main="kept"
            )
        )
        measured = kept.kept | "ByPerson" >> beam.GroupByKey() | beam.ParDo(_Measure())
        return (
            (measured, kept[_KeepFirst.REPEATS])
            | beam.Flatten()
            | "Wanted" >> beam.Filter(_is_wanted, self.days)
            | "Merge" >> beam.CombinePerKey(Merge())
            | "ByDay" >> beam.Map(_by_day)
            | "Days" >> beam.GroupByKey()
            | "ReadOut" >> beam.FlatMap(_read_out, self.stamp)
        )


class _Read(beam.DoFn):
    """Path -> (shard, columns) of the rows within the spans, split by id."""

    def __init__(self, spans: Spans, shards: int) -> None:
        self._spans, self._shards = spans, shards

    def process(self, path: str) -> Iterator[tuple[int, bytes]]:
        rows = pl.read_parquet(path, columns=_COLUMNS, hive_partitioning=False)
        times = pl.col("event_time", "received_time").dt.timestamp("us")
        rows = rows.with_columns(times).filter(_within(self._spans))
        # Copies of an event must meet, whatever their times: only the id decides the shard.
        for shard, part in dedup.shards(rows, dedup.key_hash(), self._shards):
            yield shard, pack(part)


class _KeepFirst(beam.DoFn):
    """All copies of some ids -> the first of each, split by person; repeats counted by day."""

    REPEATS = "repeats"

    def __init__(self, zones: Mapping[str, str], shards: int) -> None:
        self._zones, self._shards = zones, shards

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Any]:
        rows = add_local_day(pl.concat([unpack(p) for p in element[1]]), self._zones)
        kept, repeats = dedup.keep_first(rows)
        for project, day, copies in repeats.group_by("project", "day").len().iter_rows():
            found = ((project, REPEATS, TOTAL, day.isoformat()), Total(copies))
            yield beam.pvalue.TaggedOutput(self.REPEATS, found)
        person = pl.concat_str("project", pl.coalesce(PERSON, "event_id"), separator="\x1f")
        for shard, part in dedup.shards(kept, person.hash(7), self._shards):
            yield shard, pack(part)


class _Measure(beam.DoFn):
    """All events of some people -> (key with day, value)."""

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[tuple[_Key, Statistic]]:
        rows = mark_starts(pl.concat([unpack(p) for p in element[1]]))
        day = pl.col("day").to_physical()
        for key, number, value in measure(rows, STATISTICS.values(), day, DistinctSet):
            yield (*key, date.fromordinal(_EPOCH + number).isoformat()), value


_EPOCH = date(1970, 1, 1).toordinal()


def _within(spans: Spans) -> pl.Expr:
    wanted = pl.lit(False)
    for project, ranges in spans.items():
        for start, end in ranges:
            between = pl.col("event_time").is_between(start, end, closed="left")
            wanted |= (pl.col("project") == project) & between
    return wanted


def _is_wanted(element: tuple[_Key, Statistic], days: Days) -> bool:
    project, _, _, day = element[0]
    return (project, date.fromisoformat(day)) in days


def _by_day(element: tuple[_Key, Statistic]) -> tuple[tuple[str, str], Any]:
    (project, statistic, dimensions, day), value = element
    return (project, day), ((statistic, dimensions), value)


def _read_out(element: tuple[tuple[str, str], Iterable[Any]], stamp: Stamp) -> list[dict[str, Any]]:
    (project, day), values = element
    return daily_rows(project, date.fromisoformat(day), values, stamp)
