"""The SQL box and BigQuery's emulator side by side: the same rows in both, answers compared."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from google.cloud import bigquery as google

from reports.warehouse.engine import Warehouse
from reports.warehouse.shown import tables
from tests.bigquery_emulator import DATASET, PROJECT

_ARROW: dict[str, pa.DataType] = {
    "STRING": pa.string(),
    "INT64": pa.int64(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
    "BYTES": pa.binary(),
    "ARRAY<STRING>": pa.list_(pa.string()),
}


def put(client: google.Client, name: str, file: io.BytesIO, columns: Sequence[Any]) -> None:
    """Load a Parquet file under the name that the SQL box has for the table."""
    config = google.LoadJobConfig(
        source_format=google.SourceFormat.PARQUET,
        schema=[google.SchemaField.from_api_repr(one) for one in columns],
    )
    job = client.load_table_from_file(file, f"{PROJECT}.{DATASET}.{name}", job_config=config)
    job.result(timeout=120)


def copy(box: Warehouse, client: google.Client, name: str) -> int:
    """Rows of a table of the box, loaded under the same name; how many."""
    kinds = {column.name: column.kind for column in tables()[name]}
    found = box.ask("demo", f"SELECT {', '.join(kinds)} FROM {name}")
    assert not found.truncated
    schema = pa.schema([(column, _ARROW[kind]) for column, kind in kinds.items()])
    rows = [dict(zip(kinds, row, strict=True)) for row in found.rows]
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema), file)
    file.seek(0)
    put(client, name, file, [_field(column, kind) for column, kind in kinds.items()])
    return len(rows)


def _field(name: str, kind: str) -> dict[str, str]:
    if kind.startswith("ARRAY<"):
        return {"name": name, "type": kind[6:-1], "mode": "REPEATED"}
    return {"name": name, "type": kind}


def of_bigquery(
    client: google.Client, sql: str, given: Mapping[str, Any] | None = None
) -> list[tuple[Any, ...]]:
    kinds = {int: "INT64", str: "STRING", datetime: "TIMESTAMP"}
    parameters = [
        google.ArrayQueryParameter(name, kinds[type(value[0])], value)
        if isinstance(value, list)
        else google.ScalarQueryParameter(name, kinds[type(value)], value)
        for name, value in (given or {}).items()
    ]
    config = google.QueryJobConfig(
        default_dataset=f"{PROJECT}.{DATASET}", query_parameters=parameters
    )
    return [tuple(row.values()) for row in client.query(sql, job_config=config).result(timeout=60)]


def agree(
    box: Warehouse, client: google.Client, sql: str, given: Mapping[str, Any] | None = None
) -> None:
    """Both give the same rows, in the same order where the query asks for one."""
    ours = box.ask("demo", sql, dict(given or {})).rows
    theirs = of_bigquery(client, sql, given)
    assert ours
    if "ORDER BY" not in sql.rpartition(")")[2]:
        ours, theirs = sorted_rows(ours), sorted_rows(theirs)
    same_rows(ours, theirs)


def same_rows(ours: Sequence[tuple[Any, ...]], theirs: Sequence[tuple[Any, ...]]) -> None:
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert alike(mine, other), (mine, other)


def alike(one: Any, other: Any) -> bool:
    """Equal; numbers within 1e-9, whatever their types."""
    numbers = (int, float, Decimal)
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, numbers) and isinstance(other, numbers):
        return math.isclose(float(one), float(other), rel_tol=1e-9, abs_tol=1e-9)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other)


def sorted_rows(found: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(found, key=lambda row: list(map(_key, row)))


def _key(value: Any) -> str:
    """The same for numbers of whatever type."""
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    return f"{float(value):.9g}" if is_number else str(value)
