"""Retention against ClickHouse's own `retention()`, on many people: days and weeks, every rule."""

from __future__ import annotations

import random
from datetime import date, timedelta

import pytest
from flask import Flask

from tests import people
from tests.clickhouse import PERIOD, PERSON, asked, kept
from tests.reports.streams_of_people import TODAY, Row, app_of, ask, label, midnight
from tests.streams import event

BEGIN, LONGEST = date(2026, 8, 24), 6  # summer time ends within
# All of these are over. Before them people start too, whom `first_time` does not see again.
SHOWN = {
    "day": (TODAY - timedelta(14), TODAY - timedelta(1)),
    "week": (date(2026, 8, 31), date(2026, 10, 25)),
}


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    rng = random.Random(8)
    made = []
    for number in range(8_000):
        # Half of all in the last two weeks, so that days have enough as well.
        days = (TODAY - BEGIN).days
        day = BEGIN + timedelta(rng.choice([rng.randrange(days), rng.randrange(days - 14, days)]))
        at = midnight(day, rng.choice([0, -0.000001, 1, 82_799, rng.uniform(0, 82_000)]))
        who = int(rng.triangular(0, 1200, 0))
        ids = {"user_id": f"u{who}"} if who % 4 else {"user_id": None, "anonymous_id": f"a{who}"}
        name = rng.choice(["view", "view", "cart", "order"])
        made.append(event(f"e{number}", at, name=name, **ids))
    return made


@pytest.fixture(scope="module")
def app(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Flask:
    return app_of(tmp_path_factory.mktemp("app"), rows)


@pytest.fixture(scope="module")
def source(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> str:
    columns = ("user_id", "anonymous_id", "name", "event_time")
    return kept(tmp_path_factory.mktemp("rows") / "events.parquet", rows, columns)


@pytest.mark.parametrize("rolling", [False, True], ids=["in the period", "rolling"])
@pytest.mark.parametrize("mode", ["recurring", "first_time"])
@pytest.mark.parametrize("grain", ["day", "week"])
def test_the_same_as_clickhouse(
    app: Flask, source: str, grain: str, mode: str, rolling: bool
) -> None:
    first, last = SHOWN[grain]
    answer = ask(
        app, "retention", start={"name": "cart"}, returning={"name": "order"}, mode=mode,
        rolling=rolling, period=grain, dates=f"{first}..{last}", longest=LONGEST,
    )  # fmt: skip
    periods = people.calendar(first, last, grain)
    wanted: dict[str, list[int]] = {}
    for number, cohort in enumerate(periods):
        shown = periods[number : number + LONGEST + 1]
        wanted[label(cohort, grain)] = counted(
            source, grain, cohort, shown, mode == "first_time", periods[-1] if rolling else None
        )
    got: dict[str, list[int]] = {}
    for cohort, size, _, back, _ in answer["rows"]:
        if cohort != "Weighted average" and back is not None:
            got.setdefault(cohort, [size]).append(back)
    assert got == wanted
    assert sum(backs[0] for backs in wanted.values()) > 200


def counted(
    source: str, grain: str, cohort: date, shown: list[date], is_first: bool, until: date | None
) -> list[int]:
    """Size of a cohort, and who came back in each period: the engine works these out itself.

    until: come back in that period or in any later one up to here
    """
    started = f"period = '{cohort}' AND name = 'cart'"
    if is_first:
        started += " AND period = first"
    returned = ", ".join(
        f"period BETWEEN '{period}' AND '{until or period}' AND name = 'order'" for period in shown
    )
    sums = ", ".join(f"sum(r[{number + 1}]) AS n{number}" for number in range(len(shown) + 1))
    (row,) = asked(
        f"""SELECT {sums} FROM (
          SELECT retention({started}, {returned}) AS r
          FROM (
            SELECT who, name, period,
              min(if(name = 'cart', period, NULL)) OVER (PARTITION BY who) AS first
            FROM (SELECT {PERSON} AS who, name, {PERIOD[grain]} AS period FROM {source})
          )
          GROUP BY who
        )"""
    )
    return [int(value) for value in row.values()]
