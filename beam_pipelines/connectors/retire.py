"""Takes out of the warehouse and off the spool what is kept no longer."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
from pyiceberg.table import Table as IcebergTable

from beam_pipelines.connectors.maintenance import DataFile, files_by_day, local, rewrite, swap
from beam_pipelines.connectors.marks import copies_of
from beam_pipelines.connectors.warehouse import Warehouse, carried
from schemas_avro import load
from schemas_avro.segment import SUFFIX, Whole, first_seq, read_frame
from schemas_avro.tables import BUS_PRODUCERS, DAILY, RETIRED, Table
from transforms.positions import Positions
from transforms.retired import Gone, Keeping, Retired


@dataclass(frozen=True)
class OldDay:
    """What goes of one day of an archive table. stays: rows of projects that keep it longer."""

    table: Table
    day: date
    files: tuple[DataFile, ...]
    gone: Retired
    stays: int

    @property
    def rows(self) -> int:
        """Rows that go."""
        total = self.gone.total()
        return total.rows + total.late


def old_days(warehouse: Warehouse, spec: Table, keeping: Keeping, today: date) -> Iterator[OldDay]:
    """Days with something to take out, the oldest first."""
    before = warehouse.retired(spec)
    for day, files in files_by_day(warehouse, spec).items():
        if day >= keeping.latest_raw(today):
            return
        going, gone, stays = [], Retired(), 0
        for file in files:
            found = _counts(local(file.path))
            old = {p: n for p, n in found.items() if day < keeping.raw_until(p, today)}
            if not old:
                continue
            going.append(file)
            stays += sum(rows for p, (rows, _) in found.items() if p not in old)
            gone += Retired({p: _gone(day, *n, before.of(p)) for p, n in old.items()})
        if going:
            yield OldDay(spec, day, tuple(going), gone, stays)


def _counts(path: str) -> dict[str, tuple[int, int]]:
    """By project, rows and how many of them never were on the bus."""
    imported = ~pl.col("producer").fill_null("").str.starts_with(BUS_PRODUCERS)
    found = pl.scan_parquet(path, hive_partitioning=False).group_by("project")
    rows = found.agg(rows=pl.len(), imported=imported.sum()).collect()
    return {project: (n, past) for project, n, past in rows.iter_rows()}


def _gone(day: date, rows: int, imported: int, before: Gone) -> Gone:
    until = day + timedelta(days=1)
    if day < before.until:
        return Gone(until, late=rows, late_imported=imported)
    return Gone(until, rows, imported)


def take_out(
    warehouse: Warehouse, old: OldDay, memory_mb: int, progress: Callable[[int], None]
) -> None:
    """Commit one day: its files go whole, or are written anew without the projects."""
    files: tuple[str, ...] = ()
    if old.stays:
        without = sorted(old.gone.by_project)
        files = rewrite(
            warehouse, old.table, old.files, without=without,
            repeats=copies_of(warehouse, old.table, old.day), memory_mb=memory_mb,
            progress=progress,
        ).files  # fmt: skip
    swap(warehouse, old.table, [f.path for f in old.files], files, retired=old.gone)


@dataclass(frozen=True)
class OldRows:
    """Rows of a table of numbers that go: projects, each with the day before which."""

    table: Table
    until: dict[str, date]
    rows: int
    gone: Retired


def old_rows(
    warehouse: Warehouse, spec: Table, until_of: Callable[[str], date], latest: date
) -> OldRows | None:
    """What goes of a table with one row a number; None: nothing."""
    counted = ("events_in", "duplicates") if spec is DAILY else ()
    there = warehouse.table(spec).scan(
        row_filter=f"{spec.day_of} < '{_text(spec, latest)}'",
        selected_fields=("project", spec.day_of, *counted),
    )
    day = pl.col(spec.day_of)
    rows = pl.DataFrame(there.to_arrow()).with_columns(
        day if spec.day_of == "day" else day.dt.date().alias(spec.day_of)
    )
    until = {project: until_of(project) for project in rows["project"].unique().sort()}
    old = pl.any_horizontal(
        pl.lit(False),
        *((pl.col("project") == project) & (day < first) for project, first in until.items()),
    )
    going = rows.filter(old)
    if going.is_empty():
        return None
    gone = Retired()
    if counted:  # every number of a day says how many events it stands for
        days = going.select("project", "day", total=pl.sum_horizontal(counted)).unique()
        for project, events in days.group_by("project").agg(pl.col("total").sum()).iter_rows():
            gone += Retired({project: Gone(until[project], events)})
    there_still = {p: until[p] for p in going["project"].unique().sort()}
    return OldRows(spec, there_still, going.height, gone)


def delete_rows(warehouse: Warehouse, old: OldRows) -> None:
    """Commit it: whole partitions where that is enough."""
    spec = old.table
    where = " or ".join(
        f"(project = '{project}' and {spec.day_of} < '{_text(spec, until)}')"
        for project, until in old.until.items()
    )

    def commit(table: IcebergTable) -> None:
        said = carried(table)
        before = Retired.from_json(said.get(RETIRED, "{}"))
        said[RETIRED] = (before + old.gone).to_json()
        with warnings.catch_warnings():
            # Gone already, if another run was first; then this one's counts must not be added.
            warnings.filterwarnings("error", "Delete operation did not match any records")
            try:
                table.delete(where, snapshot_properties=said)
            except UserWarning:
                return

    warehouse.commit(spec, commit)


def _text(spec: Table, day: date) -> str:
    kinds = {field.name: field.kind for field in load(spec.record).fields}
    if kinds[spec.day_of] == "date":
        return day.isoformat()
    return datetime(day.year, day.month, day.day, tzinfo=UTC).isoformat()


@dataclass(frozen=True)
class OldSegment:
    """A segment of the spool that the archive has, and nobody reads any more."""

    path: Path
    bytes: int


def old_segments(topic: str, held: Positions, before_us: int) -> Iterator[OldSegment]:
    """Segments written to last before the instant (us), all of whose blocks are held.

    Of each producer the newest segment with a whole block stays, and what follows it: there the
    numbering goes on after a restart, and there the total of its rows stands.
    """
    producers = (
        sorted(p for p in Path(topic).iterdir() if p.is_dir()) if os.path.isdir(topic) else []
    )
    for producer in producers:
        segments = sorted(producer.glob(f"*{SUFFIX}"))
        while segments and not _has_block(segments[-1]):
            segments.pop()
        ranges = held.by_producer.get(producer.name, ())
        for segment, following in pairwise(segments):
            first, last = first_seq(segment.name), first_seq(following.name) - 1
            status = segment.stat()
            archived = any(a <= first and last <= b for a, b in ranges)
            if not archived or status.st_mtime_ns // 1000 >= before_us:
                break
            yield OldSegment(segment, status.st_size)


def _has_block(segment: Path) -> bool:
    with segment.open("rb") as file:
        at = 0
        while (found := read_frame(file, at)) is not None:
            if isinstance(found, Whole):
                return True
            at = found.end
    return False
