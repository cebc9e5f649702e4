"""What SQL can read besides the tables: people, and a view for each registered schema."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from catalog.schemas import SchemaRegistry
from catalog.store import Catalog
from reports.warehouse.engine import QueryFailed, Warehouse
from tests.beam_pipelines.test_identity import run as identify
from tests.beam_pipelines.test_rollup import archive, in_blocks
from tests.brute import first_copies
from tests.reports import world
from tests.streams import NOON, event, frame_of, order

KEYS = ("person", "user_ids", "anonymous_ids", "first_seen", "last_seen", "events", "orders",
        "traits")  # fmt: skip


def instant(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1e6, UTC)


def stream(seed: int) -> list[dict[str, Any]]:
    """Events of some people, of whom some have several ids, some none, and some come twice."""
    rng = random.Random(seed)
    rows = []
    for number in range(300):
        at = NOON + rng.randrange(50) * 1_000_000  # so few instants that many are shared
        ids = {
            "user_id": rng.choice(["", None, *(f"u{n}" for n in range(12))]),
            "anonymous_id": rng.choice([None, "", *(f"a{n}" for n in range(20))]),
            "project": rng.choice(["demo", "demo", "demo", "other"]),
        }
        match rng.randrange(4):
            case 0:
                traits = rng.choice([None, json.dumps({"n": number})])
                rows.append(event(f"e{number}", at, type="identify", properties=traits, **ids))
            case 1:
                number_of = f"o{rng.randrange(60)}"
                pence = rng.randrange(-300, 900)
                rows.append(order(f"e{number}", at, pence, order_id=number_of, **ids))
            case _:
                rows.append(event(f"e{number}", at, **ids))
    return rows + [{**row, "received_time": row["received_time"] + 5} for row in rows[::7]]


def by_hand(rows: list[dict[str, Any]], persons: dict[tuple[str, str], str]) -> list[Any]:
    """A row for each person, by a loop over the events of `demo`."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in first_copies([row for row in rows if row["project"] == "demo"])[0]:
        who = row.get("user_id") or row.get("anonymous_id")
        if who:
            kind = "user" if row.get("user_id") else "anonymous"
            found.setdefault(persons.get((kind, who), who), []).append(row)
    made: list[Any] = []
    for person, events in found.items():
        told = [r for r in events if r["type"] == "identify" and r.get("properties") is not None]
        told.sort(key=lambda r: (r["event_time"], r["received_time"], r["event_id"]))
        paid = {r["order_id"] for r in events if r.get("order_id") and r["revenue_minor"] >= 0}
        made.append(
            (
                person,
                sorted({r["user_id"] for r in events if r.get("user_id")}),
                sorted({r["anonymous_id"] for r in events if r.get("anonymous_id")}),
                instant(min(r["event_time"] for r in events)),
                instant(max(r["event_time"] for r in events)),
                len(events),
                len(paid),
                told[-1]["properties"] if told else None,
            )
        )
    return sorted(made)


@pytest.mark.parametrize("joined", [False, True])
def test_people_are_what_a_loop_over_the_events_finds(tmp_path: Path, joined: bool) -> None:
    rows = stream(seed=3)
    archive(tmp_path, in_blocks(rows, random.Random(4)))
    if joined:
        identify(tmp_path)
    warehouse = Warehouse(world.settings(tmp_path), lambda _: pytest.fail("live was read"))
    known = warehouse.ask("demo", "SELECT kind, id, person_id FROM identities").rows
    assert bool(known) == joined
    found = warehouse.ask("demo", f"SELECT {', '.join(KEYS)} FROM people ORDER BY person")
    expected = by_hand(rows, {(kind, name): person for kind, name, person in known})
    assert sorted(found.rows) == expected
    assert found.status == "exact"
    assert found.as_of is not None
    assert warehouse.ask("nobody", "SELECT COUNT(*) FROM people").rows == [(0,)]


def schema(*fields: dict[str, Any], name: str) -> str:
    of = {"type": "track", "name": name}
    return json.dumps({"type": "record", "name": "E", "event": of, "fields": list(fields)})


@pytest.fixture
def registry(tmp_path: Path) -> SchemaRegistry:
    catalog: Catalog = world.catalogue(tmp_path)
    made = SchemaRegistry(catalog)
    price = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
    tags = {"type": "array", "items": "string"}
    fields: list[dict[str, Any]] = [
        {"name": "sku", "type": "string"},
        {"name": "price", "type": price},
        {"name": "count", "type": "long"},
        {"name": "tags", "type": tags},
    ]
    made.register("demo", schema(*fields, name="Item Bought"))
    made.register("other", schema({"name": "secret", "type": "string"}, name="Theirs"))
    return made


def test_a_registered_schema_is_a_table_of_its_project_only(
    tmp_path: Path, registry: SchemaRegistry
) -> None:
    bought = json.dumps({"sku": "A-1", "price": "12.34", "count": 3, "tags": ["x"]})
    rows = [event("1", NOON, name="Item Bought", properties=bought), event("2", NOON)]
    rows.append({**rows[0], "project": "other", "event_id": "3"})
    archive(tmp_path, [frame_of(rows)])
    client = world.app(tmp_path).test_client()

    def ask(sql: str, project: str = "demo") -> tuple[int, Any]:
        answer = client.post(f"/p/{project}/api/sql", json={"sql": sql})
        return answer.status_code, answer.get_json()

    status, found = ask("SELECT sku, price * `count` AS total, event_id FROM track_item_bought")
    assert status == 200, found
    assert found["rows"] == [["A-1", "37.02", "1"]]
    assert found["status"] == "exact"
    joined = "SELECT COUNT(*) FROM track_item_bought AS b JOIN people AS p ON p.person = b.user_id"
    assert ask(joined)[1]["rows"] == [[1]]
    status, found = ask("SELECT * FROM track_theirs")
    assert (status, found["line"], found["column"]) == (400, 1, 15)
    assert "there is no table 'track_theirs'" in found["message"]
    assert "track_item_bought" in found["message"]
    assert ask("SELECT COUNT(*) FROM track_theirs", "other")[1]["rows"] == [[0]]


def test_the_browser_lists_it_with_its_types(tmp_path: Path, registry: SchemaRegistry) -> None:
    client = world.app(tmp_path).test_client()
    found = client.get("/p/demo/api/sql/tables").get_json()
    tables = {one["name"]: one["columns"] for one in found["tables"]}
    assert "track_theirs" not in tables
    kinds = [(one["name"], one["kind"]) for one in tables["track_item_bought"]][:4]
    assert sorted(kinds) == [
        ("count", "INT64"), ("price", "NUMERIC"), ("sku", "STRING"), ("tags", "STRING")
    ]  # fmt: skip
    assert [one["name"] for one in tables["people"]] == list(KEYS)
    page = client.get("/p/demo/sql").text
    assert "<code>track_item_bought</code>" in page
    assert "track_theirs" not in page


def test_the_estimate_of_a_typed_table_reads_properties_only_where_they_are_named(
    tmp_path: Path, registry: SchemaRegistry
) -> None:
    rows = [
        event(str(n), NOON + n, name="Item Bought", properties='{"sku": "x"}') for n in range(9)
    ]
    archive(tmp_path, [frame_of(rows)])
    client = world.app(tmp_path).test_client()

    def size(sql: str) -> int:
        found = client.post("/p/demo/api/sql/estimate", json={"sql": sql}).get_json()
        return int(found["bytes"])

    plain, typed = (size(f"SELECT {c} FROM track_item_bought") for c in ("user_id", "sku"))
    assert 0 < plain < typed < size("SELECT * FROM track_item_bought")


def test_views_that_do_not_fit_are_an_error_of_the_query_not_of_the_server(tmp_path: Path) -> None:
    broken = {"track_x": "SELECT nonsense FROM events"}
    warehouse = Warehouse(world.settings(tmp_path), lambda _: pytest.fail("live"), lambda _: broken)
    with pytest.raises(QueryFailed):
        warehouse.ask("demo", "SELECT * FROM track_x")
