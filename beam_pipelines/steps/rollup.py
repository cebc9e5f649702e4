"""Events that count -> exact rows by hour, day, week and month."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import apache_beam as beam
import polars as pl
from apache_beam.pvalue import PCollection

from beam_pipelines.connectors.exact_tables import write_rows
from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.steps.columns import pack, unpack
from beam_pipelines.steps.counted import BY_PERSON, REPEATS, CountedEvents, File
from beam_pipelines.work import spill, taken_back
from schemas_avro import derive, load
from schemas_avro.tables import REPEATS as REPEATS_TABLE
from transforms.exact import Periods, Stamp, read_out, repeat_sums, sums
from transforms.grid import add_local_day, add_periods
from transforms.metrics import STATISTICS
from transforms.repeats import REPEAT_KINDS
from transforms.sessions import mark_starts

_NEEDED = {c for spec in STATISTICS.values() for c in spec.needs} - {"session_start"}
_REPEAT = derive.wire(load(REPEATS_TABLE.record))
COLUMNS = tuple(sorted({"project", "event_id", "event_time", "user_id", "anonymous_id", *_NEEDED}))


class Rolled(NamedTuple):
    """What a rollup makes.

    rows:    packed rows of `period_aggregate`, days among them
    repeats: paths of Parquet files of `repeat`, of the wanted days
    """

    rows: PCollection[bytes]
    repeats: PCollection[str]


@dataclass
class RollUp(beam.PTransform):
    """Files of the archive -> rows of periods, exact, and what was left out of them.

    events:    what counts
    periods:   wanted
    zones:     time zone by project
    warehouse: directory that files of repeats are written below
    Bounded. The same archive gives the same rows, however its files are cut.
    """

    events: CountedEvents
    periods: Periods
    zones: Mapping[str, str]
    stamp: Stamp
    warehouse: str

    def expand(self, files: PCollection[File]) -> Rolled:
        counted = files | "Counted" >> self.events
        measured = (
            counted[BY_PERSON]
            | "ByPerson" >> beam.GroupByKey()
            | "Sum" >> beam.ParDo(_Sum(self.periods, self.zones))
        )
        repeats = counted[REPEATS] | "SumRepeats" >> beam.ParDo(
            _SumRepeats(self.periods, self.zones)
        )
        rows = (
            (measured, repeats)
            | beam.Flatten()
            | "ByProject" >> beam.GroupByKey()
            | "ReadOut" >> beam.Map(_read_out, self.stamp, self.zones)
        )
        places = (
            counted[REPEATS]
            | "RepeatsOfDays"
            >> beam.ParDo(_RepeatsByDay(self.periods.get("day", ()), self.zones, self.events.work))
            | "ByDay" >> beam.GroupByKey()
            | "WriteRepeats" >> beam.ParDo(_WriteRepeats(self.warehouse))
        )
        return Rolled(rows, places)


class _Sum(beam.DoFn):
    """All events of some people -> (project, packed partial sums)."""

    def __init__(self, periods: Periods, zones: Mapping[str, str]) -> None:
        self._periods, self._zones = periods, zones

    def process(self, element: tuple[int, Iterable[str]]) -> Iterator[tuple[str, bytes]]:
        rows = mark_starts(add_periods(taken_back(list(element[1])), self._zones))
        yield from _by_project(sums(rows, STATISTICS.values(), self._periods))


class _SumRepeats(beam.DoFn):
    """Path of rows that do not count -> (project, how many there are in each period)."""

    def __init__(self, periods: Periods, zones: Mapping[str, str]) -> None:
        self._periods, self._zones = periods, zones

    def process(self, path: str) -> Iterator[tuple[str, bytes]]:
        copies = taken_back([path]).filter(pl.col("kind") == REPEAT_KINDS[0])
        yield from _by_project(repeat_sums(add_periods(copies, self._zones), self._periods))


class _RepeatsByDay(beam.DoFn):
    """Path of rows that do not count -> ((project, ISO day), path of those of a wanted day)."""

    def __init__(
        self, days: Iterable[tuple[str, date]], zones: Mapping[str, str], work: str
    ) -> None:
        self._days, self._zones, self._work = frozenset(days), zones, work

    def process(self, path: str) -> Iterator[tuple[tuple[str, str], str]]:
        found = add_local_day(taken_back([path]), self._zones)
        for (project, day), part in found.partition_by("project", "day", as_dict=True).items():
            if (project, day) in self._days:
                yield (project, day.isoformat()), spill(self._work, part)


class _WriteRepeats(beam.DoFn):
    """All repeats of a day -> paths of the day's files, which no table has yet."""

    def __init__(self, warehouse: str) -> None:
        self._directory = warehouse

    def process(self, element: tuple[tuple[str, str], Iterable[str]]) -> Iterator[str]:
        rows = taken_back(list(element[1])).select(*_REPEAT).sort(*_REPEAT)
        yield from write_rows(Warehouse(self._directory), REPEATS_TABLE, rows)


def _by_project(found: pl.DataFrame) -> Iterator[tuple[str, bytes]]:
    for (project,), part in found.partition_by("project", as_dict=True).items():
        yield project, pack(part)


def _read_out(
    element: tuple[str, Iterable[bytes]], stamp: Stamp, zones: Mapping[str, str]
) -> bytes:
    return pack(read_out([unpack(packed) for packed in element[1]], stamp, zones))
