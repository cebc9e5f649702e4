"""Runs admitted SQL on DuckDB, locked down to one project's rows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from catalog.settings import Settings
from reports.warehouse.admit import NotAdmitted, admit
from reports.warehouse.files import WarehouseFiles
from schemas_avro import derive, load
from schemas_avro.tables import DAILY, DEAD_LETTERS, EVENTS, Table

_VIEWS = {p.stem: p.read_text() for p in (Path(__file__).parent.parent / "sql").glob("view_*.sql")}
TABLES = {"events": EVENTS, "daily": DAILY, "dead_letters": DEAD_LETTERS}
LIVE = "live_minutes"


class QueryFailed(ValueError):
    """The query was admitted but did not finish; the message says why and what to do."""


@dataclass(frozen=True)
class Result:
    """Rows of a query, at most the limit; `as_of` is the newest snapshot it read, us."""

    columns: list[str]
    types: list[str]
    rows: list[tuple[Any, ...]]
    truncated: bool
    elapsed_s: float
    as_of: int | None


class Warehouse:
    """SQL over one project. A connection lives for one query and sees nothing else.

    live: the live minutes of a project as an Arrow table
    """

    def __init__(self, settings: Settings, live: Callable[[str], pa.Table]) -> None:
        self._settings, self._live = settings, live
        self.files = WarehouseFiles(str(settings.path("archive")))

    def ask(self, project: str, sql: str) -> Result:
        """Run a person's query in BigQuery's dialect. Raises NotAdmitted, QueryFailed."""
        return self.run(project, admit(sql, {*TABLES, LIVE}))

    def run(self, project: str, sql: str, parameters: list[Any] | None = None) -> Result:
        """Run DuckDB SQL of our own, or an admitted query. Raises QueryFailed."""
        started = time.monotonic()
        connection, as_of = self._connect(project)
        overdue = threading.Event()

        def interrupt() -> None:
            overdue.set()
            connection.interrupt()

        timer = threading.Timer(self._settings.sql_timeout_s, interrupt)
        timer.start()
        try:
            cursor = connection.execute(sql, parameters or [])
            rows = cursor.fetchmany(self._settings.sql_max_rows + 1)
            description = cursor.description or []
        except duckdb.Error as error:
            raise self._failure(error, overdue.is_set()) from error
        finally:
            timer.cancel()
            connection.close()
        limit = self._settings.sql_max_rows
        return Result(
            columns=[column[0] for column in description],
            types=[str(column[1]) for column in description],
            rows=rows[:limit],
            truncated=len(rows) > limit,
            elapsed_s=time.monotonic() - started,
            as_of=as_of,
        )

    def _connect(self, project: str) -> tuple[duckdb.DuckDBPyConnection, int | None]:
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        as_of = None
        for view, table in TABLES.items():
            files = self.files.of(table)
            connection.execute(_view_sql(view, table, files.paths, project))
            if files.committed_at:
                as_of = max(as_of or 0, files.committed_at)
        connection.register("_live", self._live(project))
        connection.execute(f"CREATE TABLE {LIVE} AS SELECT * FROM _live")
        connection.unregister("_live")
        # In this order: what follows can only read below the archive, and not undo it.
        connection.execute(
            "SET allowed_directories = [$directory]", {"directory": f"{self.files.directory}/"}
        )
        for setting in (
            f"memory_limit = '{self._settings.sql_memory_mb}MB'",
            "temp_directory = ''",
            "autoinstall_known_extensions = false",
            "autoload_known_extensions = false",
            "enable_external_access = false",
            "lock_configuration = true",
        ):
            connection.execute(f"SET {setting}")
        return connection, as_of

    def _failure(self, error: duckdb.Error, overdue: bool) -> QueryFailed:
        if overdue:
            return QueryFailed(
                f"stopped after {self._settings.sql_timeout_s:.0f} s "
                "(HEADWATER_SQL_TIMEOUT_S); narrow the time range or aggregate earlier"
            )
        if isinstance(error, duckdb.OutOfMemoryException):
            return QueryFailed(
                f"needs more than {self._settings.sql_memory_mb} MB "
                "(HEADWATER_SQL_MEMORY_MB); narrow the time range or group by less"
            )
        # Paths of files are nobody's business.
        text = str(error).replace(self.files.directory, "…").split("\n\nLINE")[0]
        return QueryFailed(text.strip())


def _view_sql(view: str, table: Table, paths: tuple[str, ...], project: str) -> str:
    """A view over this project's rows only: no relation with anybody else's exists."""
    record = load(table.record)
    listed = ", ".join(_quoted(path) for path in paths)
    source = f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"
    if not paths:
        source = f"({derive.duckdb_empty(record)})"
    body = _VIEWS[f"view_{view}"].format(source=source, project=_quoted(project))
    return f"CREATE VIEW {view} AS {body}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


__all__ = ["NotAdmitted", "QueryFailed", "Result", "Warehouse"]
