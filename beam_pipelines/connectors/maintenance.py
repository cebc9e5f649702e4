"""Upkeep of the warehouse's files: rewrite some, forget old snapshots, remove what nobody needs.

Every change of a table is one commit that puts new files in the place of old ones. A crash before
it leaves the old files; whatever was written by then is unreferenced and swept later.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import parquet_files_to_data_files
from pyiceberg.table import Table as IcebergTable

from beam_pipelines.connectors.warehouse import Warehouse, carried
from beam_pipelines.work import work_directory
from schemas_avro import derive, load
from schemas_avro.tables import MARK, RETIRED, TOUCHED, Table
from transforms.positions import Positions
from transforms.retired import Retired
from transforms.settled import COPIES, KNOWN, ONCE, Mark, kind_of, suffix

SMALL_BYTES = 64 << 20  # a file below this is worth merging
TARGET_BYTES = 128 << 20  # a file is ended at this size, if what remains makes another
ROW_GROUP_ROWS = 1 << 17
ROW_GROUP_BYTES = 64 << 20  # in memory
BATCH_ROWS = 1 << 12
# Measured on events of 500 bytes: 9 is 8 % smaller than 3 at half the speed of writing; what is
# written here is read for years.
_PARQUET: dict[str, Any] = {"compression": "zstd", "compression_level": 9}
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class DataFile:
    """One file of a table. `day`: the UTC day that all its rows are of."""

    path: str
    day: date
    bytes: int
    rows: int

    @property
    def holds_copies(self) -> bool:
        """Does it hold nothing but rows that do not count?"""
        return kind_of(self.path) == COPIES


@dataclass(frozen=True)
class Rewritten:
    """What a rewrite wrote.

    doubled: rows left out because the same row was there already, by project
    """

    files: tuple[str, ...]
    rows: int
    doubled: Mapping[str, int]


class SupersededError(RuntimeError):
    """Files to be replaced are no longer in the table: another process replaced them first."""


def files_by_day(warehouse: Warehouse, spec: Table) -> dict[date, list[DataFile]]:
    """The files of a table that is partitioned by day, oldest day first, by path within a day."""
    found: dict[date, list[DataFile]] = {}
    for task in warehouse.table(spec).scan().plan_files():
        file = task.file
        day = _EPOCH + timedelta(days=int(file.partition[len(file.partition) - 1]))
        one = DataFile(file.file_path, day, file.file_size_in_bytes, file.record_count)
        found.setdefault(day, []).append(one)
    return {day: sorted(found[day], key=lambda f: f.path) for day in sorted(found)}


def swap(
    warehouse: Warehouse,
    spec: Table,
    old: Sequence[str],
    new: Sequence[str],
    *,
    touched: str = "{}",
    retired: Retired | None = None,
) -> None:
    """Put the files `new` in the place of `old`, in one commit that says what it retired.

    The blocks held and all else that snapshots hand on stay. `touched`: days to compute anew, as
    in TOUCHED; none for a change of layout only. Raises SupersededError, with nothing changed.
    """

    def commit(table: IcebergTable) -> None:
        current = {task.file.file_path: task.file for task in table.scan().plan_files()}
        if gone := [path for path in old if path not in current]:
            raise SupersededError(f"{len(gone)} of {len(old)} files, such as {gone[0]}")
        properties = {**carried(table), TOUCHED: touched}
        if retired is not None:
            before = Retired.from_json(properties.get(RETIRED, "{}"))
            properties[RETIRED] = (before + retired).to_json()
        with (
            table.transaction() as transaction,
            transaction.update_snapshot(properties).overwrite() as snapshot,
        ):
            for path in old:
                snapshot.delete_data_file(current[path])
            added = parquet_files_to_data_files(table.io, table.metadata, iter(new))
            for file in added:
                snapshot.append_data_file(file)

    warehouse.commit(spec, commit)


def rewrite(
    warehouse: Warehouse,
    spec: Table,
    files: Sequence[DataFile],
    *,
    without: Sequence[str] = (),
    repeats: pl.DataFrame | None = None,
    memory_mb: int = 512,
    progress: Callable[[int], None] = lambda rows: None,
) -> Rewritten:
    """Rows of `files` (of one day) in new files, sorted by type and time; not yet in the table.

    without:  projects whose rows are left out
    repeats:  places of copies, as in KNOWN: these rows are written apart, and files tell so, as in
              `transforms.settled`; None where nobody has looked for copies yet
    progress: called with the rows read so far

    A row that is there twice, by its id, producer, seq and row, is written once. DuckDB sorts
    within `memory_mb` and beyond it on disk beside the table; row groups are written as they come.
    """
    record = load(spec.record)
    schema = derive.arrow(record)
    lineage = [record.field_names[0], "producer", "seq", "row"]
    order = [*(c for c in ("type", spec.day_of) if c in schema.names), *lineage]
    # A file of an earlier version lacks the columns that came later: they are read as null.
    query = f"""
        SELECT {", ".join(schema.names)}, EXISTS (
            SELECT 1 FROM repeats AS r WHERE r.project = rows.project
                AND r.producer = rows.producer AND r.seq = rows.seq AND r.row = rows.row
        ) AS _copy FROM (
            SELECT * FROM read_parquet($files, union_by_name = true, hive_partitioning = false)
            UNION ALL BY NAME ({derive.duckdb_empty(record)})
        ) AS rows WHERE NOT list_contains($without::VARCHAR[], project) ORDER BY {", ".join(order)}
    """
    given = {"files": [local(f.path) for f in files], "without": list(without)}
    known = pl.DataFrame(schema=KNOWN) if repeats is None else repeats
    expected = sum(f.rows for f in files)

    def writing(kind: str) -> _Writer:
        ending = "" if repeats is None else suffix(kind)
        directory = Path(warehouse.directory, *spec.identifier, "data")
        return _Writer(directory, files[0].day, ending, schema, expected, repeats)

    once = _Once(lineage)
    settings = {"memory_limit": f"{memory_mb}MB", "threads": "2"}
    with (
        work_directory(warehouse.directory) as scratch,
        duckdb.connect(config={**settings, "temp_directory": scratch}) as database,
        writing(ONCE) as counted,
        writing(COPIES) as copies,
    ):
        database.register("repeats", known.to_arrow())
        for batch in database.sql(query, params=given).to_arrow_reader(BATCH_ROWS):
            rows = once(batch)
            copy, rows = rows["_copy"], rows.drop_columns("_copy")
            counted.write(rows.filter(pc.invert(copy)))
            copies.write(rows.filter(copy))
            progress(once.seen)
    written = (*counted.files, *copies.files)
    return Rewritten(written, once.seen - sum(once.doubled.values()), once.doubled)


def local(path: str) -> str:
    """The path in the file system of a file that a table names."""
    return path.removeprefix("file://")


class _Once:
    """Leaves out rows of a sorted stream that equal the row before them in all of `key`."""

    def __init__(self, key: list[str]) -> None:
        self._key = key
        self._last: pl.DataFrame | None = None
        self.seen = 0
        self.doubled: dict[str, int] = {}

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = pl.DataFrame(batch.select(self._key))
        before = rows.head(0) if self._last is None else self._last
        keys = pl.concat([before, rows])
        same = pl.all_horizontal(pl.all().eq_missing(pl.all().shift(1)))
        first = pl.int_range(pl.len()) == 0
        double = keys.select((same & ~first).alias("double"))["double"].tail(rows.height)
        self._last, self.seen = rows.tail(1), self.seen + rows.height
        if not double.any():
            return batch
        for project in pl.Series(batch["project"]).filter(double):
            self.doubled[project] = self.doubled.get(project, 0) + 1
        return batch.filter((~double).to_arrow())


class _Writer:
    """Batches -> Parquet files between SMALL_BYTES and about twice that, but for a day's only one.

    ending:   of the files' names
    expected: rows to come at most, which tells whether what remains makes a file of its own
    repeats:  as for `rewrite`, for the files' marks
    """

    def __init__(
        self, directory: Path, day: date, ending: str, schema: pa.Schema, expected: int,
        repeats: pl.DataFrame | None,
    ) -> None:  # fmt: skip
        self._directory, self._day, self._schema = directory, day, schema
        self._ending = ending
        self._expected, self._repeats = expected, repeats
        self._blocks: set[tuple[str, int]] = set()  # of the file
        self._batches: list[pa.RecordBatch] = []
        self._bytes = 0
        self._file: tuple[Path, Any, pq.ParquetWriter] | None = None
        self._written = 0  # rows, to all files
        self._in_file = 0
        self._paths: list[Path] = []

    @property
    def files(self) -> tuple[str, ...]:
        """What was written, as a table names it."""
        return tuple(f"file://{path}" for path in self._paths)

    def __enter__(self) -> _Writer:
        self._directory.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._flush()
        self._end()
        if kind is not None:
            for path in self._paths:
                path.unlink(missing_ok=True)

    def write(self, batch: pa.RecordBatch) -> None:
        """Append; a row group is written when enough has come."""
        self._batches.append(batch)
        self._bytes += batch.nbytes
        rows = sum(b.num_rows for b in self._batches)
        if rows >= ROW_GROUP_ROWS or self._bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        group = pa.Table.from_batches(self._batches) if self._batches else None
        self._batches, self._bytes = [], 0
        if group is None or not group.num_rows:
            return
        if self._file is None:
            name = f"{self._day.isoformat()}-{uuid.uuid4().hex}{self._ending}.parquet"
            path = self._directory / name
            self._paths.append(path)
            sink = path.open("wb")
            self._file = (path, sink, pq.ParquetWriter(sink, self._schema, **_PARQUET))
        _, sink, writer = self._file
        blocks = pl.DataFrame(group.select(["producer", "seq"])).unique().drop_nulls()
        self._blocks.update(blocks.iter_rows())
        writer.write_table(group.cast(self._schema), row_group_size=group.num_rows)
        self._written += group.num_rows
        self._in_file += group.num_rows
        size = sink.tell()
        remaining = (self._expected - self._written) * size / self._in_file
        if size >= TARGET_BYTES and remaining >= SMALL_BYTES:
            self._end()

    def _end(self) -> None:
        if self._file is None:
            return
        _, sink, writer = self._file
        if self._repeats is not None:
            blocks = Positions.of((producer, seq, seq) for producer, seq in self._blocks)
            writer.add_key_value_metadata({MARK: Mark.of(blocks, self._repeats).to_json()})
        writer.close()
        sink.flush()
        os.fsync(sink.fileno())
        sink.close()
        self._file, self._in_file, self._blocks = None, 0, set()
