"""Events that count -> exact rows by hour, day, week and month."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import apache_beam as beam
import polars as pl
from apache_beam.pvalue import PCollection

from beam_pipelines.steps.columns import pack, unpack
from beam_pipelines.steps.counted import BY_PERSON, REPEATS, CountedEvents, File
from beam_pipelines.work import taken_back
from transforms.exact import Periods, Stamp, read_out, repeat_sums, sums
from transforms.grid import add_periods
from transforms.metrics import STATISTICS
from transforms.sessions import mark_starts

_NEEDED = {c for spec in STATISTICS.values() for c in spec.needs} - {"session_start"}
COLUMNS = tuple(sorted({"project", "event_id", "event_time", "user_id", "anonymous_id", *_NEEDED}))


@dataclass
class PeriodRows(beam.PTransform):
    """Files of the archive -> packed rows of `period_aggregate`, days among them, exact.

    events:  what counts
    periods: wanted
    zones:   time zone by project
    Bounded. The same archive gives the same rows, however its files are cut.
    """

    events: CountedEvents
    periods: Periods
    zones: Mapping[str, str]
    stamp: Stamp

    def expand(self, files: PCollection[File]) -> PCollection[bytes]:
        counted = files | "Counted" >> self.events
        measured = (
            counted[BY_PERSON]
            | "ByPerson" >> beam.GroupByKey()
            | "Sum" >> beam.ParDo(_Sum(self.periods, self.zones))
        )
        repeats = counted[REPEATS] | "SumRepeats" >> beam.ParDo(
            _SumRepeats(self.periods, self.zones)
        )
        return (
            (measured, repeats)
            | beam.Flatten()
            | "ByProject" >> beam.GroupByKey()
            | "ReadOut" >> beam.Map(_read_out, self.stamp, self.zones)
        )


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
        rows = add_periods(taken_back([path]), self._zones)
        yield from _by_project(repeat_sums(rows, self._periods))


def _by_project(found: pl.DataFrame) -> Iterator[tuple[str, bytes]]:
    for (project,), part in found.partition_by("project", as_dict=True).items():
        yield project, pack(part)


def _read_out(
    element: tuple[str, Iterable[bytes]], stamp: Stamp, zones: Mapping[str, str]
) -> bytes:
    return pack(read_out([unpack(packed) for packed in element[1]], stamp, zones))
