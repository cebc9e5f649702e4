"""SQL over one project's rows: resolves tables, has the query run, explains what went wrong."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from catalog.settings import Settings
from reports.warehouse.admit import CTE_PREFIX, Admitted, NotAdmitted, admit
from reports.warehouse.execute import LIVE, MAX_ANSWER_BYTES, Answer, Failure, Job, execute, quoted
from reports.warehouse.files import Files, WarehouseFiles
from reports.warehouse.sandbox import run_apart
from schemas_avro import derive, load
from schemas_avro.tables import DAILY, DEAD_LETTERS, EVENTS

Status = Literal["exact", "live, approximate"]

TABLES = {"events": EVENTS, "daily": DAILY, "dead_letters": DEAD_LETTERS}
_VIEWS = {p.stem: p.read_text() for p in (Path(__file__).parent.parent / "sql").glob("view_*.sql")}
_AT_ONCE = 4  # each may take the memory of the settings, and pages need a thread too
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
    """

    columns: list[str]
    types: list[str]
    rows: list[tuple[Any, ...]]
    truncated: bool
    elapsed_s: float
    as_of: int | None
    status: Status | None


class Warehouse:
    """SQL over one project. A query has an engine of its own and sees nothing else.

    live: the live minutes of a project as an Arrow table, and when they were written, us
    """

    def __init__(
        self, settings: Settings, live: Callable[[str], tuple[pa.Table, int | None]]
    ) -> None:
        self._settings, self._live = settings, live
        self._running = threading.BoundedSemaphore(_AT_ONCE)
        self.files = WarehouseFiles(str(settings.path("archive")))

    def ask(self, project: str, sql: str) -> Result:
        """Run a person's query in BigQuery's dialect. Raises NotAdmitted, QueryFailed."""
        query = admit(sql, {*TABLES, LIVE})
        if not self._running.acquire(timeout=1.0):
            raise QueryFailed(f"{_AT_ONCE} queries are running already; try again in a moment")
        try:
            return self._run(
                project,
                query,
                lambda job: run_apart(job, self._settings.sql_timeout_s),
                max_rows=self._settings.sql_max_rows,
            )
        finally:
            self._running.release()

    def run(self, project: str, sql: str, *, table: str, parameters: Iterable[Any] = ()) -> Result:
        """Run DuckDB SQL of our own over one of the tables, all rows. Raises QueryFailed."""
        query = Admitted(sql, frozenset({table}), {})
        return self._run(project, query, execute, parameters=tuple(parameters))

    def _run(
        self,
        project: str,
        query: Admitted,
        how: Callable[[Job], Answer | Failure],
        *,
        parameters: tuple[Any, ...] = (),
        max_rows: int | None = None,
    ) -> Result:
        started = time.monotonic()
        files = {view: self.files.of(TABLES[view]) for view in sorted(query.tables - {LIVE})}
        written = [found.committed_at for found in files.values()]
        minutes = None
        if LIVE in query.tables:
            minutes, updated_at = self._live(project)
            written.append(updated_at)
        answer = how(
            Job(
                sql=query.sql,
                parameters=parameters,
                views=tuple(_view_sql(view, found, project) for view, found in files.items()),
                paths=tuple(path for found in files.values() for path in found.paths),
                live=minutes,
                memory_mb=self._settings.sql_memory_mb,
                threads=self._settings.sql_threads,
                max_rows=max_rows,
            )
        )
        if isinstance(answer, Failure):
            raise self._explained(answer, query)
        return Result(
            **vars(answer),
            elapsed_s=time.monotonic() - started,
            as_of=max((at for at in written if at), default=None),
            status=_status(query.tables),
        )

    def _explained(self, failure: Failure, query: Admitted) -> QueryFailed:
        match failure.reason:
            case "time":
                return QueryFailed(
                    f"stopped after {self._settings.sql_timeout_s:g} s "
                    "(HEADWATER_SQL_TIMEOUT_S); narrow the time range or aggregate earlier"
                )
            case "memory":
                return QueryFailed(
                    f"needs more than {self._settings.sql_memory_mb} MB "
                    "(HEADWATER_SQL_MEMORY_MB); narrow the time range or group by less"
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
        text = failure.text.split("\n\nLINE")[0].replace(CTE_PREFIX, "")
        text = text.replace(self.files.directory, "…").strip()
        line, column = _named_place(text, query) or (None, None)
        return QueryFailed(text, line, column)


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


def _view_sql(view: str, files: Files, project: str) -> str:
    """A view over this project's rows only: no relation with anybody else's exists."""
    # Files may be older than the record's newest field: the empty part brings every column.
    source = derive.duckdb_empty(load(TABLES[view].record))
    if files.paths:
        listed = ", ".join(map(quoted, files.paths))
        found = f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"
        source = f"{source} UNION ALL BY NAME SELECT * FROM {found}"
    body = _VIEWS[f"view_{view}"].format(source=f"({source})", project=quoted(project))
    return f"CREATE VIEW {view} AS {body}"


__all__ = ["NotAdmitted", "QueryFailed", "Result", "Warehouse"]
