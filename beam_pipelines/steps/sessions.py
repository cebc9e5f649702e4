"""Events that count -> files of sessions, one for each day on which they start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import date

import apache_beam as beam
import polars as pl
from apache_beam.pvalue import PCollection

from beam_pipelines.connectors.exact_tables import write_rows
from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.counters import count
from beam_pipelines.steps.counted import BY_PERSON, CountedEvents, File
from beam_pipelines.work import spill, taken_back
from schemas_avro import derive, load
from schemas_avro.tables import SESSIONS
from transforms.exact import Stamp
from transforms.grid import add_local_day
from transforms.sessions import sessions_of

_COLUMNS = derive.wire(load(SESSIONS.record))
_SORTED = ("started_at", "person", "first_event_id")


@dataclass
class SessionFiles(beam.PTransform):
    """Files of the archive -> paths of Parquet files with the sessions that start on `days`.

    Bounded. The same archive gives the same bytes, however its files are cut.
    """

    events: CountedEvents
    days: Set[tuple[str, date]]
    zones: Mapping[str, str]
    stamp: Stamp
    warehouse: str

    def expand(self, files: PCollection[File]) -> PCollection[str]:
        counted = files | "Counted" >> self.events
        return (
            counted[BY_PERSON]
            | "ByPerson" >> beam.GroupByKey()
            | "Sessions" >> beam.ParDo(_Sessions(self.days, self.zones, self.events.work))
            | "ByDay" >> beam.GroupByKey()
            | "Write" >> beam.ParDo(_Write(self.warehouse, self.stamp))
        )


class _Sessions(beam.DoFn):
    """All events of some people -> ((project, ISO day), path of the sessions of the day)."""

    def __init__(self, days: Set[tuple[str, date]], zones: Mapping[str, str], work: str) -> None:
        self._days, self._zones, self._work = days, zones, work

    def process(self, element: tuple[int, Iterable[str]]) -> Iterator[tuple[tuple[str, str], str]]:
        found = sessions_of(add_local_day(taken_back(list(element[1])), self._zones))
        for (project, day), part in found.partition_by("project", "day", as_dict=True).items():
            if (project, day) in self._days:
                yield (project, day.isoformat()), spill(self._work, part)


class _Write(beam.DoFn):
    """All sessions of a day -> paths of the day's files, which no table has yet."""

    def __init__(self, warehouse: str, stamp: Stamp) -> None:
        self._directory, self._stamp = warehouse, stamp

    def process(self, element: tuple[tuple[str, str], Iterable[str]]) -> Iterator[str]:
        rows = taken_back(list(element[1])).sort(_SORTED)
        count("sessions_computed", rows.height)
        stamped = rows.with_columns(
            computed_at=pl.lit(self._stamp.computed_at),
            complete_until=pl.lit(self._stamp.complete_until),
        )
        yield from write_rows(Warehouse(self._directory), SESSIONS, stamped.select(*_COLUMNS))
