"""The ledger: every event answered 200 is somewhere. Accepted = archived + on the way."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from reports.warehouse.execute import quoted
from reports.warehouse.files import WarehouseFiles
from schemas_avro.block import read_meta
from schemas_avro.segment import SUFFIX, Whole, read_frame
from schemas_avro.tables import DAILY, EVENTS

_SQL = {p.stem: p.read_text() for p in (Path(__file__).parent / "sql").glob("ledger_*.sql")}


@dataclass(frozen=True, slots=True)
class Ledger:
    """Counts over all projects, as events.

    accepted: durable on the bus; imported: brought in from files, past the bus
    archived: in the raw archive, imports and repeats included
    counted:  in the exact table; repeats: copies of counted ones, left out there
    retired:  taken out of the archive by retention, and retired_imports of them from files
    uncountable: of them, those that came when their day was gone already
    retired_counts: counted ones and their repeats whose numbers retention took out as well
    """

    accepted: int
    dead_lettered: int
    imported: int
    archived: int
    counted: int
    repeats: int
    retired: int = 0
    retired_imports: int = 0
    uncountable: int = 0
    retired_counts: int = 0

    @property
    def in_flight(self) -> int:
        """Accepted or imported, not archived yet."""
        came = self.accepted + self.imported + self.retired_imports
        return came - self.archived - self.retired

    @property
    def uncounted(self) -> int:
        """Archived, but not yet in the exact table."""
        to_count = self.archived + self.retired - self.uncountable
        return to_count - self.counted - self.repeats - self.retired_counts

    @property
    def balanced(self) -> bool:
        """Is every event accounted for, with nothing under way?"""
        return self.in_flight == 0 and self.uncounted == 0


class Books:
    """Reads the ledger from the bus and the tables themselves, each time.

    What cannot change any more is read once: a segment up to its last whole block, and a file of
    the archive. Threads may share it.
    """

    def __init__(self, spool: Path, warehouse: WarehouseFiles) -> None:
        self._spool, self._warehouse = spool, warehouse
        self._logs: dict[Path, _Log] = {}
        self._archived: dict[str, tuple[int, int]] = {}
        self._daily: tuple[tuple[str, ...], tuple[int, int]] = ((), (0, 0))
        self._lock = threading.Lock()

    def read(self) -> Ledger:
        """The present ledger."""
        with self._lock:
            # Against the stream, so that what arrives meanwhile is under way and never missing.
            counted, repeats = self._read_daily()
            archived, imported = self._read_archive()
            gone = self._warehouse.of(EVENTS).retired.total()
            return Ledger(
                accepted=self.rows_on_bus(self._spool / "events"),
                dead_lettered=self.rows_on_bus(self._spool / "dead_letters"),
                imported=imported,
                archived=archived,
                counted=counted,
                repeats=repeats,
                retired=gone.rows + gone.late,
                retired_imports=gone.imported + gone.late_imported,
                uncountable=gone.late,
                retired_counts=self._warehouse.of(DAILY).retired.total().rows,
            )

    def rows_on_bus(self, topic: Path) -> int:
        """Rows ever written to a topic: each producer's last block says how many before it."""
        producers = [p for p in topic.iterdir() if p.is_dir()] if topic.is_dir() else []
        for producer in producers:
            self._logs[producer] = _advanced(producer, self._logs.get(producer))
        return sum(self._logs[producer].rows for producer in producers)

    def _read_archive(self) -> tuple[int, int]:
        paths = self._warehouse.of(EVENTS).paths
        new = [path for path in paths if path not in self._archived]
        self._archived.update(dict.fromkeys(new, (0, 0)))  # a file without rows is in no group
        for path, rows, imported in _query("ledger_archive", new):
            self._archived[path] = (rows, imported)
        self._archived = {path: self._archived[path] for path in paths}
        known = self._archived.values()
        return sum(rows for rows, _ in known), sum(imported for _, imported in known)

    def _read_daily(self) -> tuple[int, int]:
        paths = self._warehouse.of(DAILY).paths
        if paths != self._daily[0]:
            counted, repeats = _query("ledger_daily", list(paths))[0] if paths else (0, 0)
            self._daily = (paths, (int(counted or 0), int(repeats or 0)))
        return self._daily[1]


@dataclass(frozen=True, slots=True)
class _Log:
    """How far a producer's log was read: offset in its newest segment that has a block."""

    segment: Path | None = None
    end: int = 0
    rows: int = 0


def _advanced(producer: Path, known: _Log | None) -> _Log:
    """The log read on to its last whole block."""
    for segment in sorted(producer.glob(f"*{SUFFIX}"), reverse=True):
        if known is not None and segment == known.segment:
            return _read_on(segment, known)
        found = _read_on(segment, _Log(segment))
        if found.end:
            return found
    return _Log()


def _read_on(segment: Path, known: _Log) -> _Log:
    size = segment.stat().st_size
    if size == known.end:
        return known
    at = known.end if size > known.end else 0  # it was cut: nothing of what is known holds
    last = None
    with segment.open("rb") as file:
        while (found := read_frame(file, at)) is not None:
            at = found.end
            if isinstance(found, Whole):
                last = found.payload
    if last is None:
        return known
    meta = read_meta(last)
    return _Log(segment, at, meta.first_row + meta.count)


def _query(question: str, paths: list[str]) -> list[tuple[Any, ...]]:
    if not paths:
        return []
    with duckdb.connect() as connection:
        files = ", ".join(map(quoted, paths))
        return connection.execute(_SQL[question].format(files=f"[{files}]")).fetchall()
