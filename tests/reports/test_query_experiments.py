"""The table of exposures to experiments: against a loop, and with what libraries really send."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reports.warehouse.engine import Warehouse
from tests.beam_pipelines.test_identity import run as identify
from tests.beam_pipelines.test_rollup import archive, in_blocks
from tests.brute import first_copies
from tests.collector.conftest import NOW, Collector
from tests.reports import world
from tests.streams import DAY_US, NOON, event, frame_of

COLUMNS = ("experiment", "variant", "person", "first_exposed", "last_exposed", "exposures",
           "variants")  # fmt: skip
SHOWN = ("Experiment Viewed", "Experiment Started", "experiment_viewed", "viewed_experiment",
         "$experiment_started", "$exposure", "$feature_flag_called")  # fmt: skip
# In order: of several the first that is there and not empty counts.
EXPERIMENT = ("experiment_id", "experimentId", "experiment_name", "Experiment name", "flag_key",
              "$feature_flag")  # fmt: skip
VARIANT = ("variation_id", "variationId", "variant", "variation_name", "Variant name",
           "$feature_flag_response")  # fmt: skip
BROKEN = (None, "", "{", "[]", "7", '{"experiment_id": "\\ud800", "variant": "b"}')


def instant(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1e6, UTC)


def stream(seed: int) -> list[dict[str, Any]]:
    """Events of some people, most of them exposures that name all, some or none of their parts."""
    rng = random.Random(seed)
    rows = []
    for number in range(500):
        at = NOON + rng.randrange(40) * 1_000_000  # so few instants that many are shared
        ids = {
            "user_id": rng.choice(["", None, *(f"u{n}" for n in range(6))]),
            "anonymous_id": rng.choice([None, "", *(f"a{n}" for n in range(8))]),
            "project": rng.choice(["demo", "demo", "demo", "other"]),
        }
        rare = f"z{rng.randrange(60)}"
        parts = {
            **{name: rng.choice(["x", "y", rare, "", None]) for name in rng.sample(EXPERIMENT, 2)},
            **{name: rng.choice(["a", 1, True, "", None]) for name in rng.sample(VARIANT, 2)},
        }
        text = rng.choice(BROKEN) if rng.random() < 0.1 else json.dumps(parts)
        kind = rng.choice(["track", "track", "track", "page", "identify"])
        name = rng.choice([*SHOWN, "view"])
        rows.append(event(f"e{number}", at, type=kind, name=name, properties=text, **ids))
    return rows + [{**row, "received_time": row["received_time"] + 5} for row in rows[::7]]


def part(properties: str | None, names: tuple[str, ...]) -> str | None:
    """The first of these that the JSON has, as text."""
    try:
        found = json.loads(properties or "null")
        json.dumps(found, ensure_ascii=False).encode()  # half an emoji is no text
    except ValueError:
        return None
    for name in names:
        value = found.get(name) if isinstance(found, dict) else None
        if value not in (None, ""):
            return value if isinstance(value, str) else json.dumps(value)
    return None


def by_hand(rows: list[dict[str, Any]], persons: dict[tuple[str, str], str]) -> list[Any]:
    """A row for each exposed person and variant, by a loop over the events of `demo`."""
    times: dict[tuple[str, str | None, str], list[int]] = defaultdict(list)
    for row in first_copies([row for row in rows if row["project"] == "demo"])[0]:
        who = row.get("user_id") or row.get("anonymous_id")
        experiment = part(row["properties"], EXPERIMENT)
        if who and experiment and row["type"] == "track" and row["name"] in SHOWN:
            kind = "user" if row.get("user_id") else "anonymous"
            key = experiment, part(row["properties"], VARIANT), persons.get((kind, who), who)
            times[key].append(row["event_time"])
    seen: dict[tuple[str, str], set[str | None]] = defaultdict(set)
    for experiment, variant, person in times:
        seen[experiment, person] |= {variant} - {None}
    return [
        (*key, instant(min(at)), instant(max(at)), len(at), len(seen[key[0], key[2]]))
        for key, at in times.items()
    ]


@pytest.mark.parametrize("joined", [False, True])
def test_experiments_are_what_a_loop_over_the_events_finds(tmp_path: Path, joined: bool) -> None:
    rows = stream(seed=5)
    archive(tmp_path, in_blocks(rows, random.Random(6)))
    if joined:
        identify(tmp_path)
    warehouse = Warehouse(world.settings(tmp_path), lambda _: pytest.fail("live was read"))
    known = warehouse.ask("demo", "SELECT kind, id, person_id FROM identities").rows
    assert bool(known) == joined
    found = warehouse.ask("demo", f"SELECT {', '.join(COLUMNS)} FROM experiments")
    expected = by_hand(rows, {(kind, name): person for kind, name, person in known})
    assert sorted(found.rows, key=repr) == sorted(expected, key=repr)
    assert {row[-1] for row in expected} >= {0, 1, 2}
    assert found.status == "exact"
    assert warehouse.ask("nobody", "SELECT COUNT(*) FROM experiments").rows == [(0,)]


def test_who_saw_two_variants_is_found_and_joined_to_people(tmp_path: Path) -> None:
    def seen(number: int, who: str, variant: str) -> dict[str, Any]:
        text = json.dumps({"experiment_id": "button", "variation_id": variant})
        return event(f"{number}", NOON, name=SHOWN[0], user_id=who, properties=text)

    shown = [("u1", "a"), ("u1", "b"), ("u2", "a"), ("u2", "a"), ("u3", "b")]
    archive(tmp_path, [frame_of([seen(n, *one) for n, one in enumerate(shown)])])
    client = world.app(tmp_path).test_client()
    sql = """
    SELECT x.variant, COUNT(*) AS n, SUM(x.exposures) AS exposures, SUM(p.events) AS events
    FROM experiments AS x JOIN people AS p ON p.person = x.person
    WHERE x.variants = 1 GROUP BY x.variant ORDER BY x.variant
    """
    answer = client.post("/p/demo/api/sql", json={"sql": sql}).get_json()
    assert answer["rows"] == [["a", 1, 2, 2], ["b", 1, 1, 1]]


SENT: dict[str, tuple[str, Any]] = {
    "segment": (
        "/v1/batch",
        {"batch": [{
            "type": "track", "event": "Experiment Viewed", "messageId": "1", "userId": "u1",
            "properties": {"experiment_id": "button", "experiment_name": "The button",
                           "variation_id": "blue", "variation_name": "Blue"},
        }]},
    ),
    "growthbook by segment": (
        "/v1/batch",
        {"batch": [{
            "type": "track", "event": "Experiment Viewed", "messageId": "1", "userId": "u1",
            "properties": {"experimentId": "button", "variationId": "blue"},
        }]},
    ),
    "posthog": (
        "/batch/",
        {"batch": [{
            "event": "$feature_flag_called", "uuid": "1", "distinct_id": "u1",
            "timestamp": "2027-01-15T07:59:00Z",
            "properties": {"$feature_flag": "button", "$feature_flag_response": "blue"},
        }]},
    ),
    "mixpanel": (
        "/track",
        [{
            "event": "$experiment_started",
            "properties": {"distinct_id": "u1", "$insert_id": "1", "time": NOW // 1_000_000,
                           "Experiment name": "button", "Variant name": "blue"},
        }],
    ),
    "amplitude": (
        "/2/httpapi",
        {"events": [{
            "event_type": "$exposure", "insert_id": "1", "user_id": "u1",
            "event_properties": {"flag_key": "button", "variant": "blue"},
        }]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("library", SENT)
def test_what_the_collector_takes_of_each_library_is_an_exposure(
    tmp_path: Path, library: str
) -> None:
    collector = Collector(tmp_path / "spool")
    path, body = SENT[library]
    assert collector.post(path, body).status_code == 200
    collector.gatherer.close()
    rows = [{**row, "project": "demo"} for row in collector.rows()]
    collector.close()
    archive(tmp_path / "lake", [frame_of(rows)])
    warehouse = Warehouse(world.settings(tmp_path / "lake"), lambda _: pytest.fail("live"))
    sql = "SELECT experiment, variant, person, exposures, variants FROM experiments"
    assert warehouse.ask("demo", sql).rows == [("button", "blue", "u1", 1, 1)]


@pytest.fixture
def days(tmp_path: Path) -> Warehouse:
    """An exposure on each of three days, a file a day."""
    text = json.dumps({"experiment_id": "x", "variant": "a"})
    for day in range(3):
        at = NOON + day * DAY_US
        made = event(f"{day}", at, name=SHOWN[0], properties=text, page_url="https://a.example")
        world.archive(tmp_path, [made])
    world.settle(tmp_path)
    return Warehouse(world.settings(tmp_path), lambda _: pytest.fail("live was read"))


@pytest.mark.parametrize("table", ["experiments", "people"])
def test_all_days_are_read_whatever_is_asked_of_the_table(days: Warehouse, table: str) -> None:
    """First and last are of all events: a day left out would change them."""
    last = instant(NOON + 2 * DAY_US).date()
    begin = {"experiments": "first_exposed", "people": "first_seen"}[table]
    sql = f"SELECT COUNT(*) FROM {table} WHERE DATE({begin}) >= '{last - timedelta(days=2)}'"
    assert days.ask("demo", sql).rows == [(1,)]
    sql = f"SELECT COUNT(*) FROM {table} WHERE DATE({begin}) >= '{last}'"
    assert days.ask("demo", sql).rows == [(0,)]
    found = {one.table: one for one in days.estimate("demo", sql).reads}
    assert set(found) == {"events", "identities"}
    assert (found["events"].files, found["events"].of_files) == (3, 3)
    (whole,) = days.estimate("demo", "SELECT * FROM events").reads
    starred = days.estimate("demo", f"SELECT * FROM {table}").reads
    assert 0 < next(r.bytes for r in starred if r.table == "events") < whole.bytes


@pytest.mark.parametrize("table", ["experiments", "people"])
def test_no_column_beside_those_that_are_counted_is_read(days: Warehouse, table: str) -> None:
    """The engine's own plan of a scan names none that the estimate leaves out."""
    plan = days.estimate("demo", f"SELECT * FROM {table}").plan
    assert "event_time" in plan
    assert "page_url" not in plan
    assert "context" not in plan


def test_the_browser_and_the_completion_list_it(tmp_path: Path) -> None:
    world.archive(tmp_path, [event("1", NOON)])
    client = world.app(tmp_path).test_client()
    listed = client.get("/p/demo/api/sql/tables").get_json()["tables"]
    tables = {one["name"]: one["columns"] for one in listed}
    assert [one["name"] for one in tables["experiments"]] == list(COLUMNS)
    assert "<code>experiments</code>" in client.get("/p/demo/sql").text
    for table in ("experiments", "people"):
        body = {"sql": f"SELECT * FROM {table} LIMIT 0"}
        job = client.post("/p/demo/api/sql/jobs", json=body).get_json()
        while job["state"] == "running":
            job = client.get(f"/p/demo/api/sql/jobs/{job['id']}").get_json()
        assert job["columns"] == [one["name"] for one in tables[table]]
        assert job["types"] == [one["kind"] for one in tables[table]]
