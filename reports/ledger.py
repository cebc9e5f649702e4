"""The ledger: every event answered 200 is somewhere. Accepted = archived + on the way."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb

from reports.warehouse.files import WarehouseFiles
from schemas_avro.block import BlockMeta, read_meta
from schemas_avro.segment import SUFFIX, Whole, read_frame
from schemas_avro.tables import DAILY, EVENTS

_SQL = {p.stem: p.read_text() for p in (Path(__file__).parent / "sql").glob("ledger_*.sql")}


@dataclass(frozen=True, slots=True)
class Ledger:
    """Counts over all projects, as events.

    accepted: durable on the bus; imported: brought in from files, past the bus
    archived: in the raw archive, imports and repeats included
    counted:  in the exact table; repeats: copies of counted ones, left out there
    """

    accepted: int
    dead_lettered: int
    imported: int
    archived: int
    counted: int
    repeats: int

    @property
    def in_flight(self) -> int:
        """Accepted or imported, not archived yet."""
        return self.accepted + self.imported - self.archived

    @property
    def uncounted(self) -> int:
        """Archived, but not yet in the exact table."""
        return self.archived - self.counted - self.repeats

    @property
    def balanced(self) -> bool:
        """Is every event accounted for, with nothing under way?"""
        return self.in_flight == 0 and self.uncounted == 0


def read(spool: Path, warehouse: WarehouseFiles) -> Ledger:
    """The present ledger: from the bus's last blocks and the tables themselves."""
    archived, imported = _query("ledger_archive", warehouse.of(EVENTS).paths)
    counted, repeats = _query("ledger_daily", warehouse.of(DAILY).paths)
    return Ledger(
        accepted=rows_on_bus(spool / "events"),
        dead_lettered=rows_on_bus(spool / "dead_letters"),
        imported=imported,
        archived=archived,
        counted=counted,
        repeats=repeats,
    )


def rows_on_bus(topic: Path) -> int:
    """Rows ever written to a topic: each producer's last block says how many were before it."""
    total = 0
    for directory in topic.iterdir() if topic.is_dir() else ():
        for segment in sorted(directory.glob(f"*{SUFFIX}"), reverse=True):
            last = next(iter(deque(_metas(segment), maxlen=1)), None)
            if last is not None:
                total += last.first_row + last.count
                break
    return total


def _metas(segment: Path) -> Iterator[BlockMeta]:
    at = 0
    with segment.open("rb") as file:
        while (found := read_frame(file, at)) is not None:
            at = found.end
            if isinstance(found, Whole):
                yield read_meta(found.payload)


def _query(question: str, paths: tuple[str, ...]) -> tuple[int, int]:
    if not paths:
        return 0, 0
    source = f"read_parquet({list(paths)!r}, union_by_name = true, hive_partitioning = false)"
    with duckdb.connect() as connection:
        found = connection.execute(_SQL[question].format(source=source)).fetchone()
    first, second = found or (0, 0)
    return int(first or 0), int(second or 0)
