"""Forgets old snapshots, and removes files that no snapshot needs, a grace period later.

Expiring a snapshot leaves its files on disk, and so does a writer that died before its commit.
Readers plan first and read then: a query, a rollup or a backfill may still want a file that is no
longer part of the table. So a file goes only when two looks, at least the grace period apart,
have both found it unreferenced. The first look is written down in `unreferenced.json`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table as IcebergTable

from beam_pipelines.connectors.maintenance import local
from beam_pipelines.connectors.warehouse import Warehouse, summary
from schemas_avro.tables import BASED_ON, EVENTS

_NOTE = "unreferenced.json"


@dataclass(frozen=True)
class Swept:
    """What one look did.

    waiting:  files that nobody needs and that are in their grace period, and their bytes
    removed:  files removed, and their bytes
    """

    waiting: int = 0
    waiting_bytes: int = 0
    removed: int = 0
    removed_bytes: int = 0


def expire(warehouse: Warehouse, before_us: int) -> int:
    """Forget snapshots older than the instant; how many.

    Of `events`, those stay that came after the one which an exact table was computed from: they
    say which days to compute anew. Another commit in between wins; the next run expires.
    """
    expired = 0
    for table, old in _old(warehouse, before_us):
        try:
            table.maintenance.expire_snapshots().by_ids(old).commit()
        except CommitFailedException:
            continue
        expired += len(old)
    return expired


def old_snapshots(warehouse: Warehouse, before_us: int) -> int:
    """How many `expire` would forget."""
    return sum(len(old) for _, old in _old(warehouse, before_us))


def is_due(directory: str, grace_us: int, now_us: int) -> bool:
    """Is there a file that has waited out its grace period?"""
    return min(_first_seen(directory).values(), default=now_us) <= now_us - grace_us


def _old(warehouse: Warehouse, before_us: int) -> Iterator[tuple[IcebergTable, list[int]]]:
    tables = warehouse.tables()
    marks = (said for table in tables for said in summary(table).items())
    based_on = {int(snapshot) for name, snapshot in marks if name.startswith(BASED_ON)}
    for table in tables:
        needed_from = _needed_from(table, based_on) if table.name() == EVENTS.identifier else None
        old = [
            s.snapshot_id
            for s in table.snapshots()
            if s.timestamp_ms * 1000 < before_us
            and s != table.current_snapshot()
            and (needed_from is None or (s.sequence_number or 0) < needed_from)
        ]
        if old:
            yield table, old


def _needed_from(table: IcebergTable, based_on: set[int]) -> int | None:
    numbers = [s.sequence_number or 0 for s in table.snapshots() if s.snapshot_id in based_on]
    return min(numbers, default=None)


def sweep(warehouse: Warehouse, grace_us: int, now_us: int, *, dry_run: bool = False) -> Swept:
    """Remove what was unreferenced at a look `grace_us` ago and is so still."""
    first_seen = _first_seen(warehouse.directory)
    # The files first: what is committed after this look is not in the list at all.
    there = {path: path.stat() for path in _files(warehouse.directory)}
    referenced = {path for table in warehouse.tables() for path in _referenced(table)}
    waiting: dict[str, int] = {}
    removed = removed_bytes = waiting_bytes = 0
    for path, status in there.items():
        if str(path) in referenced:
            continue
        seen = first_seen.get(str(path), now_us)
        # Just written, it may be about to be committed; its age counts as well.
        if max(seen, status.st_mtime_ns // 1000) > now_us - grace_us or dry_run:
            waiting[str(path)] = seen
            waiting_bytes += status.st_size
        else:
            path.unlink(missing_ok=True)
            removed, removed_bytes = removed + 1, removed_bytes + status.st_size
    if not dry_run:
        _write(Path(warehouse.directory, _NOTE), json.dumps(waiting))
    return Swept(len(waiting), waiting_bytes, removed, removed_bytes)


def _first_seen(directory: str) -> dict[str, int]:
    note = Path(directory, _NOTE)
    found: dict[str, int] = json.loads(note.read_text()) if note.exists() else {}
    return found


def _files(directory: str) -> Iterator[Path]:
    for kind in ("data", "metadata"):
        for path in Path(directory).glob(f"*/*/{kind}/**/*"):
            if path.is_file():
                yield path


def _referenced(table: IcebergTable) -> Iterator[str]:
    """Every file that some snapshot of the table needs."""
    yield local(table.metadata_location)
    yield from (local(entry.metadata_file) for entry in table.metadata.metadata_log)
    seen: set[str] = set()
    for snapshot in table.snapshots():
        yield local(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path in seen:
                continue
            seen.add(manifest.manifest_path)
            yield local(manifest.manifest_path)
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
                yield local(entry.data_file.file_path)


def _write(note: Path, text: str) -> None:
    made = note.with_suffix(".new")
    made.write_text(text)
    os.replace(made, note)
