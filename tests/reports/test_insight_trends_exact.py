"""Plain trends come from the exact tables, say the same as the events, and never lag behind."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from beam_pipelines.connectors.warehouse import Added
from beam_pipelines.connectors.warehouse import Warehouse as Writer
from reports.warehouse.engine import Warehouse
from schemas_avro import block, load
from schemas_avro.tables import EVENTS
from tests.beam_pipelines.test_rollup import run
from tests.reports import world
from tests.reports.test_insight_base import join
from tests.reports.test_insight_trends import DATES, END, FIRST, NOW, ROWS, START, ask, lines
from tests.streams import DAY_US, event, frame_of
from transforms.positions import Positions


def archive_until(directory: Path, rows: list[dict[str, Any]], received_until: int) -> None:
    """A block of events, the last one of which was received then; it says which days it is of."""
    number = received_until // 1_000_000
    _, frame = block.decode(load("event"), frame_of(rows, "p-0", number).payload)
    writer = Writer(f"{directory}/archive")
    positions = Positions.of([("p-0", number, number)])
    days = {datetime.fromtimestamp(r["event_time"] / 1e6, UTC).date().isoformat() for r in rows}
    files = writer.write_files(EVENTS, frame)
    writer.add(EVENTS, Added(files, positions, {"demo": tuple(sorted(days))}, received_until))


@pytest.fixture(scope="module")
def rolled_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another archive with the same events, and its exact tables."""
    made = tmp_path_factory.mktemp("rolled")
    archive_until(made, [{k: v for k, v in row.items() if k != "producer"} for row in ROWS], NOW)
    run(made, all_days=True)
    return made


def tables_read(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    read_by: list[set[str]] = []
    really = Warehouse.read

    def noted(self: Warehouse, project: str, sql: str, **others: Any) -> Any:
        read_by.append(set(others["tables"]))
        return really(self, project, sql, **others)

    monkeypatch.setattr(Warehouse, "read", noted)
    return read_by


PLAIN_SERIES = [
    {}, {"event": {"name": "view"}}, {"event": {"name": "nope"}}, {"measure": "people"},
    {"measure": "sessions"}, {"measure": "revenue"}, {"measure": "orders"},
    {"measure": "conversion_rate"},
]  # fmt: skip


@pytest.mark.parametrize("grain", ["hour", "day", "week", "month"])
@pytest.mark.parametrize("series", PLAIN_SERIES, ids=json.dumps)
def test_a_plain_trend_reads_no_event_and_is_the_same(
    rolled_up: Path, monkeypatch: pytest.MonkeyPatch, series: dict[str, Any], grain: str
) -> None:
    here = Warehouse(world.settings(rolled_up), lambda _: pytest.fail("live was read"))
    dates = {"week": "2026-10-19..2026-11-01", "month": "2026-10-01..2026-10-31"}.get(grain, DATES)
    question: dict[str, Any] = {"grain": grain, "dates": dates}
    read_by = tables_read(monkeypatch)
    exact = ask(here, series, **question)
    assert read_by
    assert not any("events" in tables for tables in read_by)
    assert "Read from the exact tables; no event was read." in exact.notes
    read_by.clear()
    everything = [{"property": "event_id", "operator": "is_set"}]
    raw = ask(here, series, **question, where=everything)
    assert any("events" in tables for tables in read_by)
    assert exact.rows == raw.rows
    assert exact.rows
    assert not any("exact tables" in note for note in raw.notes)


@pytest.mark.parametrize(
    ("series", "question"),
    [
        ({}, {"where": [{"property": "country", "values": ["GB"]}]}),
        ({"event": {"name": "view", "where": [{"property": "country", "values": ["GB"]}]}}, {}),
        ({}, {"breakdown": "country"}),
        ({"event": {"name": "page"}}, {}),
        ({"measure": "people", "event": {"name": "view"}}, {}),
        ({}, {"grain": "week"}),  # cut
        ({"measure": "people"}, {"cumulative": True}),
        ({"measure": "median", "property": "properties.size"}, {}),
    ],
)
def test_what_exact_tables_do_not_have_is_read_from_events(
    rolled_up: Path, monkeypatch: pytest.MonkeyPatch, series: dict[str, Any], question: Any
) -> None:
    here = Warehouse(world.settings(rolled_up), lambda _: pytest.fail("live was read"))
    read_by = tables_read(monkeypatch)
    ask(here, series, **question)
    assert any("events" in tables for tables in read_by)


def test_exact_tables_that_lag_behind_are_not_taken_for_the_truth(
    tmp_path: Path,
) -> None:
    """Events came in after the last rollup, and nothing of the last day is in the tables."""
    archive_until(tmp_path, [event("old", START)], START + DAY_US // 2)
    run(tmp_path, all_days=True)
    here = Warehouse(world.settings(tmp_path), lambda _: pytest.fail("live was read"))
    assert any("exact tables" in note for note in ask(here, {}).notes)
    archive_until(tmp_path, [event("new", END - 1)], END)
    table = ask(here, {})
    assert lines(table)["", ""][-1] == 1
    assert not any("exact tables" in note for note in table.notes)
    earlier = ask(here, {}, dates=f"{FIRST}..{FIRST}")
    assert any("exact tables" in note for note in earlier.notes)
    assert any("Events received up to" in note for note in earlier.notes)


def test_joined_people_are_counted_from_events(tmp_path: Path) -> None:
    device, ann = event("1", START, user_id=None, anonymous_id="device"), event("2", START)
    archive_until(tmp_path, [device, {**ann, "user_id": "ann"}], NOW)
    run(tmp_path, all_days=True)
    here = Warehouse(world.settings(tmp_path), lambda _: pytest.fail("live was read"))
    assert lines(ask(here, {"measure": "people"}))["", ""][0] == 2
    join(tmp_path, ("anonymous", "device", "p"), ("user", "ann", "p"))
    assert lines(ask(here, {"measure": "people"}))["", ""][0] == 1
    by_device = ask(here, {"measure": "people"}, identity="device")
    assert lines(by_device)["", ""][0] == 2
    assert any("exact tables" in note for note in by_device.notes)
