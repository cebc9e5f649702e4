"""Where engines get a project's events from: SQL over the question's events in, Arrow out."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import reduce
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from reports.insights.filters import Bindings, all_of
from reports.insights.question import Identity, Question, QuestionError, days_of, span_us
from reports.warehouse.days import ALL, Days
from reports.warehouse.engine import Warehouse
from reports.warehouse.estimate import read_of
from schemas_avro.tables import DAILY, EVENTS
from transforms.grid import DAY_US
from transforms.own_metrics import MetricDefinition
from transforms.times import YEARS_US

Cohort = Callable[[str, str], pa.Table | None]  # project, name -> column `person`; None: no such
Annotations = Callable[[str], Mapping[str, date]]  # project -> days of its notes, by text
Metrics = Callable[[str], Sequence[MetricDefinition]]  # project -> its own ones
_IDENTITIES = {
    "person": "a person's ids joined by the identities table",
    "device": "user id, or anonymous id where there is none",
}
_EVENTS = re.compile(r"(\b(FROM|JOIN)|,)\s+events\b", re.IGNORECASE)  # not an alias of that name
_DEVICE = "coalesce(nullif(e.user_id, ''), nullif(e.anonymous_id, ''))"


class Source:
    """The events of one project, for one question. Not shared between threads.

    as_of:     when the newest of what was read was written, us; None before the first read
    elapsed_s: spent reading so far
    rows_read: rows that came out of SQL so far
    may_list_people: may whoever asks see who people are, and not only how many?
    """

    def __init__(
        self,
        warehouse: Warehouse,
        project: str,
        zone: str,
        now_us: int,
        cohort: Cohort = lambda project, name: None,
        annotations: Annotations = lambda project: {},
        metrics: Metrics = lambda project: (),
        *,
        may_list_people: bool = True,
    ) -> None:
        self._warehouse, self.project, self.zone = warehouse, project, zone
        self.now_us, self._cohort = now_us, cohort
        self._annotations, self._metrics = annotations, metrics
        self.may_list_people = may_list_people
        self.as_of: int | None = None
        self.complete_until: int | None = None
        self.elapsed_s, self.rows_read = 0.0, 0
        self._tables: dict[str, pa.Table] = {}
        self._parts: dict[str, Days] = {}
        self._cohorts: dict[str, str] = {}
        self._begins = YEARS_US[1]

    @property
    def warehouse(self) -> Warehouse:
        """Where they lie."""
        return self._warehouse

    @property
    def today(self) -> date:
        """The present day in the project's zone."""
        return datetime.fromtimestamp(self.now_us / 1e6, UTC).astimezone(ZoneInfo(self.zone)).date()

    def annotations(self) -> Mapping[str, date]:
        """The project's notes: text -> day."""
        return self._annotations(self.project)

    def own_metrics(self) -> Sequence[MetricDefinition]:
        """Metrics that people of the project defined, by name."""
        return self._metrics(self.project)

    def days(self, question: Question) -> tuple[date, date]:
        """First and last day asked for, both included."""
        return days_of(question.dates, self.today)

    def span(self, question: Question) -> tuple[int, int]:
        """[start, end) of them, us."""
        return span_us(self.days(question), self.zone)

    @staticmethod
    def identity_text(identity: Identity) -> str:
        """Who counts as one person, in words."""
        return _IDENTITIES[identity]

    def events(
        self, question: Question, bind: Bindings, span: tuple[int, int] | None = None
    ) -> str:
        """SQL in parentheses: the question's events with all their columns, and `person`.

        `person` is null where an event has no id at all. `span`: other than the question's own.
        """
        start, end = span or self.span(question)
        self._begins = min(start, self._begins)
        between = (
            f"e.event_time >= make_timestamptz({start}) AND e.event_time < make_timestamptz({end})"
        )
        where = f"{between} AND {all_of(question.where, bind)}"
        person, joined = self._person(question.identity)
        if question.cohort:
            where += f" AND {person} IN (SELECT person FROM {self._cohort_table(question.cohort)})"
        text = f"(SELECT e.*, {person} AS person FROM events AS e {joined} WHERE {where})"
        self._parts[text] = Days(start // DAY_US, (end - 1) // DAY_US)
        return text

    def stored(self, start: int, end: int) -> str:
        """SQL in parentheses: all events of [start, end) in us, whatever is asked."""
        text = (
            f"(SELECT * FROM events WHERE event_time >= make_timestamptz({start}) "
            f"AND event_time < make_timestamptz({end}))"
        )
        self._parts[text] = Days(start // DAY_US, (end - 1) // DAY_US)
        return text

    def most_rows(self, start: int, end: int) -> int:
        """Events in the files of the days of [start, end) in us: no question of these has more."""
        files = self._warehouse.files.of(EVENTS)
        try:
            return read_of("events", files, Days(start // DAY_US, (end - 1) // DAY_US)).rows
        except FileNotFoundError:  # replaced meanwhile
            return files.rows

    def _days(self, sql: str) -> Days:
        """Days of UTC that it reads of `events`, where only `events` and `stored` read any."""
        found = []
        for text in sorted(self._parts, key=len, reverse=True):
            if text in sql:
                sql = sql.replace(text, "")
                found.append(self._parts[text])
        return reduce(Days.around, found) if found and not _EVENTS.search(sql) else ALL

    def _person(self, identity: Identity) -> tuple[str, str]:
        """Expression of the person, and the join that it needs."""
        if identity == "device" or not self._warehouse.has_rows("identities"):
            return _DEVICE, ""
        joined = (
            "LEFT JOIN identities AS i ON i.id = coalesce(nullif(e.user_id, ''), e.anonymous_id) "
            "AND i.kind = CASE WHEN nullif(e.user_id, '') IS NULL THEN 'anonymous' ELSE 'user' END"
        )
        return f"coalesce(i.person_id, {_DEVICE})", joined

    def _cohort_table(self, name: str) -> str:
        if name not in self._cohorts:
            people = self._cohort(self.project, name)
            if people is None:
                raise QuestionError(
                    f"cohort={name!r}: there is none of that name in {self.project}"
                )
            self._cohorts[name] = self.give(people)
        return self._cohorts[name]

    def give(self, rows: pa.Table) -> str:
        """Rows that SQL may read from now on: the name of their table."""
        table = f"given_{len(self._tables)}"
        self._tables[table] = rows
        return table

    def joins_people(self) -> bool:
        """Does the identities table join anybody's ids, in any project?"""
        return self._warehouse.has_rows("identities")

    def is_rolled_up(self) -> bool:
        """Does `daily` know all that is in `events`?"""
        based_on = self._warehouse.files.of(DAILY).based_on
        if based_on is None:
            return False
        known = self._warehouse.files.of(EVENTS, based_on).positions
        return not (self._warehouse.files.of(EVENTS).positions - known).by_producer

    def gone_before(self) -> date | None:
        """UTC day before which retention took events out, if earlier ones were asked for."""
        gone = self._warehouse.files.of(EVENTS).retired.of(self.project).until
        day = (gone - date(1970, 1, 1)).days
        return gone if self._begins < day * DAY_US else None

    def rolled_up_until(self) -> int | None:
        """Events received up to here are in `daily`, us; None where that is not known."""
        based_on = self._warehouse.files.of(DAILY).based_on
        return self._warehouse.files.of(EVENTS, based_on).received_until if based_on else None

    def read(
        self,
        sql: str,
        bind: Bindings | Mapping[str, Any] | None = None,
        *,
        tables: tuple[str, ...] = ("events",),
    ) -> pa.Table:
        """Run DuckDB SQL over tables of the warehouse. Raises QueryFailed."""
        values = bind.values if isinstance(bind, Bindings) else dict(bind or {})
        started = time.monotonic()
        if "events" in tables and self._warehouse.has_rows("identities"):
            tables = (*tables, "identities")
        found = self._warehouse.read(
            self.project,
            sql,
            tables=tables,
            parameters=values,
            extra=self._tables,
            days={"events": self._days(sql)},
        )
        self.elapsed_s += time.monotonic() - started
        self.rows_read += found.table.num_rows
        self.as_of = max((at for at in (self.as_of, found.as_of) if at), default=None)
        untils = (self.complete_until, found.complete_until)
        self.complete_until = min((at for at in untils if at), default=None)
        return found.table
