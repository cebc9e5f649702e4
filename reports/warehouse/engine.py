"""Runs admitted SQL on DuckDB, locked down to one project's rows."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from catalog.settings import Settings
from reports.warehouse.admit import CTE_PREFIX, Admitted, NotAdmitted, admit
from reports.warehouse.files import Files, WarehouseFiles
from schemas_avro import derive, load
from schemas_avro.tables import DAILY, DEAD_LETTERS, EVENTS, Table

_VIEWS = {p.stem: p.read_text() for p in (Path(__file__).parent.parent / "sql").glob("view_*.sql")}
TABLES = {"events": EVENTS, "daily": DAILY, "dead_letters": DEAD_LETTERS}
LIVE = "live_minutes"
_MAX_ANSWER_BYTES = 32 << 20
_FETCH_ROWS = 100
_VALUE_BYTES = 16
_NAMED = re.compile(r'"([^"]+)"|name (\w+) does not exist')


class QueryFailed(ValueError):
    """The query was admitted but did not finish; the message says why and what to do.

    line, column: from 1; None where the place is not known
    """

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.line, self.column = line, column


@dataclass(frozen=True)
class Result:
    """Rows of a query, at most the limit.

    as_of: when the newest of what it read was written, us; None where it read no table
    live:  it read live numbers, which are approximate
    """

    columns: list[str]
    types: list[str]
    rows: list[tuple[Any, ...]]
    truncated: bool
    elapsed_s: float
    as_of: int | None
    live: bool


class Warehouse:
    """SQL over one project. A connection lives for one query and sees nothing else.

    live: the live minutes of a project as an Arrow table, and when they were written, us
    """

    def __init__(
        self, settings: Settings, live: Callable[[str], tuple[pa.Table, int | None]]
    ) -> None:
        self._settings, self._live = settings, live
        self.files = WarehouseFiles(str(settings.path("archive")))

    def ask(self, project: str, sql: str) -> Result:
        """Run a person's query in BigQuery's dialect. Raises NotAdmitted, QueryFailed."""
        query = admit(sql, {*TABLES, LIVE})
        return self._run(project, query)

    def run(self, project: str, sql: str, *, table: str, parameters: Iterable[Any] = ()) -> Result:
        """Run DuckDB SQL of our own over one of the tables. Raises QueryFailed."""
        return self._run(project, Admitted(sql, frozenset({table}), {}), list(parameters))

    def _run(self, project: str, query: Admitted, parameters: list[Any] | None = None) -> Result:
        started = time.monotonic()
        connection, as_of = self._connect(project, query.tables)
        limit = self._settings.sql_max_rows
        try:
            with self._limited(connection, query):
                cursor = connection.execute(query.sql, parameters or [])
                rows = _fetch(cursor, limit + 1)
                description = cursor.description or []
        finally:
            connection.close()
        return Result(
            columns=[column[0] for column in description],
            types=[str(column[1]) for column in description],
            rows=rows[:limit],
            truncated=len(rows) > limit,
            elapsed_s=time.monotonic() - started,
            as_of=as_of,
            live=LIVE in query.tables,
        )

    @contextlib.contextmanager
    def _limited(self, connection: duckdb.DuckDBPyConnection, query: Admitted) -> Iterator[None]:
        """Stops the query when its time is over; turns its errors into ours."""
        overdue = threading.Event()

        def interrupt() -> None:
            overdue.set()
            with contextlib.suppress(duckdb.Error):  # it may have ended just now
                connection.interrupt()

        timer = threading.Timer(self._settings.sql_timeout_s, interrupt)
        timer.daemon = True
        timer.start()
        try:
            yield
        except duckdb.Error as error:
            raise self._failure(error, query, overdue.is_set()) from error
        finally:
            timer.cancel()

    def _connect(
        self, project: str, tables: Set[str]
    ) -> tuple[duckdb.DuckDBPyConnection, int | None]:
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        written: list[int | None] = []
        paths: list[str] = []
        for view in sorted(tables - {LIVE}):
            files = self.files.of(TABLES[view])
            connection.execute(_view_sql(view, TABLES[view], files, project))
            written.append(files.committed_at)
            paths.extend(files.paths)
        if LIVE in tables:
            minutes, updated_at = self._live(project)
            connection.register("_live", minutes)
            connection.execute(f"CREATE TABLE {LIVE} AS SELECT * FROM _live")
            connection.unregister("_live")
            written.append(updated_at)
        self._lock_down(connection, paths)
        return connection, max((at for at in written if at), default=None)

    def _lock_down(self, connection: duckdb.DuckDBPyConnection, paths: list[str]) -> None:
        """From here on only these files can be read, and nothing of this can be undone."""
        for setting in (
            f"allowed_paths = [{', '.join(map(_quoted, paths))}]",
            f"memory_limit = '{self._settings.sql_memory_mb}MB'",
            f"threads = {self._settings.sql_threads}",
            "temp_directory = ''",
            "python_enable_replacements = false",
            "autoinstall_known_extensions = false",
            "autoload_known_extensions = false",
            "allow_community_extensions = false",
            "enable_external_access = false",
            "lock_configuration = true",
        ):
            connection.execute(f"SET {setting}")

    def _failure(self, error: duckdb.Error, query: Admitted, overdue: bool) -> QueryFailed:
        if overdue:
            return QueryFailed(
                f"stopped after {self._settings.sql_timeout_s:g} s "
                "(HEADWATER_SQL_TIMEOUT_S); narrow the time range or aggregate earlier"
            )
        if isinstance(error, duckdb.OutOfMemoryException):
            return QueryFailed(
                f"needs more than {self._settings.sql_memory_mb} MB "
                "(HEADWATER_SQL_MEMORY_MB); narrow the time range or group by less"
            )
        if isinstance(error, duckdb.IOException):  # its text names files, nobody's business
            return QueryFailed("the tables changed while the query ran; run it again")
        text = str(error).split("\n\nLINE")[0].replace(CTE_PREFIX, "")
        text = text.replace(self.files.directory, "…").strip()
        line, column = _named_place(text, query) or (None, None)
        return QueryFailed(text, line, column)


def _fetch(cursor: duckdb.DuckDBPyConnection, limit: int) -> list[tuple[Any, ...]]:
    """At most `limit` rows. Raises QueryFailed for an answer too large to send."""
    rows: list[tuple[Any, ...]] = []
    size = 0
    while len(rows) < limit:
        some = cursor.fetchmany(min(_FETCH_ROWS, limit - len(rows)))
        if not some:
            break
        size += sum(_size(value) for row in some for value in row)
        if size > _MAX_ANSWER_BYTES:
            raise QueryFailed(
                f"the answer is larger than {_MAX_ANSWER_BYTES >> 20} MB; "
                "select fewer columns or add a LIMIT"
            )
        rows.extend(some)
    return rows


def _size(value: Any) -> int:
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(_size(v) + len(str(k)) for k, v in value.items())
    if isinstance(value, list | tuple):
        return sum(map(_size, value), start=_VALUE_BYTES)
    return _VALUE_BYTES


def _named_place(text: str, query: Admitted) -> tuple[int, int] | None:
    """Where the query has the first name that an error message quotes."""
    for match in _NAMED.finditer(text.split("\n")[0]):
        place = query.places.get((match[1] or match[2]).lower())
        if place:
            return place
    return None


def _view_sql(view: str, table: Table, files: Files, project: str) -> str:
    """A view over this project's rows only: no relation with anybody else's exists."""
    record = load(table.record)
    listed = ", ".join(map(_quoted, files.paths))
    source = f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"
    if not files.paths:
        source = f"({derive.duckdb_empty(record)})"
    body = _VIEWS[f"view_{view}"].format(source=source, project=_quoted(project))
    return f"CREATE VIEW {view} AS {body}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


__all__ = ["NotAdmitted", "QueryFailed", "Result", "Warehouse"]
