"""Whatever an exact table answers, the events give too: any stream, days of 23 and 25 hours."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from catalog.store import Catalog
from reports.warehouse import engine
from reports.warehouse.engine import Result, Warehouse
from reports.warehouse.execute import execute
from tests.beam_pipelines.test_rollup import archive, in_blocks
from tests.beam_pipelines.test_rollup import run as roll_up
from tests.reports import world
from tests.streams import DAY_US, NOON, event, frame_of, order
from transforms.grid import HOUR_US

# The clocks of London go forward, and back; those of Kolkata stand half an hour beside UTC's hours.
SPRING, AUTUMN = world.us(2026, 3, 29), world.us(2026, 10, 25)
ZONES = {"demo": "Europe/London", "other": "UTC", "third": "Asia/Kolkata"}
SEEDS = (1, 2, 3)


def stream(seed: int) -> list[dict[str, Any]]:
    """Events of three projects around both changes, some sent twice.

    With the third seed an order of `demo` comes a second time, as another event.
    """
    rng = random.Random(seed)
    rows = []
    for number in range(500):
        at = rng.choice([SPRING, AUTUMN]) + rng.randrange(-DAY_US, 2 * DAY_US)
        more = {"project": rng.choice(["demo", "demo", "other", "third"])}
        if rng.random() < 0.3:
            money = {"currency": rng.choice(["GBP", "EUR"]), **more}
            rows.append(order(f"e{number}", at, rng.choice([0, 999, 50, -50]), **money))
        else:
            rows.append(event(f"e{number}", at, name=rng.choice(["view", "cart"]), **more))
    # One in each hour of the long day.
    rows += [event(f"h{n}", AUTUMN - HOUR_US + n * HOUR_US) for n in range(25)]
    rows += [{**row, "received_time": row["received_time"] + 9} for row in rng.sample(rows, 60)]
    if seed == 3:
        rows += [order(one, AUTUMN, 700, order_id="same") for one in ("again-1", "again-2")]
    rng.shuffle(rows)
    return rows


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    return {seed: rolled_up(tmp_path_factory.mktemp("forms"), seed) for seed in SEEDS}


def rolled_up(made: Path, seed: int) -> Path:
    world.catalogue(made)
    Catalog(f"sqlite:///{made}/catalog.db").add_project("third", time_zone=ZONES["third"])
    archive(made, in_blocks(stream(seed), random.Random(seed)))
    roll_up(made)
    return made


def ask(directory: Path, project: str, sql: str, zone: str | None) -> Result:
    """With a zone it may use the exact tables, without one it never does."""
    settings = world.settings(directory, sql_max_rows=10_000)
    warehouse = Warehouse(settings, lambda _: pytest.fail("live was read"), zone=lambda _: zone)
    return warehouse.ask(project, sql.replace("@@", ZONES[project]))


def both(directory: Path, project: str, sql: str) -> str | None:
    """The table that it was answered from, when the answer is that of the events."""
    short = ask(directory, project, sql, ZONES[project])
    long = ask(directory, project, sql, None)
    assert long.answered_from is None
    assert sorted(map(repr, short.rows)) == sorted(map(repr, long.rows)), sql
    assert (short.columns, short.types) == (long.columns, long.types)
    assert short.complete_until == long.complete_until
    return short.answered_from


HOURS = (
    "TIMESTAMP_TRUNC(event_time, HOUR)",
    "TIMESTAMP_TRUNC(event_time, HOUR, '@@')",
    "TIMESTAMP_TRUNC(event_time, DAY, '@@')",
    "TIMESTAMP_TRUNC(event_time, WEEK(MONDAY), '@@')",
    "TIMESTAMP_TRUNC(event_time, MONTH, '@@')",
    "DATETIME_TRUNC(DATETIME(event_time, '@@'), HOUR)",
    "DATETIME_TRUNC(DATETIME(event_time, '@@'), ISOWEEK)",
    "EXTRACT(HOUR FROM event_time AT TIME ZONE '@@')",
    "EXTRACT(DAYOFWEEK FROM DATETIME(event_time, '@@'))",
)
DAYS = (
    "DATE(event_time, '@@')",
    "DATE_TRUNC(DATE(event_time, '@@'), WEEK(MONDAY))",
    "DATE_TRUNC(DATE(event_time, '@@'), MONTH)",
)
WHERE = (
    "DATE(event_time, '@@') BETWEEN '2026-10-24' AND '2026-10-25'",
    "DATE(event_time, '@@') = DATE '2026-03-29'",
    "EXTRACT(HOUR FROM event_time AT TIME ZONE '@@') IN (0, 1, 2)",
)
OF_COUNTS = ("name = 'cart'", "name LIKE 'Order%' OR NOT DATE(event_time, '@@') > '2026-05-01'")
OF_MONEY = ("currency = 'GBP'", "currency <> 'EUR' OR DATE(event_time, '@@') < '2026-05-01'")


@st.composite
def queries(draw: st.DrawFn) -> str:
    """Counts or money, by some keys, of some events."""
    money = draw(st.booleans())
    keys = draw(st.lists(st.sampled_from([*HOURS, *DAYS, "currency" if money else "name"]),
                         max_size=3, unique=True))  # fmt: skip
    where = draw(st.lists(st.sampled_from([*WHERE, *(OF_MONEY if money else OF_COUNTS)]),
                          max_size=2, unique=True))  # fmt: skip
    if money:
        where = [*where, *(["revenue_minor IS NOT NULL"] if keys or draw(st.booleans()) else [])]
    number = "SUM(revenue_minor) AS money" if money else draw(
        st.sampled_from(["COUNT(*)", "COUNT(*) AS n"]))  # fmt: skip
    named = [f"{key} AS k{at}" for at, key in enumerate(keys)]
    parts = [f"SELECT {', '.join([*named, number])} FROM events"]
    if where:
        parts.append("WHERE " + " AND ".join(f"({one})" for one in where))
    if keys:
        parts.append("GROUP BY " + ", ".join(f"k{at}" for at in range(len(keys))))
    return " ".join(parts)


@budget(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sql=queries(), seed=st.sampled_from(SEEDS), project=st.sampled_from(sorted(ZONES)))
def test_any_counts_and_money_are_those_of_the_events(
    directories: dict[int, Path],
    monkeypatch: pytest.MonkeyPatch,
    sql: str,
    seed: int,
    project: str,
) -> None:
    monkeypatch.setattr(engine, "run_apart", lambda job, timeout_s: execute(job))
    by_hour = any(form in sql for form in HOURS) or "EXTRACT" in sql
    expected: str | None = "periods" if by_hour else "daily"
    if by_hour and project == "third":
        expected = None  # its hours are none of UTC
    if "revenue" in sql and (seed, project) == (3, "demo"):
        expected = None  # a whole order that came twice counts once there
    assert both(directories[seed], project, sql) == expected


@pytest.mark.parametrize(("form", "number"), list(itertools.product((*HOURS, *DAYS), (0, 1))))
def test_each_form_is_answered_by_itself(
    directories: dict[int, Path], monkeypatch: pytest.MonkeyPatch, form: str, number: int
) -> None:
    monkeypatch.setattr(engine, "run_apart", lambda job, timeout_s: execute(job))
    what, where = (
        ("COUNT(*)", ""),
        ("SUM(revenue_minor) AS s", "WHERE revenue_minor IS NOT NULL"),
    )[number]
    sql = f"SELECT {form} AS at, {what} FROM events AS e {where} GROUP BY at"
    table = "periods" if form in HOURS else "daily"
    assert both(directories[1], "demo", sql) == table


def test_a_day_of_25_hours_has_them_all(directories: dict[int, Path]) -> None:
    sql = ("SELECT TIMESTAMP_TRUNC(event_time, HOUR) AS hour, COUNT(*) AS n FROM events "
           "WHERE DATE(event_time, '@@') = '2026-10-25' GROUP BY hour")  # fmt: skip
    counted: dict[int, int] = {}
    seen = set()
    for row in stream(2):
        at, id_ = row["event_time"], row["event_id"]
        if row["project"] == "demo" and id_ not in seen and -HOUR_US <= at - AUTUMN < DAY_US:
            seen.add(id_)
            counted[at // HOUR_US] = counted.get(at // HOUR_US, 0) + 1
    found = ask(directories[2], "demo", sql, ZONES["demo"])
    assert found.answered_from == "periods"
    hours = {int(at.timestamp()) // 3600: n for at, n in found.rows}
    assert hours == counted
    assert len(counted) == 25


def test_money_without_a_currency_is_told_apart(tmp_path: Path) -> None:
    world.catalogue(tmp_path)
    rows = [order("1", NOON, 5), order("2", NOON, 7, currency=None)]
    archive(tmp_path, [frame_of(rows)])
    roll_up(tmp_path)
    sql = ("SELECT currency, SUM(revenue_minor) AS s FROM events "
           "WHERE revenue_minor IS NOT NULL GROUP BY currency")  # fmt: skip
    assert both(tmp_path, "demo", sql) is None


def test_hours_that_the_rollup_has_not_seen_are_read_from_events(tmp_path: Path) -> None:
    world.catalogue(tmp_path)
    sql = "SELECT TIMESTAMP_TRUNC(event_time, HOUR) AS hour, COUNT(*) AS n FROM events GROUP BY 1"
    archive(tmp_path, [frame_of([event("1", NOON)])])
    roll_up(tmp_path, grains="day")
    assert both(tmp_path, "demo", sql) is None
    roll_up(tmp_path)
    assert both(tmp_path, "demo", sql) == "periods"
    archive(tmp_path, [frame_of([event("2", NOON)], seq=1)])
    roll_up(tmp_path, grains="day")
    assert both(tmp_path, "demo", sql) is None
    assert both(tmp_path, "demo", "SELECT COUNT(*) FROM events") == "daily"
