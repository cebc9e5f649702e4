"""Beam twin of transforms.parity: the archive's rows under each rule, measured by local day."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import apache_beam as beam
import polars as pl
from apache_beam.pvalue import PCollection

from beam_pipelines.steps.counted import (
    BY_PERSON,
    CountedEvents,
    File,
    Piece,
    Spans,
    pieces,
    read_piece,
    within,
)
from beam_pipelines.steps.live import LIVE_STATISTICS, Merge
from beam_pipelines.work import spill, taken_back, tell_done
from transforms import dedup, parity
from transforms.grid import add_local_day
from transforms.measure import measure
from transforms.repeats import key_columns
from transforms.statistics import DistinctSet, Statistic

_NEEDED = {c for spec in LIVE_STATISTICS for c in spec.needs}
COLUMNS = tuple(sorted({"project", "event_id", "event_time", *_NEEDED}))
_READ = {*COLUMNS, *dedup.KEY, *dedup.ORDER}
_EPOCH = date(1970, 1, 1).toordinal()
Days = frozenset[tuple[str, date]]
Value = tuple[str, tuple[str, str, str, date], int]  # step, what (see parity.compared), number


@dataclass
class MeasureSteps(beam.PTransform):
    """Files of the archive -> (step, (project, statistic, dimensions, day), number). Bounded.

    events: the exact rule, for the step `counted`
    days:   (project, local day) wanted; memory holds the people of these days
    spans:  events to read: the days and their surroundings, where other copies may lie
    work:   the job's working directory
    """

    events: CountedEvents
    days: Days
    spans: Spans
    zones: Mapping[str, str]
    rule: parity.LiveRule
    work: str
    shards: int = 1

    def expand(self, files: PCollection[File]) -> PCollection[Value]:
        counted = files | "Counted" >> self.events
        as_counted = counted[BY_PERSON] | "AsCounted" >> beam.MapTuple(
            lambda _, path: (parity.COUNTED, path)
        )
        by_key = (
            files
            | "Pieces" >> beam.FlatMap(pieces)
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.FlatMap(_read, self.spans, self.work, self.shards)
            | "ByKey" >> beam.GroupByKey()
            | "Steps" >> beam.FlatMap(_steps, self.rule, self.work)
        )
        return (
            (as_counted, by_key)
            | beam.Flatten()
            | "SpreadSteps" >> beam.Reshuffle()
            | "Measure" >> beam.FlatMap(_measure, self.zones, self.days)
            | "Merge" >> beam.CombinePerKey(Merge())
            | "Number" >> beam.MapTuple(_number)
        )


def _read(piece: Piece, spans: Spans, work: str, shards: int) -> Iterator[tuple[int, str]]:
    if piece.file.whole:
        rows = read_piece(piece, _READ).filter(within(spans)).drop("at")
        rows = rows.with_columns(key_columns(dedup.KEY))
        for shard, part in dedup.shards(rows, pl.col("key"), shards):
            yield shard, spill(work, part)
    tell_done(work, piece.rows)


def _steps(
    element: tuple[int, Iterable[str]], rule: parity.LiveRule, work: str
) -> Iterator[tuple[str, str]]:
    rows = taken_back(list(element[1]))
    for step, counting in parity.steps_of(rows, rule):
        yield step, spill(work, counting.select(COLUMNS))


def _measure(
    element: tuple[str, str], zones: Mapping[str, str], days: Days
) -> Iterator[tuple[tuple[str, str, str, str, str], Statistic]]:
    step, path = element
    rows = add_local_day(taken_back([path]), zones)
    wanted = pl.DataFrame(sorted(days), schema={"project": pl.String, "day": pl.Date}, orient="row")
    rows = rows.join(wanted, on=["project", "day"], how="semi")
    day = pl.col("day").to_physical()
    for key, number, value in measure(rows, LIVE_STATISTICS, day, DistinctSet):
        yield (step, *key, date.fromordinal(_EPOCH + number).isoformat()), value


def _number(key: tuple[str, str, str, str, str], value: Any) -> Value:
    step, project, statistic, dimensions, day = key
    return step, (project, statistic, dimensions, date.fromisoformat(day)), value.value
