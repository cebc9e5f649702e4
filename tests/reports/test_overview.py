"""Live numbers from a store filled as the pipeline fills it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from reports.live.overview import overview
from reports.live.store import _SQL, LiveStore
from tests.reports import world
from tests.reports.world import Live, us
from transforms.statistics import DistinctSketch, Total

NOW = us(2026, 9, 21, 12, 0, 30)
MINUTE = 60_000_000


def people(*names: str) -> DistinctSketch:
    return DistinctSketch.of(pl.Series(names, dtype=pl.String))


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    made = Live(tmp_path)
    yield made
    made.close()


def read(directory: Path, now: int = NOW, zone: str = "UTC", project: str = "demo") -> Any:
    return overview(LiveStore(f"{directory}/live.db", project), zone, now)


def test_the_page_of_a_morning(tmp_path: Path, live: Live) -> None:
    live.put(NOW, "events", Total(3), '{"name":"view"}')
    live.put(NOW, "events", Total(1), '{"name":"<b>"}')
    live.put(NOW - 29 * MINUTE, "events", Total(10), '{"name":"view"}')
    live.put(NOW - 30 * MINUTE, "events", Total(100), '{"name":""}')
    live.put(NOW - 13 * 60 * MINUTE, "events", Total(1000), '{"name":"yesterday"}')
    live.put(NOW, "events", Total(9), '{"name":"view"}', project="other")
    live.put(NOW, "people", people("ann", "bob"))
    live.put(NOW - 4 * MINUTE, "people", people("bob", "cy"))
    live.put(NOW - 5 * MINUTE, "people", people("dee"))
    live.put(NOW - 90 * MINUTE, "people", people("ann", "eve"))
    live.put(NOW - 90 * MINUTE, "buyers", people("eve"))
    live.put(NOW - 90 * MINUTE, "orders", people("o-1", "o-2"))
    live.put(NOW, "orders", people("o-2"))
    live.put(NOW, "revenue", Total(-150), '{"currency":"GBP"}')
    live.put(NOW - 90 * MINUTE, "revenue", Total(2149), '{"currency":"GBP"}', final=True)
    live.put(NOW, "revenue", Total(500), '{"currency":"JPY"}')
    found = read(tmp_path)
    assert (found["events_today"], found["events_recent"]) == (114, 14)
    assert found["active_users_now"] == 3
    assert found["active_users_recent"] == 4
    assert found["active_users_today"] == 5
    assert found["orders_today"] == 2
    assert found["conversion_today"] == pytest.approx(1 / 5)
    assert [r["text"] for r in found["revenue_today"]] == ["£19.99", "JP¥500"]
    assert found["top_events"] == [
        {"name": "(no name)", "events": 100},
        {"name": "view", "events": 13},
        {"name": "<b>", "events": 1},
    ]
    assert len(found["minutes"]) == 30
    assert found["minutes"][0] == {"minute": "2026-09-21T11:31:00+00:00", "events": 10}
    assert found["minutes"][-1] == {"minute": "2026-09-21T12:00:00+00:00", "events": 4}
    assert (found["status"], found["distinct_error"]) == ("live, approximate", 0.0)
    assert found["complete_until"] == "2026-09-21T10:31:00+00:00"
    assert found["as_of_us"] > NOW - 10**15
    assert found["as_of"]


def test_a_newer_pane_is_seen_at_once_though_hours_are_remembered(
    tmp_path: Path, live: Live
) -> None:
    live.put(NOW, "people", people("ann"))
    assert read(tmp_path)["active_users_today"] == 1
    live.put(NOW, "people", people("ann", "bob"))
    live.put(NOW + 1, "buyers", people("bob"))
    found = read(tmp_path)
    assert (found["active_users_today"], found["conversion_today"]) == (2, 0.5)


def test_many_people_are_an_estimate_with_its_error(tmp_path: Path, live: Live) -> None:
    crowd = [f"user {n}" for n in range(50_000)]
    live.put(NOW, "people", people(*crowd))
    found = read(tmp_path)
    assert found["distinct_error"] == pytest.approx(1 / 64)
    assert found["active_users_today"] == pytest.approx(50_000, rel=4 / 64)


@pytest.mark.parametrize(
    ("now", "start", "hours"),
    [
        (us(2026, 10, 25, 23, 59), us(2026, 10, 24, 23), 25),  # the clocks go back
        (us(2026, 3, 29, 22, 59), us(2026, 3, 29, 0), 23),  # and forward
        (us(2026, 9, 21, 22, 59), us(2026, 9, 20, 23), 24),
    ],
)
def test_today_is_the_day_of_the_site_however_long(
    tmp_path: Path, live: Live, now: int, start: int, hours: int
) -> None:
    assert now + MINUTE - start == hours * 60 * MINUTE  # the last minute of the day
    live.put(start - MINUTE, "events", Total(1000), '{"name":"the day before"}')
    live.put(start, "events", Total(1), '{"name":"first minute"}')
    live.put(now, "events", Total(2), '{"name":"last minute"}')
    live.put(now + MINUTE, "events", Total(2000), '{"name":"the day after"}')
    found = read(tmp_path, now, "Europe/London")
    assert found["events_today"] == 3
    after = read(tmp_path, now + MINUTE, "Europe/London")
    assert after["events_today"] == 2000
    assert after["today"] > found["today"]


def test_no_store_yet_and_nothing_in_it(tmp_path: Path) -> None:
    before = read(tmp_path)
    Live(tmp_path).close()
    assert read(tmp_path) == before
    assert (before["events_today"], before["as_of"], before["conversion_today"]) == (0, None, None)
    assert before["conversion_reason"] == "not computable: no active users today"
    assert before["top_events"] == before["revenue_today"] == []


def test_a_directory_with_a_strange_name(tmp_path: Path) -> None:
    strange = tmp_path / "what? 50% #1"
    live = Live(strange)
    live.put(NOW, "events", Total(1), '{"name":"view"}')
    live.close()
    assert read(strange)["events_today"] == 1


def test_a_store_that_is_broken_is_no_empty_store(tmp_path: Path) -> None:
    (tmp_path / "live.db").write_bytes(b"no database" * 1000)
    with pytest.raises(Exception, match="not a database"):
        read(tmp_path)


def test_live_minutes_for_sql(tmp_path: Path, live: Live) -> None:
    live.put(NOW, "events", Total(3), '{"name":"view"}')
    live.put(NOW, "people", people("ann", "bob"))
    live.put(NOW - MINUTE, "people", people("ann"), project="other")
    store = LiveStore(f"{tmp_path}/live.db", "demo")
    found = store.as_table(NOW - MINUTE, NOW).to_pylist()
    assert [(r["statistic"], r["dimensions"], r["value"]) for r in found] == [
        ("events", '{"name":"view"}', 3),
        ("people", "{}", 2),
    ]
    assert {world.us(2026, 9, 21, 12, 0)} == {
        int(r["minute"].timestamp()) * 1_000_000 for r in found
    }


def test_history_costs_nothing(tmp_path: Path, live: Live) -> None:
    """Every question reads its span by the primary key, whatever lies before it."""
    live.put(NOW, "events", Total(3), '{"name":"view"}')
    given = {"project": "demo", "statistic": "events", "start": NOW, "end": NOW + 1}
    connection = sqlite3.connect(tmp_path / "live.db")
    for question in ("totals", "minutes", "hours", "sketches", "table", "updated"):
        plan = connection.execute(f"EXPLAIN QUERY PLAN {_SQL['live_' + question]}", given)
        steps = [step[-1] for step in plan.fetchall()]
        by_key = "(project=? AND statistic=? AND dimensions=? AND minute>? AND minute<?)"
        assert any(by_key in step for step in steps)
        assert not any(step.startswith("SCAN value") for step in steps)
    connection.close()
