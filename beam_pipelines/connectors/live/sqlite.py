"""Live numbers on SQLite: the store of one machine, which the report pages read."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from beam_pipelines.connectors.live.port import ATTEMPT_S, LiveStoreError
from beam_pipelines.connectors.uri import path_of
from schemas_avro import derive, load
from schemas_avro.tables import LIVE_KEY, LIVE_PROGRESS, LIVE_PROGRESS_DDL, LIVE_VALUES
from transforms.row_check import Limits

_RECORD = load("live_value")
# A pane that arrives after a newer one of the same minute must not win, whatever its bundle.
_UPSERT = f"""
INSERT INTO {LIVE_VALUES} ({", ".join(_RECORD.field_names)})
VALUES ({", ".join("?" for _ in _RECORD.fields)})
ON CONFLICT ({", ".join(LIVE_KEY)}) DO UPDATE SET
{", ".join(f"{n} = excluded.{n}" for n in _RECORD.field_names if n not in LIVE_KEY)}
WHERE (excluded.run, excluded.pane_index) >= (run, pane_index)
"""
_PROGRESS = f"""
INSERT INTO {LIVE_PROGRESS} (id, complete_until, updated_at) VALUES (0, ?, ?)
ON CONFLICT (id) DO UPDATE SET
complete_until = max(complete_until, excluded.complete_until), updated_at = excluded.updated_at
"""
_READ = f"""
SELECT {", ".join(_RECORD.field_names)} FROM {LIVE_VALUES}
WHERE project = ? AND statistic = ? AND minute >= ? AND minute < ? ORDER BY minute, dimensions
"""


class SqliteLive:
    """`sqlite:FILE`. One transaction a write; the order of runs is in the rows themselves."""

    limits = Limits(row_bytes=100_000_000)  # a tenth of SQLite's own

    def __init__(self, path: str) -> None:
        self._path = path
        with self._errors():
            self._connection = connect(path)

    @classmethod
    def open(cls, uri: str) -> SqliteLive:
        """From its URI."""
        return cls(path_of(uri, "sqlite", "live"))

    def begin(self, run: int) -> int:
        return run

    def upsert(self, rows: pl.DataFrame, token: int, until: int | None) -> Sequence[str]:
        values = rows.select(_RECORD.field_names).rows()
        with self._errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(_UPSERT, values)
                if until is not None:
                    self._connection.execute(_PROGRESS, (until, time.time_ns() // 1000))
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
        return ()

    def complete_until(self) -> int | None:
        with self._errors():
            found = self._connection.execute(f"SELECT complete_until FROM {LIVE_PROGRESS}")
            row = found.fetchone()
        return int(row[0]) if row else None

    def read(self, project: str, statistic: str, start: int, end: int) -> pl.DataFrame:
        with self._errors():
            found = self._connection.execute(_READ, (project, statistic, start, end)).fetchall()
        return pl.DataFrame(found, schema=derive.wire(_RECORD), orient="row")

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise LiveStoreError(f"live store sqlite:{self._path}: {error}") from error


def connect(path: str) -> sqlite3.Connection:
    """The store, made if it is not there. WAL: readers never wait for the writer."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(
        path, timeout=ATTEMPT_S, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA journal_mode = WAL")
    # A crash of the machine may cost the last second of live rows; the replay rebuilds them.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(derive.sqlite_ddl(_RECORD, LIVE_VALUES, LIVE_KEY))
    connection.execute(LIVE_PROGRESS_DDL)
    return connection
