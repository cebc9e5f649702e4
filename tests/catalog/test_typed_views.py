"""Typed views run on real files: versions together, wrong types, odd names; two dialects agree."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot

from beam_pipelines.connectors.warehouse import Warehouse
from catalog.schemas import SchemaRegistry
from catalog.store import Catalog
from catalog.typed_views import typed_views
from schemas_avro.tables import EVENTS
from tests.beam_pipelines.test_rollup import archive
from tests.streams import NOON, event, frame_of
from transforms.event_schema import read
from transforms.typed_views import Dialect, typed_view, view_name

AT = datetime(2026, 9, 21, 12, 30, tzinfo=UTC)


def record(*fields: dict[str, Any], name: str = "Bought") -> str:
    event_of = {"type": "track", "name": name}
    return json.dumps({"type": "record", "name": "E", "event": event_of, "fields": list(fields)})


def maybe(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": ["null", kind], "default": None, **more}


FIRST = (maybe("amount", "int"), maybe("coupon", "string"))
SECOND = (
    maybe("amount", "long"),
    maybe("at", {"type": "long", "logicalType": "timestamp-millis"}),
    maybe("day", {"type": "int", "logicalType": "date"}),
    maybe("gift", "boolean"),
    maybe("price", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}),
    maybe("items", {"type": "array", "items": "string"}),
    maybe("weight", "double"),
    maybe("name", "string"),
    maybe("url", "string", property="$it's a url/~x"),
)


@pytest.fixture
def registry(tmp_path: Path) -> SchemaRegistry:
    catalog = Catalog(f"sqlite:///{tmp_path}/catalog.db")
    catalog.migrate()
    catalog.add_project("demo")
    made = SchemaRegistry(catalog)
    made.register("demo", record(*FIRST))
    made.register("demo", record(*SECOND), compatibility="NONE")
    return made


def stored(directory: Path, *properties: Any, name: str = "Bought") -> None:
    rows = [
        event(f"e{n}", NOON + n, name=name, properties=json.dumps(one) if one != "" else None)
        for n, one in enumerate(properties)
    ]
    archive(directory, [frame_of(rows)])


def asked(directory: Path, view: str, dialect: Dialect) -> list[dict[str, Any]]:
    """Rows of the view, BigQuery's SQL by way of sqlglot."""
    files = Warehouse(f"{directory}/archive").table(EVENTS).scan().plan_files()
    paths = [task.file.file_path.removeprefix("file://") for task in files]
    engine = duckdb.connect()
    # Of our own SQL the zone must not matter; sqlglot's takes instants without one for local.
    engine.execute(f"SET TimeZone = '{'America/New_York' if dialect == 'duckdb' else 'UTC'}'")
    engine.execute(f"CREATE VIEW events AS SELECT * FROM read_parquet({paths})")
    sql = view if dialect == "duckdb" else sqlglot.transpile(view, "bigquery", "duckdb")[0]
    return sorted(engine.sql(sql).df().to_dict("records"), key=lambda r: str(r["event_id"]))


@pytest.mark.parametrize("dialect", ["duckdb", "bigquery"])
def test_versions_are_read_together_with_the_newest_types(
    tmp_path: Path, registry: SchemaRegistry, dialect: Dialect
) -> None:
    stored(
        tmp_path,
        {"amount": 3, "coupon": "X"},
        {"amount": 1 << 40, "at": "2026-09-21T14:30:00+02:00", "day": "2026-09-21", "gift": True,
         "price": "12.34", "items": ["a"], "weight": 1.5, "name": "n", "$it's a url/~x": "u"},
        {"at": int(AT.timestamp() * 1000), "day": 20_717, "gift": False, "price": 0.5},
        {"at": "2026-09-21T12:30:00", "amount": 1.5, "gift": "yes", "day": "soon", "price": "x"},
        {"amount": None}, {}, "",
    )  # fmt: skip
    views = typed_views(registry, "demo", dialect=dialect)
    assert list(views) == ["track_bought"]
    rows = asked(tmp_path, views["track_bought"], dialect)

    def column(name: str) -> list[Any]:
        return [None if row[name] != row[name] else row[name] for row in rows]

    def none(values: list[Any], to: Any) -> list[Any]:
        return [None if str(v) in ("NaT", "nan", "<NA>", "None") else to(v) for v in values]

    rest = [None] * 3
    assert none(column("amount"), int) == [3, 1 << 40, None, None, *rest]
    assert none(column("coupon"), str) == ["X", None, None, None, *rest]  # no longer named: kept
    assert none(column("at"), lambda v: v.astimezone(UTC)) == [None, AT, AT, AT, *rest]
    days = [None, date(2026, 9, 21), date(2026, 9, 21), None, *rest]
    assert none(column("day"), lambda v: v.date()) == days
    assert none(column("gift"), bool) == [None, True, False, None, *rest]
    prices = none(column("price"), lambda v: Decimal(str(v)))
    assert prices == [None, Decimal("12.34"), Decimal("0.5"), None, *rest]
    assert none(column("items"), json.loads) == [None, ["a"], None, None, *rest]
    assert none(column("weight"), float) == [None, 1.5, None, None, *rest]
    assert none(column("url"), str) == [None, "u", None, None, *rest]
    # A property that is called like a column of every event stands beside it.
    assert column("name") == ["Bought"] * 7
    assert none(column("property_name"), str) == [None, "n", None, None, *rest]


def test_a_schema_of_a_type_takes_the_events_without_their_own(
    tmp_path: Path, registry: SchemaRegistry
) -> None:
    page = json.dumps({"type": "record", "name": "P", "fields": [maybe("seen", "int")]})
    registry.register("demo", page, kind="page", name="")
    registry.register("demo", page, kind="page", name="home's")
    registry.register("demo", record(name="bought!"))
    views = typed_views(registry, "demo", dialect="duckdb")
    assert list(views) == ["every_page", "page_home_s", "track_bought", "track_bought_2"]
    rows = [event(str(n), NOON, type="page", name=name) for n, name in enumerate(
        ["home's", "other", None])]  # fmt: skip
    archive(tmp_path, [frame_of(rows)])
    assert [r["event_id"] for r in asked(tmp_path, views["every_page"], "duckdb")] == ["1", "2"]
    assert [r["event_id"] for r in asked(tmp_path, views["page_home_s"], "duckdb")] == ["0"]


@pytest.mark.parametrize("dialect", ["duckdb", "bigquery"])
def test_names_cannot_break_out(tmp_path: Path, dialect: Dialect) -> None:
    hostile = "x' OR 1=1 --\\'; DROP TABLE events;\n"
    prop = "a' OR 1=1 --`"  # a schema lets no quotation mark or backslash into a property's name
    schema = read(record(maybe("a", "string", property=prop), name=hostile))
    sql = typed_view([schema], "track", hostile, dialect=dialect)
    (statement,) = sqlglot.parse(sql, dialect=dialect)
    assert isinstance(statement, sqlglot.exp.Select)
    stored(tmp_path, {prop: "found"}, name=hostile)
    if dialect == "duckdb":
        assert [row["a"] for row in asked(tmp_path, sql, dialect)] == ["found"]


def test_names_of_views() -> None:
    assert view_name("track", "Order Completed") == "track_order_completed"
    assert view_name("track", "注文") == "track_event"
    assert view_name("page", "") == "every_page"
