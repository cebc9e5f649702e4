"""What is derived from the records is accepted by the systems it is for, and agrees."""

from __future__ import annotations

import sqlite3

import duckdb
import fastavro
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas_avro import derive, load, names
from schemas_avro.tables import LIVE_KEY, TABLES
from tests.schemas_avro.strategies import frames

# https://cloud.google.com/bigquery/docs/schemas: names of standard SQL types, and modes.
BIGQUERY_TYPES = {"STRING", "INT64", "BYTES", "TIMESTAMP", "DATE", "JSON"}
UNITLESS = {"schema_version"}
records = pytest.mark.parametrize("record", list(map(load, names())), ids=lambda r: r.name)


def test_all_records_are_found():
    assert set(names()) == {
        *("block", "daily_aggregate", "dead_letter", "event", "identity", "identity_edge"),
        *("ledger", "live_value", "parity", "period_aggregate", "repeat", "replay", "session"),
    }
    assert load("event") is load("event")
    with pytest.raises(FileNotFoundError):
        load("no_such_record")


@records
class TestRecord:
    def test_it_is_avro_and_evolves(self, record):
        fastavro.parse_schema(dict(record.avro))
        for spec in record.avro["fields"]:
            assert spec["type"][0] == "null", spec  # so that a reader fills what was not written
            assert spec["default"] is None, spec

    def test_every_field_is_described_and_quantities_have_a_unit(self, record):
        for field in record.fields:
            assert field.doc.endswith("."), field.name
            if field.kind in {"long", "int", "timestamp", "date"} and field.name not in UNITLESS:
                assert field.unit, field.name

    def test_duckdb_takes_it(self, record):
        with duckdb.connect() as database:
            database.execute(derive.duckdb_ddl(record, "t"))
            made = {row[0]: row for row in database.execute("DESCRIBE t").fetchall()}
        assert list(made) == list(record.field_names)
        for field in record.fields:
            assert (made[field.name][2] == "NO") == field.required
            assert (made[field.name][1] == "JSON") == field.json

    def test_duckdb_takes_the_arrow_form_of_the_same(self, record):
        empty = derive.arrow(record).empty_table()
        with duckdb.connect() as database:
            database.execute(derive.duckdb_ddl(record, "t"))
            database.register("source", empty)
            database.execute("INSERT INTO t SELECT * FROM source")

    def test_sqlite_takes_it(self, record):
        key = record.field_names[:2]
        ddl = derive.sqlite_ddl(record, "t", key)
        with sqlite3.connect(":memory:") as database:
            database.execute(ddl)
            database.execute(ddl)  # a second time changes nothing
            made = database.execute("PRAGMA table_info(t)").fetchall()
        database.close()
        assert [row[1] for row in made] == list(record.field_names)
        assert [bool(row[3]) for row in made] == [field.required for field in record.fields]
        assert [row[1] for row in sorted(made, key=lambda r: r[5]) if row[5]] == list(key)

    def test_bigquery_types_and_modes(self, record):
        columns = derive.bigquery(record)
        assert [c["name"] for c in columns] == list(record.field_names)
        assert {c["type"] for c in columns} <= BIGQUERY_TYPES
        for field, column in zip(record.fields, columns, strict=True):
            assert column["mode"] == ("REQUIRED" if field.required else "NULLABLE")
            assert column["description"] == field.doc
            assert len(field.doc) <= 1024  # BigQuery's limit

    def test_arrow_agrees(self, record):
        schema = derive.arrow(record)
        assert schema.names == list(record.field_names)
        for field in record.fields:
            column = schema.field(field.name)
            assert column.nullable != field.required
            assert column.metadata == {b"doc": field.doc.encode()}
            assert pa.types.is_timestamp(column.type) == (field.kind == "timestamp")


def test_tables_name_records_and_columns_that_are_there():
    for table in TABLES:
        field = load(table.record)[table.day_of]
        assert field.kind in {"timestamp", "date"}
        assert field.required
    assert all(load("live_value")[name].required for name in LIVE_KEY)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_rows_of_the_wire_come_back_from_sqlite(data):
    record = load("dead_letter")
    rows = data.draw(frames(record))
    names, marks = ", ".join(rows.columns), ", ".join("?" * rows.width)
    database = sqlite3.connect(":memory:")
    database.execute(derive.sqlite_ddl(record, "t", ()).replace(" NOT NULL", ""))
    database.executemany(f"INSERT INTO t ({names}) VALUES ({marks})", rows.rows())
    read = database.execute(f"SELECT {names} FROM t").fetchall()
    database.close()
    assert read == rows.rows()
