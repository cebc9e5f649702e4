"""Which files a warehouse table consists of now, read from the Iceberg catalogue."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
from pyiceberg.table import Table as IcebergTable
from pyiceberg.typedef import Record

from schemas_avro.tables import (
    BASED_ON,
    CATALOG_FILE,
    NAMESPACE,
    POSITIONS,
    RECEIVED_UNTIL,
    RETIRED,
    Table,
)
from transforms.positions import Positions
from transforms.retired import Retired

_REMEMBERED = 32
_TICK_NS = 100_000_000
_Stamp = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Files:
    """One snapshot of a table. Empty where the table is not there yet.

    days:           file -> UTC day that its rows are of, since 1970-01-01; of tables that are
                    partitioned otherwise what they are partitioned by
    projects:       file -> project whose rows it has, of tables that are partitioned so
    received_until: latest received_time in it, us; None where it does not say
    positions:      blocks that it holds
    based_on:       snapshot of `events` that it was computed from
    marks:          the same of each grain, of a table that has several
    retired:        what retention took out of it so far
    """

    days: Mapping[str, int] = field(default_factory=dict)
    projects: Mapping[str, str] = field(default_factory=dict)
    rows: int = 0
    bytes: int = 0
    committed_at: int | None = None
    received_until: int | None = None
    positions: Positions = field(default_factory=Positions)
    based_on: int | None = None
    marks: Mapping[str, int] = field(default_factory=dict)
    retired: Retired = field(default_factory=Retired)

    @property
    def paths(self) -> tuple[str, ...]:
        """The files, in a fixed order."""
        return tuple(self.days)


class WarehouseFiles:
    """Looks tables up. A snapshot's list of files is read once and then remembered."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._known: dict[int, Files] = {}
        self._seen: tuple[_Stamp, dict[tuple[str, int | None], Files]] = ((), {})

    def of(self, spec: Table, snapshot: int | None = None) -> Files:
        """The newest snapshot, or one that is named; nothing where it is not there any more."""
        stamp = self._stamp()
        if not stamp:
            return Files()
        if self._seen[0] != stamp:
            self._seen = (stamp, {})
        seen = self._seen[1]
        key = (spec.name, snapshot)
        if key not in seen:
            found = self._look(spec, snapshot)
            # A file that was written just now may be written again in the same tick of its clock.
            if time.time_ns() - max(at for at, _ in stamp) < _TICK_NS:
                return found
            seen[key] = found
        return seen[key]

    def _stamp(self) -> _Stamp:
        """When the catalogue was last written, and its size: every commit of any table does that.

        Looking a table up costs a hundred times as much. Empty where there is no catalogue.
        """
        found = []
        for name in (CATALOG_FILE, f"{CATALOG_FILE}-wal"):
            try:
                status = os.stat(f"{self.directory}/{name}")
            except FileNotFoundError:
                continue
            found.append((status.st_mtime_ns, status.st_size))
        return tuple(found)

    def _look(self, spec: Table, snapshot: int | None) -> Files:
        with self._table(spec) as table:
            if table is None:
                return Files()
            found = table.current_snapshot() if snapshot is None else table.snapshot_by_id(snapshot)
            if found is None:
                return Files()
            if found.snapshot_id not in self._known:
                while len(self._known) >= _REMEMBERED:
                    self._known.pop(next(iter(self._known)), None)
                self._known[found.snapshot_id] = _read(table, found.snapshot_id)
            return self._known[found.snapshot_id]

    def commits(self, spec: Table) -> list[int]:
        """When the snapshots that are still known of were committed, us, the oldest first."""
        if not os.path.exists(f"{self.directory}/{CATALOG_FILE}"):
            return []
        with self._table(spec) as table:
            known = table.history() if table is not None else []
            return [entry.timestamp_ms * 1000 for entry in known]

    @contextmanager
    def _table(self, spec: Table) -> Iterator[IcebergTable | None]:
        catalog = SqlCatalog(
            NAMESPACE,
            uri=f"sqlite:///{self.directory}/{CATALOG_FILE}",
            warehouse=f"file://{self.directory}",
        )
        try:
            yield catalog.load_table(spec.identifier)
        except (NoSuchTableError, NoSuchNamespaceError):
            yield None
        finally:
            catalog.close()


def _read(table: IcebergTable, snapshot_id: int) -> Files:
    snapshot = table.snapshot_by_id(snapshot_id)
    assert snapshot is not None
    said = snapshot.summary.additional_properties if snapshot.summary else {}
    until, based_on = said.get(RECEIVED_UNTIL), said.get(BASED_ON)
    planned = [task.file for task in table.scan(snapshot_id=snapshot_id).plan_files()]
    days = {f.file_path.removeprefix("file://"): _day(f.partition) for f in planned}
    projects = {f.file_path.removeprefix("file://"): _project(f.partition) for f in planned}
    return Files(
        days=dict(sorted(days.items())),
        projects={path: project for path, project in projects.items() if project is not None},
        rows=int(said.get("total-records", 0)),
        bytes=sum(f.file_size_in_bytes for f in planned),
        committed_at=snapshot.timestamp_ms * 1000,
        received_until=int(until) if until else None,
        positions=Positions.from_json(said.get(POSITIONS, "{}")),
        based_on=int(based_on) if based_on else None,
        marks={
            name.removeprefix(f"{BASED_ON}."): int(mark)
            for name, mark in said.items()
            if name.startswith(f"{BASED_ON}.")
        },
        retired=Retired.from_json(said.get(RETIRED, "{}")),
    )


def _project(partition: Record) -> str | None:
    values = [partition[at] for at in range(len(partition))]
    return next((value for value in values if isinstance(value, str)), None)


def _day(partition: Record) -> int:
    """The last field is the time that the table is partitioned by."""
    values = [partition[at] for at in range(len(partition))]
    return next((value for value in reversed(values) if isinstance(value, int)), 0)
