"""The ledger: every event answered 200 is somewhere. Accepted = archived + on the way."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from reports.warehouse.execute import quoted
from reports.warehouse.files import WarehouseFiles
from schemas_avro.block import read_meta
from schemas_avro.segment import SUFFIX, Whole, read_frame
from schemas_avro.tables import DAILY, EVENTS, LEDGER, Table
from transforms.retired import Gone

_SQL = {p.stem: p.read_text() for p in (Path(__file__).parent / "sql").glob("ledger_*.sql")}
_ABOUT = {DAILY.name: "ledger_daily", LEDGER.name: "ledger_books"}


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


@dataclass(frozen=True, slots=True)
class Drawn:
    """What the books of the job `reconcile` say of one project.

    problems: lines that do not add up; at: when the newest books of any project were drawn up, us
    """

    accepted: int = 0
    dead_lettered: int = 0
    in_flight: int = 0
    problems: int = 0
    at: int = 0


@dataclass(frozen=True)
class ProjectLedger(Ledger):
    """Counts of one project.

    The bus does not count by project, the books do: accepted, dead_lettered and in_flight are
    theirs, as of books.at, and 0 while there are none. All else is of now.
    received_until: latest receipt of an event in the archive, us
    """

    books: Drawn | None = None
    received_until: int | None = None

    @property
    def in_flight(self) -> int:
        """Accepted and not archived yet, when the books were drawn up."""
        return self.books.in_flight if self.books else 0

    @property
    def balanced(self) -> bool:
        """Do the books add up, with nothing under way, and is all that is archived counted?"""
        adds_up = self.books is not None and not self.books.problems
        return adds_up and self.in_flight == 0 and self.uncounted == 0


class _Held(NamedTuple):
    """Of one project in the archive, or in one file of it."""

    rows: int = 0
    imported: int = 0
    received_until: int = 0

    def plus(self, other: _Held) -> _Held:
        until = max(self.received_until, other.received_until)
        return _Held(self.rows + other.rows, self.imported + other.imported, until)


class Books:
    """Reads the ledger from the bus and the tables themselves, each time.

    What cannot change any more is read once: a segment up to its last whole block, and a file of
    the archive. Threads may share it.
    """

    def __init__(self, spool: Path, warehouse: WarehouseFiles) -> None:
        self._spool, self._warehouse = spool, warehouse
        self._logs: dict[Path, _Log] = {}
        self._archived: dict[str, dict[str, _Held]] = {}
        self._by_table: dict[str, tuple[tuple[str, ...], list[tuple[Any, ...]]]] = {}
        self._lock = threading.Lock()

    def read(self) -> Ledger:
        """The present ledger of all projects."""
        with self._lock:
            # Against the stream, so that what arrives meanwhile is under way and never missing.
            daily = self._read_daily().values()
            held = reduce(_Held.plus, self._read_archive().values(), _Held())
            return Ledger(
                accepted=self.rows_on_bus(self._spool / "events"),
                dead_lettered=self.rows_on_bus(self._spool / "dead_letters"),
                imported=held.imported,
                archived=held.rows,
                counted=sum(counted for counted, _ in daily),
                repeats=sum(repeats for _, repeats in daily),
                **_gone(self._warehouse.of(EVENTS).retired.total()),
                retired_counts=self._warehouse.of(DAILY).retired.total().rows,
            )

    def of(self, project: str) -> ProjectLedger:
        """The present ledger of one project; no other's events are in any of its numbers."""
        with self._lock:
            drawn = self._read_books(project)
            counted, repeats = self._read_daily().get(project, (0, 0))
            held = self._read_archive().get(project, _Held())
            return ProjectLedger(
                accepted=drawn.accepted if drawn else 0,
                dead_lettered=drawn.dead_lettered if drawn else 0,
                imported=held.imported,
                archived=held.rows,
                counted=counted,
                repeats=repeats,
                **_gone(self._warehouse.of(EVENTS).retired.of(project)),
                retired_counts=self._warehouse.of(DAILY).retired.of(project).rows,
                books=drawn,
                received_until=held.received_until or None,
            )

    def rows_on_bus(self, topic: Path) -> int:
        """Rows ever written to a topic: each producer's last block says how many before it."""
        producers = [p for p in topic.iterdir() if p.is_dir()] if topic.is_dir() else []
        for producer in producers:
            self._logs[producer] = _advanced(producer, self._logs.get(producer))
        return sum(self._logs[producer].rows for producer in producers)

    def _read_archive(self) -> dict[str, _Held]:
        """By project."""
        paths = self._warehouse.of(EVENTS).paths
        new = [path for path in paths if path not in self._archived]
        # Known only once all of them are read. A file without rows is in no group.
        read: dict[str, dict[str, _Held]] = {path: {} for path in new}
        for path, project, rows, imported, until in _query("ledger_archive", new):
            read[path][project] = _Held(rows, imported, until)
        known = self._archived | read
        self._archived = {path: known[path] for path in paths}
        found: dict[str, _Held] = {}
        for by_project in self._archived.values():
            for project, held in by_project.items():
                found[project] = found.get(project, _Held()).plus(held)
        return found

    def _read_daily(self) -> dict[str, tuple[int, int]]:
        """Events counted and repeats left out, by project."""
        return {p: (int(n or 0), int(again or 0)) for p, n, again in self._of_table(DAILY)}

    def _read_books(self, project: str) -> Drawn | None:
        """None where no books were drawn up, of any project."""
        lines = self._of_table(LEDGER)
        if not lines:
            return None
        # A project that was quiet has no new lines; the books cover it all the same.
        at = max(line[-1] for line in lines)
        own = next((line[1:-1] for line in lines if line[0] == project), (0, 0, 0, 0))
        accepted, refused, in_flight, problems = map(int, own)
        return Drawn(accepted, refused, in_flight, problems, at)

    def _of_table(self, table: Table) -> list[tuple[Any, ...]]:
        """Rows of the question about a table, asked again when its files are others."""
        paths = self._warehouse.of(table).paths
        known, rows = self._by_table.get(table.name, ((), []))
        if paths != known:
            rows = _query(_ABOUT[table.name], list(paths))
            self._by_table[table.name] = (paths, rows)
        return rows


@dataclass(frozen=True, slots=True)
class _Log:
    """How far a producer's log was read: offset in its newest segment that has a block."""

    segment: Path | None = None
    end: int = 0
    rows: int = 0


def _gone(found: Gone) -> dict[str, int]:
    return {
        "retired": found.rows + found.late,
        "retired_imports": found.imported + found.late_imported,
        "uncountable": found.late,
    }


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
