"""What panels of the built-in boards count, against what was put in."""

from __future__ import annotations

import json
from pathlib import Path

from reports.app import create_app
from schemas_avro.tables import LEDGER
from tests.reports import world
from tests.streams import NOON, event


def test_health_counts_whole_days_of_the_zone(tmp_path: Path) -> None:
    """In New York 2026-03-08 has 23 hours: from 05:00 to 04:00 of UTC."""
    edges = {world.us(2026, 3, 8, 5) - 1: 0, world.us(2026, 3, 8, 5): 1,
             world.us(2026, 3, 9, 4) - 1: 1, world.us(2026, 3, 9, 4): 0}  # fmt: skip
    world.refuse(tmp_path, [{"received_time": at} for at in edges])
    minutes = [world.ledger_minute(at - at % 60_000_000, received=1) for at in edges]
    world.keep(tmp_path, LEDGER, minutes)
    settings, zones = world.settings(tmp_path), {"demo": "America/New_York"}
    world.catalogue(tmp_path)
    client = create_app(settings, lambda: zones, lambda: world.NOW).test_client()
    day = "?dates=2026-03-08..2026-03-08"
    hours = client.get(f"/p/demo/api/boards/health/panels/0{day}").get_json()
    assert sorted(int(row[1]) for row in hours["texts"]) == [1, 1]
    letters = client.get(f"/p/demo/api/boards/health/panels/1{day}").get_json()
    assert letters["texts"] == [["bad_money", "2"]]
    assert sum(edges.values()) == 2


def test_experiments_know_every_library_s_exposures(tmp_path: Path) -> None:
    shown = {
        "Experiment Viewed": {"experiment_name": "Button", "variation_name": "blue"},
        "$feature_flag_called": {"$feature_flag": "Button", "$feature_flag_response": "green"},
        "$exposure": {"flag_key": "Search", "variant": "on"},
    }
    rows = [
        event(f"e{n}", NOON + n, name=name, properties=json.dumps(said), user_id=f"u{n}")
        for n, (name, said) in enumerate(shown.items())
    ]
    world.archive(tmp_path, rows)
    client = world.app(tmp_path).test_client()
    found = client.get("/p/demo/api/boards/experiments/panels/3").get_json()
    assert [row[:3] for row in found["texts"]] == [
        ["Button", "blue", "1"], ["Button", "green", "1"], ["Search", "on", "1"],
    ]  # fmt: skip
    assert found["trust"][-2] == "people: as the query counts them"
    assert any(part.startswith("complete until") for part in found["trust"])
