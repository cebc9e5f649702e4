"""The Iceberg warehouse: raw events, dead letters, exact tables. Appends know their blocks.

Each snapshot of an appended table carries in its properties which blocks of which producers the
table holds (`transforms.positions`). A commit and its positions are one atomic change, so rows
of a block can be added once only, whatever is replayed.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.table import Table as IcebergTable
from pyiceberg.transforms import DayTransform, IdentityTransform, MonthTransform

from schemas_avro import derive, load
from schemas_avro.tables import (
    CATALOG_FILE,
    EVENTS,
    NAMESPACE,
    OURS,
    POSITIONS,
    RECEIVED_UNTIL,
    RETIRED,
    TOUCHED,
    Table,
)
from transforms.positions import Positions
from transforms.retired import Retired

_COMMIT_TRIES = 20
_PROPERTIES = {
    "write.parquet.compression-codec": "zstd",
    "commit.manifest-merge.enabled": "true",  # else every commit leaves a manifest for good
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    # The library's own retry would repeat a commit with the positions of the snapshot it lost to.
    "commit.retry.num-retries": "0",
}


@dataclass(frozen=True)
class Added:
    """Parquet files ready to be added, and the blocks whose rows they hold."""

    files: tuple[str, ...]
    positions: Positions
    touched: Mapping[str, tuple[str, ...]]  # project -> UTC days, ISO
    received_until: int  # us

    def __add__(self, other: Added) -> Added:
        """Both in one commit."""
        projects = self.touched.keys() | other.touched.keys()
        return Added(
            self.files + other.files,
            self.positions + other.positions,
            {
                p: tuple(sorted({*self.touched.get(p, ()), *other.touched.get(p, ())}))
                for p in projects
            },
            max(self.received_until, other.received_until),
        )


@dataclass(frozen=True)
class Changes:
    """What came since a snapshot: the newest snapshot, UTC days by project, received until (us)."""

    snapshot: int | None
    touched: Mapping[str, Set[date]]
    received_until: int


class Warehouse:
    """The tables below one directory. Cheap to make; not shared between threads."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        if not Path(directory, CATALOG_FILE).exists():
            self._make_catalogue()
        self._catalog = self._catalogue(CATALOG_FILE)

    def table(self, spec: Table) -> IcebergTable:
        """The table at its newest snapshot; made if it is not there, widened if it is older."""
        try:
            table = self._catalog.load_table(spec.identifier)
        except NoSuchTableError:
            return self._create(spec)
        wanted = derive.arrow(load(spec.record))
        if set(wanted.names) <= set(table.schema().column_names):
            return table
        return self._widened(spec, wanted)

    def tables(self) -> list[IcebergTable]:
        """All tables that were made so far, each at its newest snapshot."""
        return [self._catalog.load_table(name) for name in self._catalog.list_tables(NAMESPACE)]

    def positions(self, spec: Table) -> Positions:
        """The blocks that the table holds."""
        return Positions.from_json(summary(self.table(spec)).get(POSITIONS, "{}"))

    def retired(self, spec: Table) -> Retired:
        """What retention took out of the table so far."""
        return Retired.from_json(summary(self.table(spec)).get(RETIRED, "{}"))

    def write_files(self, spec: Table, rows: pl.DataFrame) -> tuple[str, ...]:
        """Parquet files of `rows` (wire types), one per UTC day, not yet part of the table."""
        schema = derive.arrow(load(spec.record))
        directory = Path(self.directory, NAMESPACE, spec.name, "data")
        directory.mkdir(parents=True, exist_ok=True)
        order = ["type", spec.day_of] if "type" in schema.names else [spec.day_of]
        day = (pl.col(spec.day_of) // 86_400_000_000).alias("_day")
        written = []
        for (number,), part in (
            rows.with_columns(day).partition_by("_day", as_dict=True, include_key=False).items()
        ):
            iso = date.fromordinal(date(1970, 1, 1).toordinal() + int(number)).isoformat()
            path = directory / f"{iso}-{uuid.uuid4().hex}.parquet"
            pq.write_table(_cast(part.sort(order), schema), path, compression="zstd")
            with path.open("rb") as file:
                os.fsync(file.fileno())
            written.append(f"file://{path}")
        return tuple(written)

    def add(self, spec: Table, added: Added) -> None:
        """Make the files part of the table, in one snapshot together with their positions."""

        def commit(table: IcebergTable) -> None:
            before = summary(table)
            held = Positions.from_json(before.get(POSITIONS, "{}"))
            files = self._without(spec, added, held)
            until = max(int(before.get(RECEIVED_UNTIL, 0)), added.received_until)
            table.add_files(
                list(files),
                snapshot_properties={
                    **carried(table),
                    POSITIONS: (held + added.positions).to_json(),
                    TOUCHED: json.dumps(dict(added.touched), separators=(",", ":")),
                    RECEIVED_UNTIL: str(until),
                },
                check_duplicate_files=False,  # names are unique; the check reads every manifest
            )

        self.commit(spec, commit)

    def changes(self, since: int | None) -> Changes:
        """What reached `events` after the snapshot `since`; everything where that is unknown."""
        table = self.table(EVENTS)
        current = table.current_snapshot()
        if current is None:
            return Changes(None, {}, 0)
        known = {s.snapshot_id: s.sequence_number or 0 for s in table.snapshots()}
        until = int(summary(table).get(RECEIVED_UNTIL, 0))
        if since not in known:
            return Changes(current.snapshot_id, self._all_days(table), until)
        touched: dict[str, set[date]] = {}
        for snapshot in table.snapshots():
            if (snapshot.sequence_number or 0) > known[since] and snapshot.summary:
                text = snapshot.summary.additional_properties.get(TOUCHED, "{}")
                for project, days in json.loads(text).items():
                    touched.setdefault(project, set()).update(map(date.fromisoformat, days))
        return Changes(current.snapshot_id, touched, until)

    def files(self, snapshot: int, spans_us: Iterable[tuple[int, int]]) -> list[str]:
        """Files of `events` at a snapshot that may hold event times within [start, end) spans."""
        table = self.table(EVENTS)
        found: set[str] = set()
        for start, end in spans_us:
            between = f"event_time >= '{iso(start)}' and event_time < '{iso(end)}'"
            tasks = table.scan(row_filter=between, snapshot_id=snapshot).plan_files()
            found.update(task.file.file_path.removeprefix("file://") for task in tasks)
        return sorted(found)

    def _all_days(self, table: IcebergTable) -> dict[str, set[date]]:
        paths = [t.file.file_path.removeprefix("file://") for t in table.scan().plan_files()]
        if not paths:
            return {}
        day = pl.col("event_time").dt.date().alias("day")
        # Files may be older than a column.
        files = pl.scan_parquet(paths, missing_columns="insert", extra_columns="ignore")
        found = files.select("project", day).unique().collect()
        touched: dict[str, set[date]] = {}
        for project, one in found.iter_rows():
            touched.setdefault(project, set()).add(one)
        return touched

    def _without(self, spec: Table, added: Added, held: Positions) -> tuple[str, ...]:
        """The files of `added`; rewritten if a redelivery brought blocks that are held already."""
        if not held.overlaps(added.positions):
            return added.files
        rows = pl.concat([pl.read_parquet(f.removeprefix("file://")) for f in added.files])
        times = [f.name for f in load(spec.record).fields if f.kind == "timestamp"]
        blocks = rows.select("producer", "seq").unique()
        new = blocks.filter([not held.holds(p, seq) for p, seq in blocks.iter_rows()])
        kept = rows.join(new, on=["producer", "seq"], how="semi")
        return self.write_files(spec, kept.with_columns(pl.col(times).dt.timestamp("us")))

    def _make_catalogue(self) -> None:
        """Whole or not at all: other processes look for it, or make one, at any moment."""
        Path(self.directory).mkdir(parents=True, exist_ok=True)
        name = f".{uuid.uuid4().hex}.db"
        made = self._catalogue(name)
        made.create_namespace(NAMESPACE)
        made.close()
        with suppress(FileExistsError):
            os.link(Path(self.directory, name), Path(self.directory, CATALOG_FILE))
        Path(self.directory, name).unlink()

    def _catalogue(self, file: str) -> SqlCatalog:
        return SqlCatalog(
            NAMESPACE,
            uri=f"sqlite:///{self.directory}/{file}",
            warehouse=f"file://{self.directory}",
        )

    def _create(self, spec: Table) -> IcebergTable:
        """With its partitions at once: between two commits another process would write without."""
        schema = derive.arrow(load(spec.record))
        with (
            suppress(TableAlreadyExistsError, CommitFailedException),  # somebody was first
            self._catalog.create_table_transaction(
                spec.identifier, schema=schema, properties=_PROPERTIES
            ) as made,
            made.update_spec() as update,
        ):
            if spec.replaced is not None:
                update.add_field("project", IdentityTransform(), "project")
            if spec.replaced == "month":
                update.add_field(spec.day_of, MonthTransform(), "month")
            elif spec.replaced == "day":
                update.add_field(spec.day_of, DayTransform(), "start_day")
            elif spec.replaced is None:
                update.add_field(spec.day_of, DayTransform(), "day")
        return self._catalog.load_table(spec.identifier)

    def _widened(self, spec: Table, wanted: pa.Schema) -> IcebergTable:
        """An older version made the table: give it the columns that have come since.

        Files stay as they are; readers see null for what a file has no column for. New columns
        are nullable in the table even where the writer always fills them.
        """
        for attempt in range(_COMMIT_TRIES):
            table = self._catalog.load_table(spec.identifier)
            new = [f for f in wanted if f.name not in table.schema().column_names]
            if not new:  # another process was faster
                break
            try:
                with table.update_schema() as update:
                    update.union_by_name(pa.schema([f.with_nullable(True) for f in new]))
            except CommitFailedException:
                if attempt == _COMMIT_TRIES - 1:
                    raise
                time.sleep(0.05 * (attempt + 1))
        return table

    def commit(self, spec: Table, commit: Callable[[IcebergTable], None]) -> None:
        """Several processes commit to one warehouse: the loser looks again and repeats."""
        for attempt in range(_COMMIT_TRIES):
            try:
                commit(self.table(spec))
            except CommitFailedException:
                if attempt == _COMMIT_TRIES - 1:
                    raise
                time.sleep(0.05 * (attempt + 1))
            else:
                return


def summary(table: IcebergTable) -> dict[str, str]:
    """The properties of the newest snapshot."""
    snapshot = table.current_snapshot()
    return dict(snapshot.summary.additional_properties) if snapshot and snapshot.summary else {}


def carried(table: IcebergTable) -> dict[str, str]:
    """Properties that every commit hands on to the next: all of ours but what a single one says."""
    return {k: v for k, v in summary(table).items() if k.startswith(OURS) and k != TOUCHED}


def _cast(frame: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    """Wire types (times as longs) to the table's Arrow types."""
    return frame.select(schema.names).to_arrow().cast(schema)


def iso(instant_us: int) -> str:
    """An instant as Iceberg's filters want it."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=instant_us)).isoformat()
