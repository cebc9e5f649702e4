"""SQL over one project's rows: resolves tables, has the query run, explains what went wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import replace
from typing import Any

import pyarrow as pa

from catalog.settings import Settings
from reports.warehouse import erased
from reports.warehouse.admit import Admitted, NotAdmitted, admit, parsed
from reports.warehouse.belonging import NOBODY, Belonging, cohorts_named
from reports.warehouse.days import Days
from reports.warehouse.estimate import Read, days_and_columns, read_of
from reports.warehouse.execute import BROUGHT, COHORTS, LIVE, Answer, Failure, Job, execute, read
from reports.warehouse.failed import Busy, QueryFailed, TooLarge, explained, without_ours
from reports.warehouse.files import WarehouseFiles
from reports.warehouse.outcome import Columns, Estimate, Made, Result, Status
from reports.warehouse.own_share import own_read_of
from reports.warehouse.relations import names, relations, tables_of
from reports.warehouse.rolled import ExactTable, rolled
from reports.warehouse.sandbox import run_apart
from reports.warehouse.slots import NoRoom, Slot, Slots
from reports.warehouse.views import TABLES
from reports.warehouse.whole import is_whole
from schemas_avro.tables import EVENTS

_WAIT_S = 1.0  # for a query that is about to end


class Warehouse:
    """SQL over one project. A query has an engine of its own and sees nothing else.

    live:    the live minutes of a project as an Arrow table, and when they were written, us
    typed:   DuckDB's SELECT over `events` of each registered schema of a project, by name
    zone:    time zone of a project; None where there is none of that name
    cohorts: who is in those cohorts of a project, or in all
    """

    def __init__(
        self,
        settings: Settings,
        live: Callable[[str], tuple[pa.Table, int | None]],
        typed: Callable[[str], Mapping[str, str]] = lambda project: {},
        zone: Callable[[str], str | None] = lambda project: None,
        cohorts: Callable[[str, Set[str] | None], Belonging] = lambda project, names: NOBODY,
    ) -> None:
        self._settings, self._live, self.typed, self._zone = settings, live, typed, zone
        self._cohorts = cohorts
        self._slots = Slots(settings.path("queries"), settings.sql_at_once, settings.sql_per_user)
        self._questions = threading.BoundedSemaphore(settings.insight_at_once)
        self.files = WarehouseFiles(str(settings.path("archive")))

    def ask(
        self,
        project: str,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        user: str | None = None,
        but: Set[str] = frozenset(),
    ) -> Result:
        """Run a person's query in BigQuery's dialect. Raises NotAdmitted, QueryFailed.

        parameters: values by name in lower case, as `parameters.values_of` reads them
        user:       who asks, for the limit of one person
        but:        tables that it may not read
        """
        started = time.monotonic()
        made = self.prepare(project, sql, parameters, but=but)
        slot = self.slot(user)
        try:
            answer = run_apart(made.job, self._settings.sql_timeout_s)
        finally:
            slot.give_back()
        return self.result(made, answer, time.monotonic() - started)

    def prepare(
        self,
        project: str,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        without: Set[bytes] = frozenset(),
        but: Set[str] = frozenset(),
    ) -> Made:
        """A person's query as a job. Raises NotAdmitted, TooLarge.

        without: digests of people whose events, and places in cohorts, it does not see
        but:     tables that it may not read
        """
        typed, given = self.typed(project), parameters or {}
        query = admit(sql, names(typed) - but, given.keys())
        # The exact tables have everybody's events.
        query, exact = (query, None) if without else self._rolled(project, sql, query)
        values = {name: given[name] for name in query.parameters}
        asked = days_and_columns(query.sql, query.tables - BROUGHT, typed, values)
        days = {table: days for table, (days, _) in asked.items()}
        most = self._settings.sql_max_rows
        made = self._job(project, query, values, most, days=days, without=without)
        if made.bytes > self._settings.sql_max_bytes:
            self._check_size(query, typed, values)
        if without and "events" in tables_of(query.tables, typed):
            return self._kept(project, made, typed, days, without)
        if exact is None:
            return made
        until = self.files.of(EVENTS).received_until  # it stands for all of them
        return replace(made, answered_from=exact, complete_until=until)

    def _kept(
        self,
        project: str,
        made: Made,
        typed: Mapping[str, str],
        days: Mapping[str, Days],
        without: Set[bytes],
    ) -> Made:
        """The job over events without those of some people."""
        ids = self.read(project, erased.ids_sql("events"), days=days).table.column(0).to_pylist()
        gone = {erased.TABLE: erased.erased(ids, project, without)}
        counted = f"SELECT count(*) AS n FROM events WHERE {erased.IS_ERASED}"
        left_out = self.read(project, counted, days=days, extra=gone).table["n"][0].as_py()
        kept = f"NOT ({erased.IS_ERASED})"
        views = relations(made.query.tables, self.files, project, typed, days, kept)
        job = replace(
            made.job,
            views=tuple(found.sql for found in views),
            paths=tuple(path for found in views for path in found.paths),
            tables={**made.job.tables, **gone},
        )
        return replace(made, job=job, left_out=left_out)

    def _rolled(
        self, project: str, sql: str, query: Admitted
    ) -> tuple[Admitted, ExactTable | None]:
        """The same query over the exact table that has all of its answer, and which that is."""
        zone = self._zone(project) if "events" in query.tables else None
        found = rolled(parsed(sql), zone) if zone is not None else None
        if zone is None or found is None:
            return query, None

        def counted(against: str, table: str) -> int:
            return int(self.run(project, against, table=table).rows[0][0])

        if not is_whole(found, project, zone, self.files, counted):
            return query, None
        less = admit(found.sql, {found.table}, query.parameters)
        return replace(less, places=query.places), found.table

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
        self,
        project: str,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        user: str | None = None,
        own: bool = False,
    ) -> Estimate:
        """What a person's query would read, without running it. Raises as `ask` does.

        own: with the project's own share
        """
        made, typed = self.prepare(project, sql, parameters), self.typed(project)
        values = made.job.parameters
        slot = self.slot(user)
        try:
            given = values if isinstance(values, dict) else {}
            reads = self._reads(made.query, typed, given)
            mine = self._reads(made.query, typed, given, own_of=project) if own else []
            explain = replace(made.job, sql=f"EXPLAIN {made.job.sql}")
            plan = run_apart(explain, self._settings.sql_timeout_s)
        finally:
            slot.give_back()
        if isinstance(plan, Failure):
            raise self._explained(plan, made.query)
        for name, rows in made.job.tables.items():
            for some in (reads, mine):
                some.append(Read(name, rows.num_rows, rows.nbytes, 0, 0))
        text = "\n".join(str(row[-1]) for row in plan.rows)
        return Estimate(reads, without_ours(text, self.files.directory), mine)

    def _reads(
        self,
        query: Admitted,
        typed: Mapping[str, str],
        values: Mapping[str, Any],
        sizes_only: bool = False,
        own_of: str | None = None,
    ) -> list[Read]:
        asked = days_and_columns(query.sql, query.tables - BROUGHT, typed, values)
        found = [(table, self.files.of(TABLES[table]), *asked[table]) for table in sorted(asked)]
        try:
            if own_of is not None:
                return [own_read_of(*one, own_of) for one in found]
            return [read_of(*one, sizes_only) for one in found]
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
        wanted = replace(job.job, tables={**job.job.tables, **(extra or {})})
        most_s = self._settings.insight_timeout_s
        if not self._questions.acquire(timeout=most_s):
            count = self._settings.insight_at_once
            raise Busy(f"{count} questions are running already; try again in a moment")
        try:
            found = read(wanted, most_s)
        finally:
            self._questions.release()
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
            complete_until=made.complete_until,
            answered_from=made.answered_from,
        )

    def _explained(self, failure: Failure, query: Admitted, *, own: bool = False) -> QueryFailed:
        return explained(failure, query, self._settings, self.files.directory, own=own)

    def _job(
        self,
        project: str,
        query: Admitted,
        parameters: tuple[Any, ...] | dict[str, Any],
        max_rows: int | None,
        *,
        own: bool = False,
        days: Mapping[str, Days] | None = None,
        without: Set[bytes] = frozenset(),
    ) -> Made:
        typed = self.typed(project) if query.tables - {*TABLES, *BROUGHT} else {}
        views = relations(query.tables, self.files, project, typed, days or {})
        written = [found.committed_at for found in views]
        until = [found.received_until for found in views]
        tables = {}
        if LIVE in query.tables:
            tables[LIVE], updated_at = self._live(project)
            written.append(updated_at)
        if COHORTS in query.tables:
            belonging = self._cohorts(project, cohorts_named(query.sql, parameters))
            tables[COHORTS] = erased.left(belonging.rows, project, without)
            written.append(belonging.as_of)
            until.append(belonging.complete_until)
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
        as_of = max((at for at in written if at), default=None)
        complete_until = min((at for at in until if at), default=None)
        size = sum(found.bytes for found in views)
        return Made(query, job, as_of, complete_until, size)


def _mb(size: int) -> str:
    return f"{size / (1 << 20):,.1f} MB"


def _status(tables: Set[str]) -> Status | None:
    if not tables:
        return None
    return "live, approximate" if LIVE in tables else "exact"


__all__ = [
    "Busy", "Columns", "Estimate", "Made", "NotAdmitted", "QueryFailed", "Result", "TooLarge",
    "Warehouse",
]  # fmt: skip
