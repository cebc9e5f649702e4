"""SQL over one project's rows: resolves tables, has the query run, explains what went wrong."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any, Literal

import pyarrow as pa

from catalog.settings import Settings
from reports.warehouse.admit import CTE_PREFIX, Admitted, NotAdmitted, admit, parsed
from reports.warehouse.days import Days
from reports.warehouse.estimate import Read, days_and_columns, read_of
from reports.warehouse.execute import LIVE, MAX_ANSWER_BYTES, Answer, Failure, Job, execute, read
from reports.warehouse.files import WarehouseFiles
from reports.warehouse.relations import names, relations
from reports.warehouse.rolled import UNNAMED, rolled
from reports.warehouse.sandbox import run_apart
from reports.warehouse.slots import NoRoom, Slot, Slots
from reports.warehouse.views import TABLES
from schemas_avro.tables import DAILY, EVENTS

Status = Literal["exact", "live, approximate"]

_WAIT_S = 1.0  # for a query that is about to end
# Where the engine's message names the culprit, best first.
_NAMED = tuple(
    re.compile(pattern)
    for pattern in (
        r'column (?:name |named )?"([^"]+)"',
        r"name (\w+) does not exist",
        r'"([^"]+)"',
    )
)


class QueryFailed(ValueError):
    """The query was admitted but did not finish; the message says why and what to do.

    line, column: from 1; None where the place is not known
    """

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.line, self.column = line, column


@dataclass(frozen=True)
class Result:
    """Rows of a query.

    truncated: there are more rows than HEADWATER_SQL_MAX_ROWS, which are here
    as_of:     when the newest of what it read was written, us; None where that is nothing
    status:    how far it can be trusted; None where it read no table
    rolled:    it asked for events, and was answered from the exact table `daily`
    """

    columns: list[str]
    types: list[str]
    rows: list[tuple[Any, ...]]
    truncated: bool
    elapsed_s: float
    as_of: int | None
    status: Status | None
    rolled: bool = False


@dataclass(frozen=True)
class Columns:
    """Rows of a query of our own. as_of as in Result; complete_until: of receipt, us."""

    table: pa.Table
    as_of: int | None
    complete_until: int | None
    elapsed_s: float


@dataclass(frozen=True)
class Made:
    """A job that may run, and how far what it reads goes.

    bytes: of all files of its tables; rolled: as in Result
    """

    query: Admitted
    job: Job
    as_of: int | None
    complete_until: int | None
    bytes: int = 0
    rolled: bool = False


@dataclass(frozen=True)
class Estimate:
    """What a query would read, table by table, and the engine's plan; bytes as on disk."""

    reads: list[Read]
    plan: str

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(one.rows for one in self.reads)

    @property
    def bytes(self) -> int:
        """Of all tables."""
        return sum(one.bytes for one in self.reads)


class TooLarge(QueryFailed):
    """It would read more than HEADWATER_SQL_MAX_BYTES; the message says how to narrow it."""


class Busy(QueryFailed):
    """As many queries run as may; the same one can run in a moment."""


class Warehouse:
    """SQL over one project. A query has an engine of its own and sees nothing else.

    live:  the live minutes of a project as an Arrow table, and when they were written, us
    typed: DuckDB's SELECT over `events` of each registered schema of a project, by name
    zone:  time zone of a project; None where there is none of that name
    """

    def __init__(
        self,
        settings: Settings,
        live: Callable[[str], tuple[pa.Table, int | None]],
        typed: Callable[[str], Mapping[str, str]] = lambda project: {},
        zone: Callable[[str], str | None] = lambda project: None,
    ) -> None:
        self._settings, self._live, self.typed, self._zone = settings, live, typed, zone
        self._slots = Slots(settings.path("queries"), settings.sql_at_once, settings.sql_per_user)
        self.files = WarehouseFiles(str(settings.path("archive")))

    def ask(
        self,
        project: str,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        user: str | None = None,
    ) -> Result:
        """Run a person's query in BigQuery's dialect. Raises NotAdmitted, QueryFailed.

        parameters: values by name in lower case, as `parameters.values_of` reads them
        user:       who asks, for the limit of one person
        """
        started = time.monotonic()
        made = self.prepare(project, sql, parameters)
        slot = self.slot(user)
        try:
            answer = run_apart(made.job, self._settings.sql_timeout_s)
        finally:
            slot.give_back()
        return self.result(made, answer, time.monotonic() - started)

    def prepare(self, project: str, sql: str, parameters: Mapping[str, Any] | None = None) -> Made:
        """A person's query as a job. Raises NotAdmitted, TooLarge."""
        typed, given = self.typed(project), parameters or {}
        query = admit(sql, names(typed), given.keys())
        less = self._rolled(project, sql, query)
        query = less or query
        values = {name: given[name] for name in query.parameters}
        asked = days_and_columns(query.sql, query.tables - {LIVE}, typed, values)
        days = {table: days for table, (days, _) in asked.items()}
        made = self._job(project, query, values, self._settings.sql_max_rows, days=days)
        if made.bytes > self._settings.sql_max_bytes:
            self._check_size(query, typed, values)
        return replace(made, rolled=less is not None)

    def _rolled(self, project: str, sql: str, query: Admitted) -> Admitted | None:
        """The same query over `daily`, where that has all of the answer."""
        zone = self._zone(project) if "events" in query.tables else None
        found = rolled(parsed(sql), zone) if zone is not None else None
        if found is None or not self._daily_is_whole(project, by_name=found[1]):
            return None
        return replace(admit(found[0], {"daily"}, query.parameters), places=query.places)

    def _daily_is_whole(self, project: str, by_name: bool) -> bool:
        """Does `daily` stand for all events that there are, and names for themselves?"""
        events, daily = self.files.of(EVENTS), self.files.of(DAILY)
        if daily.based_on is None or {project} & {*events.retired.by_project,
                                                  *daily.retired.by_project}:  # fmt: skip
            return False
        if self.files.of(EVENTS, daily.based_on).positions != events.positions:
            return False
        return not by_name or self.run(project, UNNAMED, table="daily").rows == [(0,)]

    def slot(self, user: str | None) -> Slot:
        """A place to run a person's query in; to be given back. Raises Busy."""
        try:
            return self._slots.take(user, _WAIT_S)
        except NoRoom as full:
            count = self._slots.per_user if full.mine else self._slots.at_once
            whose = " of yours" if full.mine else ""
            wanted = "wait for one, or cancel it" if full.mine else "try again in a moment"
            raise Busy(f"{count} queries{whose} are running already; {wanted}") from None

    def estimate(
        self, project: str, sql: str, parameters: Mapping[str, Any] | None = None
    ) -> Estimate:
        """What a person's query would read, without running it. Raises as `ask` does."""
        made, typed = self.prepare(project, sql, parameters), self.typed(project)
        values = made.job.parameters
        reads = self._reads(made.query, typed, values if isinstance(values, dict) else {})
        if LIVE in made.query.tables:
            rows = made.job.tables[LIVE]
            reads.append(Read(LIVE, rows.num_rows, rows.nbytes, 0, 0))
        slot = self.slot(None)
        try:
            explain = replace(made.job, sql=f"EXPLAIN {made.job.sql}")
            plan = run_apart(explain, self._settings.sql_timeout_s)
        finally:
            slot.give_back()
        if isinstance(plan, Failure):
            raise self._explained(plan, made.query)
        return Estimate(reads, self._without_ours("\n".join(str(row[-1]) for row in plan.rows)))

    def _reads(
        self,
        query: Admitted,
        typed: Mapping[str, str],
        values: Mapping[str, Any],
        sizes_only: bool = False,
    ) -> list[Read]:
        asked = days_and_columns(query.sql, query.tables - {LIVE}, typed, values)
        try:
            return [
                read_of(table, self.files.of(TABLES[table]), days, columns, sizes_only)
                for table, (days, columns) in sorted(asked.items())
            ]
        except FileNotFoundError:
            raise QueryFailed("the tables changed meanwhile; run it again") from None

    def _check_size(
        self, query: Admitted, typed: Mapping[str, str], values: Mapping[str, Any]
    ) -> None:
        """Raises TooLarge. Looks no closer than it takes to see that it is small enough."""
        most = self._settings.sql_max_bytes
        for sizes_only in (True, False):
            reads = self._reads(query, typed, values, sizes_only)
            size = sum(one.bytes for one in reads)
            if size <= most:
                return
        largest = max(reads, key=lambda one: one.bytes).table
        raise TooLarge(
            f"it would read more than {_mb(most)} (HEADWATER_SQL_MAX_BYTES); narrow "
            f"the days with WHERE {TABLES[largest].day_of} >= … on {largest}, or name fewer columns"
        )

    def run(self, project: str, sql: str, *, table: str, parameters: Iterable[Any] = ()) -> Result:
        """Run DuckDB SQL of our own over one of the tables, all rows. Raises QueryFailed."""
        started = time.monotonic()
        query = Admitted(sql, frozenset({table}), {})
        made = self._job(project, query, tuple(parameters), None)
        return self.result(made, execute(made.job), time.monotonic() - started)

    def read(
        self,
        project: str,
        sql: str,
        *,
        tables: Iterable[str] = ("events",),
        parameters: Mapping[str, Any] | None = None,
        extra: Mapping[str, pa.Table] | None = None,
        days: Mapping[str, Days] | None = None,
    ) -> Columns:
        """Run DuckDB SQL of our own, all rows, as columns. Raises QueryFailed.

        extra: tables by name whose rows the query reads besides
        days:  those that it asks for of a table, where it does not ask for all
        """
        started = time.monotonic()
        query = Admitted(sql, frozenset(tables), {})
        job = self._job(project, query, dict(parameters or {}), None, own=True, days=days)
        found = read(replace(job.job, tables={**job.job.tables, **(extra or {})}))
        if isinstance(found, Failure):
            raise self._explained(found, query, own=True)
        return Columns(found, job.as_of, job.complete_until, time.monotonic() - started)

    def has_rows(self, table: str) -> bool:
        """Is there anything in a table, of any project?"""
        return bool(self.files.of(TABLES[table]).rows)

    def result(self, made: Made, answer: Answer | Failure, elapsed_s: float) -> Result:
        """What came of a job. Raises QueryFailed."""
        if isinstance(answer, Failure):
            raise self._explained(answer, made.query)
        return Result(
            **vars(answer),
            elapsed_s=elapsed_s,
            as_of=made.as_of,
            status=_status(made.query.tables),
            rolled=made.rolled,
        )

    def _job(
        self,
        project: str,
        query: Admitted,
        parameters: tuple[Any, ...] | dict[str, Any],
        max_rows: int | None,
        *,
        own: bool = False,
        days: Mapping[str, Days] | None = None,
    ) -> Made:
        typed = self.typed(project) if query.tables - {*TABLES, LIVE} else {}
        views = relations(query.tables, self.files, project, typed, days or {})
        written = [found.committed_at for found in views]
        tables = {}
        if LIVE in query.tables:
            tables[LIVE], updated_at = self._live(project)
            written.append(updated_at)
        memory_mb = self._settings.insight_memory_mb if own else self._settings.sql_memory_mb
        job = Job(
            sql=query.sql,
            parameters=parameters,
            views=tuple(found.sql for found in views),
            paths=tuple(path for found in views for path in found.paths),
            tables=tables,
            memory_mb=memory_mb,
            threads=self._settings.sql_threads,
            max_rows=max_rows,
        )
        until = [found.received_until for found in views if found.received_until]
        as_of = max((at for at in written if at), default=None)
        size = sum(found.bytes for found in views)
        return Made(query, job, as_of, min(until, default=None), size)

    def _explained(self, failure: Failure, query: Admitted, *, own: bool = False) -> QueryFailed:
        match failure.reason:
            case "time":
                return QueryFailed(
                    f"stopped after {self._settings.sql_timeout_s:g} s "
                    "(HEADWATER_SQL_TIMEOUT_S); narrow the time range or aggregate earlier"
                )
            case "memory":
                name = "insight_memory_mb" if own else "sql_memory_mb"
                return QueryFailed(
                    f"needs more than {getattr(self._settings, name)} MB "
                    f"(HEADWATER_{name.upper()}); narrow the time range or group by less"
                )
            case "size":
                return QueryFailed(
                    f"the answer is larger than {MAX_ANSWER_BYTES >> 20} MB; "
                    "select fewer columns or add a LIMIT"
                )
            case "crash":
                return QueryFailed("the engine failed; the log of the reports process says how")
            case "files":
                return QueryFailed("the tables changed while the query ran; run it again")
            case "cancelled":
                return QueryFailed("cancelled")
        text = self._without_ours(failure.text.split("\n\nLINE")[0])
        line, column = _named_place(text, query) or (None, None)
        return QueryFailed(text, line, column)

    def _without_ours(self, text: str) -> str:
        """The engine's text without files and names that are none of the person's."""
        return text.replace(CTE_PREFIX, "").replace(self.files.directory, "…").strip()


def _mb(size: int) -> str:
    return f"{size / (1 << 20):,.1f} MB"


def _status(tables: Set[str]) -> Status | None:
    if not tables:
        return None
    return "live, approximate" if LIVE in tables else "exact"


def _named_place(text: str, query: Admitted) -> tuple[int, int] | None:
    """Where the query has the first name that an error message quotes."""
    for pattern in _NAMED:
        for name in pattern.findall(text.split("\n")[0]):
            if place := query.places.get(name.lower()):
                return place
    return None


__all__ = [
    "Busy", "Columns", "Estimate", "Made", "NotAdmitted", "QueryFailed", "Result", "TooLarge",
    "Warehouse",
]  # fmt: skip
