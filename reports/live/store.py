"""Reads the live store on SQLite. Any longer period is a merge of minutes, done here at read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from schemas_avro.tables import LIVE_PROGRESS, LIVE_VALUES
from transforms.metrics import STATISTICS
from transforms.statistics import DistinctSketch

_HOUR_US = 3_600_000_000
_EVER_US = 1 << 62
_FILES = {p.stem: p.read_text() for p in (Path(__file__).parent.parent / "sql").glob("live_*.sql")}
_DIMENSIONS = _FILES.pop("live_dimensions")
_SQL = {question: _DIMENSIONS + sql for question, sql in _FILES.items()}
_MADE = "SELECT count(*) FROM sqlite_master WHERE name IN (?, ?)"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far live numbers are, us; None while nothing was ever written."""

    updated_at: int | None
    complete_until: int | None


class LiveStore:
    """The live numbers of one project. A store that is not there yet is empty.

    Spans are [start, end) in us of event time.
    """

    def __init__(self, path: str, project: str) -> None:
        self._path, self._project = path, project

    def totals(self, statistic: str, start: int, end: int) -> Mapping[str, int]:
        """Sum of a count or sum over the span, by dimensions (JSON text)."""
        with self._open() as connection:
            return dict(_ask(connection, "live_totals", self._project, statistic, start, end))

    def per_minute(self, statistic: str, start: int, end: int) -> Mapping[int, int]:
        """A count by minute, all dimensions together; minutes without one are left out."""
        with self._open() as connection:
            return dict(_ask(connection, "live_minutes", self._project, statistic, start, end))

    def distinct(self, statistic: str, start: int, end: int) -> DistinctSketch:
        """Different values over the span. Whole hours are merged once and then remembered."""
        parts = []
        with self._open() as connection:
            stamps = _ask(connection, "live_hours", self._project, statistic, start, end)
        for hour, stamp, rows in stamps:
            first, last = max(start, hour), min(end, hour + _HOUR_US)
            parts.append(_merged(self._path, self._project, statistic, first, last, (stamp, rows)))
        return DistinctSketch.union(parts)

    def as_table(self, start: int, end: int) -> pa.Table:
        """Every minute's numbers over the span: minute, statistic, dimensions, value."""
        with self._open() as connection:
            rows = [
                row
                for statistic in STATISTICS
                for row in _ask(connection, "live_table", self._project, statistic, start, end)
            ]
        values = [DistinctSketch(sketch).value if sketch else total for *_, total, sketch in rows]
        return pa.table(
            {
                "minute": pa.array([r[0] for r in rows], pa.timestamp("us", tz="UTC")),
                "statistic": pa.array([r[1] for r in rows], pa.string()),
                "dimensions": pa.array([r[2] for r in rows], pa.string()),
                "value": pa.array(values, pa.int64()),
            }
        )

    def progress(self) -> Progress:
        """When the newest pane was written, and until when minutes are final."""
        with self._open() as connection:
            # Every event is in "events", and what moves now is near the newest minute.
            ((newest,),) = _ask(connection, "live_newest", self._project, "events", 0, _EVER_US)
            start = (newest or 0) - _HOUR_US
            updated = _ask(connection, "live_updated", self._project, "events", start, _EVER_US)
            final = connection.execute(f"SELECT complete_until FROM {LIVE_PROGRESS}").fetchone()
        return Progress(updated[0][0], final[0] if final else None)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        connection = _connect(self._path)
        try:
            yield connection
        finally:
            connection.close()


def _connect(path: str) -> sqlite3.Connection:
    """The store, to read; an empty one while the pipeline has not made it yet."""
    if Path(path).exists():
        connection = sqlite3.connect(f"{Path(path).as_uri()}?mode=ro", uri=True, timeout=5)
        if connection.execute(_MADE, (LIVE_VALUES, LIVE_PROGRESS)).fetchone() == (2,):
            return connection
        connection.close()
    connection = sqlite3.connect(":memory:")
    columns = "project, statistic, dimensions, minute, total, sketch, updated_at"
    connection.execute(f"CREATE TABLE {LIVE_VALUES} ({columns})")
    connection.execute(f"CREATE TABLE {LIVE_PROGRESS} (complete_until)")
    return connection


def _ask(
    connection: sqlite3.Connection,
    question: str,
    project: str,
    statistic: str,
    start: int,
    end: int,
) -> list[Any]:
    given = {"project": project, "statistic": statistic, "start": start, "end": end}
    return connection.execute(_SQL[question], given).fetchall()


@lru_cache(maxsize=512)
def _merged(
    path: str, project: str, statistic: str, start: int, end: int, stamp: tuple[int, int]
) -> DistinctSketch:
    """Union over a span. `stamp` is part of the key: rows that changed are merged anew."""
    connection = _connect(path)
    try:
        rows = _ask(connection, "live_sketches", project, statistic, start, end)
        return DistinctSketch.union([DistinctSketch(sketch) for (sketch,) in rows])
    finally:
        connection.close()
