"""The live store on SQLite: one row per number and minute, replaced by each newer pane."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.utils.windowed_value import PaneInfo, PaneInfoTiming

from schemas_avro import load
from schemas_avro.derive import sqlite_ddl
from schemas_avro.tables import LIVE_KEY, LIVE_PROGRESS, LIVE_PROGRESS_DDL, LIVE_VALUES
from transforms.measure import Key
from transforms.statistics import DistinctSketch, Statistic, Total

_RECORD = load("live_value")
_TIMINGS = {
    PaneInfoTiming.EARLY: "early",
    PaneInfoTiming.ON_TIME: "on_time",
    PaneInfoTiming.LATE: "late",
}
# A pane that arrives after a newer one of the same window must not win, whatever its bundle.
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


def connect(path: str) -> sqlite3.Connection:
    """The store, made if it is not there. WAL: readers never wait for the writer."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    # A crash of the machine may cost the last second of live rows; the replay rebuilds them.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(sqlite_ddl(_RECORD, LIVE_VALUES, LIVE_KEY))
    connection.execute(LIVE_PROGRESS_DDL)
    return connection


def complete_until(path: str) -> int | None:
    """End of the newest minute that was final once, us; None in a new store."""
    connection = connect(path)
    try:
        row = connection.execute(f"SELECT complete_until FROM {LIVE_PROGRESS}").fetchone()
    finally:
        connection.close()
    return int(row[0]) if row else None


class UpsertLive(beam.DoFn):
    """(key, value) panes -> rows, one transaction a bundle. Idempotent; newer panes win.

    run: start of the pipeline run, us: panes of an older run never replace those of a newer.
    """

    def __init__(self, path: str, run: int) -> None:
        self._path, self._run = path, run

    def setup(self) -> None:
        self._connection = connect(self._path)

    def start_bundle(self) -> None:
        self._rows: list[tuple[Any, ...]] = []
        self._final = 0

    def process(
        self,
        element: tuple[Key, Statistic],
        window: Any = beam.DoFn.WindowParam,
        pane: Any = beam.DoFn.PaneInfoParam,
    ) -> None:
        self._rows.append(self._row(element, window.start.micros, pane))
        if pane.timing == PaneInfoTiming.ON_TIME:
            self._final = max(self._final, window.end.micros)

    def _row(self, element: tuple[Key, Statistic], minute: int, pane: PaneInfo) -> tuple[Any, ...]:
        key, value = element
        return (
            *key,
            minute,
            value.value if isinstance(value, Total) else None,
            value.sketch if isinstance(value, DistinctSketch) else None,
            _TIMINGS.get(pane.timing, "late"),
            pane.index,
            self._run,
            time.time_ns() // 1000,
        )

    def finish_bundle(self) -> None:
        if not self._rows:
            return
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(_UPSERT, self._rows)
        if self._final:
            self._connection.execute(_PROGRESS, (self._final, time.time_ns() // 1000))
        self._connection.execute("COMMIT")

    def teardown(self) -> None:
        self._connection.close()
