"""One query on a DuckDB of its own, which sees a few files of one project and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import duckdb

if TYPE_CHECKING:  # half the start-up time of a query's process, and few queries need it
    import pyarrow as pa

LIVE, COHORTS = "live_minutes", "cohorts"
BROUGHT = frozenset({LIVE, COHORTS})  # tables whose rows come along with the job
MAX_ANSWER_BYTES = 32 << 20
_FETCH_ROWS = 100
_VALUE_BYTES = 16

_Found = TypeVar("_Found")
Reason = Literal["time", "memory", "size", "files", "crash", "cancelled", "query"]


@dataclass(frozen=True)
class Job:
    """A query and all that it may see and use.

    views:    statements that make its tables over `paths`, the files that can be read
    tables:   more tables, whose rows come along
    max_rows: cut the answer after these many rows, or where it passes MAX_ANSWER_BYTES refuse it;
              None for a query of our own, whose answer is taken whole
    """

    sql: str
    parameters: tuple[Any, ...] | dict[str, Any]
    views: tuple[str, ...]
    paths: tuple[str, ...]
    tables: dict[str, pa.Table]
    memory_mb: int
    threads: int
    max_rows: int | None


@dataclass(frozen=True)
class Answer:
    """What the query gave. types: DuckDB's; truncated: there are more rows than these."""

    columns: list[str]
    types: list[str]
    rows: list[tuple[Any, ...]]
    truncated: bool


@dataclass(frozen=True)
class Failure:
    """Why there is no answer. text: of the engine, for `query` only."""

    reason: Reason
    text: str = ""


class Meter:
    """How far a query is; another thread may look."""

    def __init__(self) -> None:
        self.rows = 0
        self.connection: duckdb.DuckDBPyConnection | None = None

    @property
    def part(self) -> float | None:
        """Done so far, 0 to 1; None where the engine does not know."""
        percent = self.connection.query_progress() if self.connection is not None else -1.0
        return min(percent / 100, 1.0) if percent >= 0 else None


def execute(job: Job, meter: Meter | None = None) -> Answer | Failure:
    """Run it, here and now, for as long as it takes."""
    meter = meter or Meter()
    return _connected(
        job, lambda on: _answer(on.execute(job.sql, job.parameters), job.max_rows, meter), meter
    )


def read(job: Job, timeout_s: float) -> pa.Table | Failure:
    """Run it, here and now; all rows, as columns."""

    def columns(on: duckdb.DuckDBPyConnection) -> pa.Table:
        ends = threading.Timer(timeout_s, on.interrupt)
        ends.start()
        try:
            # As a relation: what `execute` gives is copied once more on its way to columns.
            found: pa.Table = on.sql(job.sql, params=job.parameters).to_arrow_table()
            return found
        finally:
            ends.cancel()

    return _connected(job, columns, Meter())


def _answer(
    cursor: duckdb.DuckDBPyConnection, max_rows: int | None, meter: Meter
) -> Answer | Failure:
    found = _fetch(cursor, max_rows, meter)
    if isinstance(found, Failure):
        return found
    described = cursor.description or []
    return Answer(
        columns=[column[0] for column in described],
        types=[str(column[1]) for column in described],
        rows=found[:max_rows],
        truncated=max_rows is not None and len(found) > max_rows,
    )


def _connected(
    job: Job, fetched: Callable[[duckdb.DuckDBPyConnection], _Found | Failure], meter: Meter
) -> _Found | Failure:
    try:
        with duckdb.connect() as connection:
            _prepare(connection, job)
            meter.connection = connection
            return fetched(connection)
    except (duckdb.OutOfMemoryException, MemoryError):
        return Failure("memory")
    except duckdb.InterruptException:
        return Failure("time")
    except duckdb.IOException:  # its text names files, which are nobody's business
        return Failure("files")
    except (
        Exception
    ) as error:  # some values have no counterpart in Python, and raise what they like
        return Failure("query", str(error))


def _prepare(connection: duckdb.DuckDBPyConnection, job: Job) -> None:
    """Make the tables; after that only their files can be read, and nothing of it be undone."""
    connection.execute("SET TimeZone = 'UTC'")
    for name, rows in job.tables.items():
        connection.register("_given", rows)
        connection.execute(f"CREATE TABLE {name} AS SELECT * FROM _given")
        connection.unregister("_given")
    for statement in job.views:
        connection.execute(statement)
    for setting in (
        "enable_progress_bar = true",  # it is asked, and prints nothing
        "enable_progress_bar_print = false",
        f"allowed_paths = [{', '.join(map(quoted, job.paths))}]",
        f"memory_limit = '{job.memory_mb}MB'",
        f"threads = {job.threads}",
        "temp_directory = ''",
        "python_enable_replacements = false",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "allow_community_extensions = false",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        connection.execute(f"SET {setting}")


def _fetch(
    cursor: duckdb.DuckDBPyConnection, max_rows: int | None, meter: Meter
) -> list[tuple[Any, ...]] | Failure:
    """Rows, one more than wanted where there are more."""
    if max_rows is None:
        return cursor.fetchall()
    rows: list[tuple[Any, ...]] = []
    size = 0
    while len(rows) <= max_rows:
        some = cursor.fetchmany(min(_FETCH_ROWS, max_rows + 1 - len(rows)))
        if not some:
            break
        size += sum(_size(value) for row in some for value in row)
        if size > MAX_ANSWER_BYTES:
            return Failure("size")
        rows.extend(some)
        meter.rows = min(len(rows), max_rows)
    return rows


def _size(value: Any) -> int:
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(_size(v) + len(str(k)) for k, v in value.items())
    if isinstance(value, list | tuple):
        return sum(map(_size, value), start=_VALUE_BYTES)
    return _VALUE_BYTES


def quoted(text: str) -> str:
    """The text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"
