"""Counts that the exact table holds are read from it, and are those that the events give."""

from __future__ import annotations

import random
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from reports.warehouse.engine import QueryFailed, Warehouse
from tests.beam_pipelines.test_rollup import archive, in_blocks
from tests.beam_pipelines.test_rollup import run as roll_up
from tests.reports import world
from tests.streams import NOON, event, frame_of, random_events

ZONE = "Europe/London"


def rows(seed: int) -> list[dict[str, Any]]:
    """Events of two projects over nine days, some of them sent twice."""
    rng = random.Random(seed)
    made = random_events(400, days=9, seed=seed)
    made += [{**row, "project": "other"} for row in rng.sample(made, 50)]
    return made + [{**row, "received_time": row["received_time"] + 9} for row in made[::5]]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("rolled")
    world.catalogue(made)
    archive(made, in_blocks(rows(1), random.Random(2)))
    roll_up(made)
    return made


def asked(directory: Path, zone: str | None = ZONE) -> Warehouse:
    """With a zone it may use the exact table, without one it never does."""
    settings = world.settings(directory)
    return Warehouse(settings, lambda _: pytest.fail("live was read"), zone=lambda _: zone)


DAY = f"DATE(event_time, '{ZONE}')"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT COUNT(*) AS n FROM events",
        "SELECT COUNT(*) FROM events",
        "SELECT name, COUNT(*), COUNT(*) FROM events GROUP BY name ORDER BY COUNT(*), name",
        f"SELECT {DAY} AS day, COUNT(*) AS n FROM events GROUP BY day ORDER BY day",
        "SELECT name, COUNT(*) AS n FROM events GROUP BY name ORDER BY n DESC, name",
        f"SELECT {DAY} AS day, name, COUNT(*) AS n FROM events GROUP BY 1, 2 ORDER BY 1, 2",
        f"SELECT name, COUNT(*) AS n FROM events WHERE {DAY} >= @day GROUP BY name ORDER BY name",
        f"SELECT COUNT(*) AS n FROM events WHERE {DAY} BETWEEN @day "
        "AND DATE_ADD(@day, INTERVAL 2 DAY)",
        "SELECT COUNT(*) AS n FROM events WHERE name = 'view' OR name LIKE 'Order%'",
        "SELECT COUNT(*) AS n FROM events WHERE name = 'nobody'",
        "SELECT UPPER(e.name) AS up, COUNT(*) AS n FROM events AS e GROUP BY up ORDER BY up",
        f"SELECT DATE_TRUNC({DAY}, WEEK(MONDAY)) AS week, COUNT(*) AS n FROM events GROUP BY 1 "
        "HAVING COUNT(*) > 10 ORDER BY week LIMIT 2",
        f"WITH d AS (SELECT {DAY} AS day, COUNT(*) AS n FROM events GROUP BY day) "
        "SELECT AVG(n) AS mean, MAX(day) AS last FROM d",
        f"SELECT {DAY} AS day, COUNT(*) * 2 AS twice FROM events GROUP BY day ORDER BY twice, day",
        "SELECT COUNT(*) AS n FROM events WHERE name = 'view' UNION ALL "
        "SELECT COUNT(*) AS n FROM events WHERE name = 'cart' ORDER BY n",
    ],
)  # fmt: skip
def test_what_the_exact_table_holds_is_read_from_it(directory: Path, sql: str) -> None:
    values = {"day": date(2026, 9, 20)}
    for project in ("demo", "other"):
        zone = world.ZONES[project]
        text = sql.replace(ZONE, zone)
        short = asked(directory, zone).ask(project, text, values)
        long = asked(directory, None).ask(project, text, values)
        assert (short.answered_from, long.answered_from) == ("daily", None)
        assert short.rows == long.rows
        assert short.columns == long.columns
        assert short.types == long.types
        assert short.status == "exact"
    assert any(row[-1] for row in short.rows) or "nobody" in sql


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT DATE(event_time) AS day, COUNT(*) AS n FROM events GROUP BY day",
        "SELECT DATE(event_time, 'Asia/Tokyo') AS day, COUNT(*) AS n FROM events GROUP BY day",
        "SELECT COUNT(DISTINCT user_id) AS n FROM events",
        "SELECT COUNT(user_id) AS n FROM events",
        "SELECT SUM(revenue_minor) FROM events",
        "SELECT COUNT(*) AS n FROM events WHERE RAND() < 0.5 AND FALSE",
        "SELECT COUNT(*) AS n FROM events WHERE revenue_minor IS NOT NULL",
        "SELECT currency, SUM(revenue_minor) AS n FROM events GROUP BY currency",
        "SELECT name, SUM(revenue_minor) AS n FROM events WHERE revenue_minor IS NOT NULL "
        "GROUP BY name",
        "SELECT currency, SUM(revenue_minor) AS n FROM events "
        "WHERE revenue_minor IS NOT NULL OR currency = 'GBP' GROUP BY currency",
        "SELECT SUM(revenue_minor) AS n, COUNT(*) AS m FROM events",
        f"WITH f AS (SELECT TIMESTAMP '2026-09-20 12:00:00' AS event_time) SELECT (SELECT COUNT(*) "
        f"AS n FROM events AS e WHERE {DAY} = DATE(f.event_time, '{ZONE}')) AS n FROM f",
        "SELECT name FROM events",
        "SELECT DISTINCT name FROM events",
        "SELECT name, COUNT(*) AS n FROM events WHERE event_time > '2026-09-20' GROUP BY name",
        "SELECT name, COUNT(*) AS n FROM events WHERE user_id = 'u1' GROUP BY name",
        "SELECT name, COUNT(*) AS n FROM events GROUP BY name ORDER BY MAX(event_time)",
        "SELECT e.name, COUNT(*) AS n FROM events AS e JOIN events AS f ON TRUE GROUP BY 1",
        "SELECT name, COUNT(*) AS n, SUM(COUNT(*)) OVER () AS t FROM events GROUP BY name",
        "SELECT COUNT(*) AS n FROM events WHERE name IN (SELECT name FROM events)",
        "WITH events AS (SELECT 'x' AS name) SELECT name, COUNT(*) AS n FROM events GROUP BY name",
    ],
)  # fmt: skip
def test_what_asks_for_more_reads_events(directory: Path, sql: str) -> None:
    found = asked(directory).ask("demo", sql)
    assert found.answered_from is None
    assert sorted(map(str, found.rows)) == sorted(
        map(str, asked(directory, None).ask("demo", sql).rows)
    )


def test_new_events_are_counted_at_once_and_rolled_up_again_later(tmp_path: Path) -> None:
    world.catalogue(tmp_path)
    sql = "SELECT COUNT(*) AS n FROM events"
    for number in range(2):
        archive(tmp_path, [frame_of([event(f"e{number}", NOON)], seq=number)])
        before = asked(tmp_path).ask("demo", sql)
        assert (before.answered_from, before.rows) == (None, [(number + 1,)])
        roll_up(tmp_path)
        after = asked(tmp_path).ask("demo", sql)
        assert (after.answered_from, after.rows) == ("daily", [(number + 1,)])


def test_events_without_a_name_are_told_apart_from_those_with_an_empty_one(tmp_path: Path) -> None:
    world.catalogue(tmp_path)
    archive(tmp_path, [frame_of([event("1", NOON, name=None), event("2", NOON)])])
    roll_up(tmp_path)
    warehouse = asked(tmp_path)
    by_name = warehouse.ask("demo", "SELECT name, COUNT(*) AS n FROM events GROUP BY 1 ORDER BY 1")
    assert (by_name.answered_from, by_name.rows) == (None, [(None, 1), ("view", 1)])
    assert warehouse.ask("demo", "SELECT COUNT(*) AS n FROM events").answered_from == "daily"


def test_errors_are_placed_in_the_query_as_it_was_written(directory: Path) -> None:
    with pytest.raises(QueryFailed) as failed:
        asked(directory).ask("demo", "SELECT name AS a,\n  COUNT(*) AS n FROM events GROUP BY nme")
    assert failed.value.line == 2


def test_it_is_said_over_http(directory: Path) -> None:
    client = world.app(directory).test_client()
    for sql, source in (("SELECT COUNT(*) AS n FROM events", "daily"),
                        ("SELECT COUNT(name) FROM events", None)):  # fmt: skip
        found = client.post("/p/demo/api/sql", json={"sql": sql}).get_json()
        assert found["answered_from"] == source
        assert found["complete_until"] is not None
