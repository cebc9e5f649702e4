"""Table schemas of other systems, derived from the Avro records: nothing is written twice."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pyarrow as pa

from schemas_avro.record import Field, Record

_ARROW = {
    "string": pa.string(),
    "long": pa.int64(),
    "int": pa.int32(),
    "bytes": pa.binary(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "date": pa.date32(),
}
# On the wire a timestamp is a plain long: polars' Avro writer has no timestamp type.
_WIRE: dict[str, pl.DataType] = {
    "string": pl.String(),
    "long": pl.Int64(),
    "int": pl.Int32(),
    "bytes": pl.Binary(),
    "timestamp": pl.Int64(),
    "date": pl.Date(),
}
_BIGQUERY = {
    "string": "STRING",
    "long": "INT64",
    "int": "INT64",
    "bytes": "BYTES",
    "timestamp": "TIMESTAMP",
    "date": "DATE",
}
_DUCKDB = {
    "string": "VARCHAR",
    "long": "BIGINT",
    "int": "INTEGER",
    "bytes": "BLOB",
    "timestamp": "TIMESTAMPTZ",
    "date": "DATE",
}
_SQLITE = {
    "string": "TEXT",
    "long": "INTEGER",
    "int": "INTEGER",
    "bytes": "BLOB",
    "timestamp": "INTEGER",
    "date": "INTEGER",
}


def arrow(record: Record) -> pa.Schema:
    """Arrow schema; required fields are not nullable, docs go into the field metadata."""
    return pa.schema(
        [
            pa.field(f.name, _ARROW[f.kind], nullable=not f.required, metadata={"doc": f.doc})
            for f in record.fields
        ]
    )


def wire(record: Record) -> dict[str, pl.DataType]:
    """Column types of a block's rows as polars sees them: times are int64 microseconds UTC."""
    return {f.name: _WIRE[f.kind] for f in record.fields}


def bigquery(record: Record, *, json_columns: bool = True) -> list[dict[str, str]]:
    """BigQuery table schema in its JSON form; JSON text becomes a JSON column.

    Without `json_columns` it stays text: Parquet load jobs take no JSON column, and neither can
    one be clustered by or partitioned over.
    """
    return [
        {
            "name": f.name,
            "type": "JSON" if f.json and json_columns else _BIGQUERY[f.kind],
            "mode": "REQUIRED" if f.required else "NULLABLE",
            "description": f.doc,
        }
        for f in record.fields
    ]


def duckdb_ddl(record: Record, table: str) -> str:
    """`CREATE TABLE` for DuckDB."""
    return _ddl(record, table, lambda f: "JSON" if f.json else _DUCKDB[f.kind], ())


def duckdb_empty(record: Record) -> str:
    """A query without rows that has the record's columns in DuckDB's types."""
    columns = ", ".join(f"NULL::{_DUCKDB[f.kind]} AS {f.name}" for f in record.fields)
    return f"SELECT {columns} WHERE false"


def sqlite_ddl(record: Record, table: str, key: tuple[str, ...]) -> str:
    """`CREATE TABLE IF NOT EXISTS` for SQLite with `key` as primary key; times are int64 us."""
    ddl = _ddl(record, table, lambda f: _SQLITE[f.kind], key)
    return ddl.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1)


def _ddl(record: Record, table: str, sql_type: Callable[[Field], str], key: tuple[str, ...]) -> str:
    lines = [f"  {f.name} {sql_type(f)}{' NOT NULL' if f.required else ''}" for f in record.fields]
    if key:
        lines.append(f"  PRIMARY KEY ({', '.join(key)})")
    return f"CREATE TABLE {table} (\n" + ",\n".join(lines) + "\n)"
