"""Tables that are computed from `events`: rows replaced whole, with a mark of how far they go.

A mark is a snapshot property that names the snapshot of `events` that rows were computed from.
Rows and mark change in one commit: who crashes before it has changed nothing.
"""

from __future__ import annotations

import os
import uuid
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.table import Table as IcebergTable

from beam_pipelines.connectors.warehouse import Warehouse, carried, summary
from schemas_avro import derive, load
from schemas_avro.tables import BASED_ON, EVENTS, NAMESPACE, Table
from transforms.repeats import IS_WHOLE_ORDER

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Span = tuple[int, int]  # [start, end) in us


@dataclass(frozen=True, slots=True)
class Part:
    """A file of `events` and the number of its rows."""

    path: str
    rows: int


def mark_of(kind: str) -> str:
    """Name of the property; `kind` is a grain, or nothing where a table has one mark."""
    return f"{BASED_ON}.{kind}" if kind else BASED_ON


def computed_from(warehouse: Warehouse, spec: Table, kind: str = "") -> int | None:
    """The snapshot of `events` that the rows were last computed from; None: never."""
    found = summary(warehouse.table(spec)).get(mark_of(kind))
    return int(found) if found else None


def snapshot_time_us(warehouse: Warehouse, snapshot: int) -> int:
    """When a snapshot of `events` was committed."""
    found = warehouse.table(EVENTS).snapshot_by_id(snapshot)
    return found.timestamp_ms * 1000 if found else 0


def parts(
    warehouse: Warehouse, snapshot: int, spans: Iterable[Span] | None, *, needs: str = ""
) -> list[Part]:
    """Files of `events` at a snapshot that may hold event times within spans (None: any).

    needs: a column that must have a value somewhere in the file
    """
    table = warehouse.table(EVENTS)
    found: dict[str, int] = {}
    filled = f" and {needs} is not null" if needs else ""
    for between in ["project != ''"] if spans is None else map(_between, spans):
        scan = table.scan(row_filter=between + filled, snapshot_id=snapshot)
        for task in scan.plan_files():
            found[task.file.file_path.removeprefix("file://")] = task.file.record_count
    return [Part(path, rows) for path, rows in sorted(found.items())]


def _between(span: Span) -> str:
    start, end = ((_EPOCH + timedelta(microseconds=us)).isoformat() for us in span)
    return f"event_time >= '{start}' and event_time < '{end}'"


def write_rows(warehouse: Warehouse, spec: Table, rows: pl.DataFrame) -> tuple[str, ...]:
    """Parquet files of `rows` (wire types), sorted as they are, one per partition of the table.

    They are no part of the table yet. Equal rows give equal bytes.
    """
    schema = derive.arrow(load(spec.record))
    directory = Path(warehouse.directory, NAMESPACE, spec.name, "data")
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for part in rows.with_columns(_partition(spec)).partition_by(
        "project", "_partition", maintain_order=True
    ):
        path = directory / f"{uuid.uuid4().hex}.parquet"
        table: pa.Table = part.select(schema.names).to_arrow().cast(schema)
        pq.write_table(table, path, compression="zstd", row_group_size=1 << 17)
        with path.open("rb") as file:
            os.fsync(file.fileno())
        written.append(f"file://{path}")
    return tuple(written)


def _partition(spec: Table) -> pl.Expr:
    match spec.replaced:
        case "month":
            found = pl.col(spec.day_of).dt.truncate("1mo")
        case "day":
            found = pl.col(spec.day_of)
        case _:
            found = pl.lit(0)
    return found.alias("_partition")


def replace_rows(
    warehouse: Warehouse, spec: Table, files: Sequence[str], where: str, marks: Mapping[str, int]
) -> None:
    """Put files in the place of all rows `where` (Iceberg's filter) and set marks, at once."""

    def commit(table: IcebergTable) -> None:
        said = {**carried(table), **{mark_of(kind): str(at) for kind, at in marks.items()}}
        with warnings.catch_warnings(), table.transaction() as change:
            # What is computed for the first time has nothing to replace.
            warnings.filterwarnings("ignore", "Delete operation did not match any records")
            change.delete(where, snapshot_properties=said)
            change.add_files(list(files), snapshot_properties=said, check_duplicate_files=False)

    warehouse.commit(spec, commit)


def days_filter(wanted: Iterable[tuple[str, date]], also: str = "") -> str:
    """Iceberg's filter for rows whose (project, day) is wanted; none where no day is."""
    by_project: dict[str, list[str]] = {}
    for project, day in sorted(wanted):
        by_project.setdefault(project, []).append(f"'{day}'")
    listed = [
        f"(project = '{project}'{also} and day in ({', '.join(days)}))"
        for project, days in by_project.items()
    ]
    return " or ".join(listed) or "project = ''"


def order_times(paths: Sequence[str], spans: Mapping[str, Iterable[Span]]) -> pl.LazyFrame:
    """project, order_id and event_time (us) of whole orders in files of `events`, within spans."""
    columns = ("project", "name", "order_id", "event_time", "revenue_minor")
    files = pl.scan_parquet(list(paths), missing_columns="insert", extra_columns="ignore")
    rows = files.select(columns).with_columns(pl.col("event_time").dt.timestamp("us"))
    wanted = pl.any_horizontal(
        (pl.col("project") == project) & pl.col("event_time").is_between(start, end, closed="left")
        for project, ranges in spans.items()
        for start, end in ranges
    )
    return rows.filter(IS_WHOLE_ORDER & wanted).select("project", "order_id", "event_time")
