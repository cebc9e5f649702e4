"""Before and after a launch, asked of real tables: values against numpy, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from reports.insights import all as _kinds  # noqa: F401 - registers the kinds
from reports.insights.answer import Table
from reports.insights.kinds import ask
from reports.insights.question import QuestionError
from reports.insights.source import Source
from reports.warehouse.engine import Warehouse
from tests.beam_pipelines.test_rollup import run
from tests.reports import world
from tests.reports.test_insight_base import join
from tests.reports.test_insight_trends_exact import archive_until
from tests.streams import event, order
from transforms.before_after import Effect, NotComputable, effect
from transforms.own_metrics import MetricDefinition

LAUNCH = date(2026, 9, 1)
FIRST, LAST = date(2026, 7, 28), date(2026, 9, 21)
NOW = world.us(2026, 9, 22, 12)
DAYS = [FIRST + timedelta(n) for n in range((LAST - FIRST).days + 1)]
SIGN_UPS = MetricDefinition(name="sign_ups", statistic="count", event="sign up")


def of_day(day: date, rng: np.random.Generator) -> list[dict[str, Any]]:
    """About a hundred events, fewer at weekends and more from the launch on; five orders."""
    noon = world.us(day.year, day.month, day.day, 12)
    count = int(100 - 30 * (day.weekday() >= 5) + 8 * (day >= LAUNCH) + rng.normal(0, 2))
    made = [
        event(f"{day}-{n}", noon + n, user_id=f"u{n % (10 + count // 10)}",
              name=("sign up", "view", "cart")[n % 3], country=("GB", "DE")[n % 2])
        for n in range(count)
    ]  # fmt: skip
    currencies = ("GBP", "GBP", "GBP", "JPY", "JPY")
    return made + [
        order(f"{day}-o{n}", noon + n, int(rng.normal(5000, 300)), currency=currency)
        for n, currency in enumerate(currencies)
    ]


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    rng = np.random.default_rng(2)
    return [row for day in DAYS for row in of_day(day, rng)]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> Path:
    made = tmp_path_factory.mktemp("before-after")
    archive_until(made, rows, world.us(2026, 9, 22, 10))
    run(made, all_days=True)
    return made


def by_day(
    rows: list[dict[str, Any]], number: Callable[[list[dict[str, Any]]], float]
) -> dict[date, float]:
    """A number of each day's events."""
    found: dict[date, list[dict[str, Any]]] = {day: [] for day in DAYS}
    for row in rows:
        found[datetime.fromtimestamp(row["event_time"] / 1e6, UTC).date()].append(row)
    return {day: number(of) for day, of in found.items()}


def people(rows: list[dict[str, Any]]) -> int:
    return len({row["user_id"] for row in rows})


def expected(values: dict[date, float]) -> Effect | NotComputable:
    before = {day: float(value) for day, value in values.items() if day < LAUNCH}
    return effect(before, {day: float(v) for day, v in values.items() if day >= LAUNCH})


def table(directory: Path, now: int = NOW, **question: Any) -> Table:
    warehouse = Warehouse(world.settings(directory), lambda project: (None, None))  # type: ignore[arg-type,return-value]
    source = Source(
        warehouse, "demo", "Europe/London", now,
        cohort=lambda project, name: pa.table({"person": ["u1", "u2"]}),
        annotations=lambda project: {"New checkout": LAUNCH},
        metrics=lambda project: [SIGN_UPS],
    )  # fmt: skip
    given = {"dates": f"{FIRST}..{LAST}", "launch": str(LAUNCH), **question}
    return ask("before_after", given, source).table


def shown(found: Table) -> dict[str, dict[str, Any]]:
    names = [column.name for column in found.columns]
    return {row[0]: dict(zip(names, row, strict=True)) for row in found.rows}


def same(row: dict[str, Any], values: dict[date, float]) -> bool:
    """Is it what the values of the days make?"""
    effect = expected(values)
    assert isinstance(effect, Effect)
    names = ("before", "after", "change", "low", "high", "p", "days_before", "days_after")
    return all(row[name] == pytest.approx(getattr(effect, name)) for name in names)


@pytest.mark.parametrize(
    ("metric", "title", "number"),
    [
        ("events", "Events", len),
        ("active_users", "Active users", people),
        ("sign_ups", "sign_ups", lambda of: sum(row["name"] == "sign up" for row in of)),
        ("conversion_rate", "Conversion rate",
         lambda of: people([row for row in of if row.get("order_id")]) / people(of)),
    ],
)  # fmt: skip
def test_a_metric_is_that_of_the_days(directory, rows, metric, title, number):
    found = shown(table(directory, metrics=[metric]))
    assert list(found) == [title]
    assert same(found[title], by_day(rows, number))


def test_the_launch_is_found(directory):
    found = shown(table(directory, metrics=["events"]))["Events"]
    assert found["low"] < 8 < found["high"]
    assert (found["days_before"], found["days_after"]) == (35, 21)


def test_money_is_in_whole_units_and_currencies_stay_apart(directory, rows):
    found = shown(table(directory, metrics=["revenue"]))
    assert list(found) == ["Net revenue GBP", "Net revenue JPY"]
    for currency, units in (("GBP", 100), ("JPY", 1)):
        of = [row for row in rows if row.get("currency") == currency]
        money = by_day(of, lambda day: sum(row["revenue_minor"] for row in day) / units)  # noqa: B023
        assert same(found[f"Net revenue {currency}"], money)


def test_a_number_without_spread(directory):
    found = shown(table(directory, metrics=["orders"]))["Orders"]
    assert found["remark"].startswith("not computable, because the number is the same")
    assert found["change"] is None


def test_a_number_of_events_of_ones_own(directory, rows):
    found = shown(table(directory, event={"name": "sign up"}))
    assert list(found) == ["sign up, events"]
    of = [row for row in rows if row["name"] == "sign up"]
    assert same(found["sign up, events"], by_day(of, len))
    counted = shown(table(directory, event={"name": "sign up"}, measure="people"))
    assert same(counted["sign up, people"], by_day(of, people))


def test_metrics_take_conditions_and_cohorts(directory, rows):
    british = [{"property": "country", "values": ["GB"]}]
    found = shown(table(directory, metrics=["events", "sign_ups"], where=british))
    of = [row for row in rows if row.get("country") == "GB"]
    assert same(found["Events"], by_day(of, len))
    assert same(found["sign_ups"], by_day([r for r in of if r["name"] == "sign up"], len))
    few = [row for row in rows if row["user_id"] in ("u1", "u2")]
    (row,) = shown(table(directory, metrics=["events"], cohort="Few")).values()
    assert row["after"] == pytest.approx(np.mean([v for d, v in by_day(few, len).items()
                                                  if d >= LAUNCH]))  # fmt: skip


def test_people_are_those_that_the_answer_names(tmp_path, rows):
    """Where ids are joined, the exact tables, which count devices, must not be read."""
    archive_until(tmp_path, rows, world.us(2026, 9, 22, 10))
    run(tmp_path, all_days=True)
    join(tmp_path, *(("user", name, "p") for name in ("u1", "u2", "u3")))
    together = [
        {**row, "user_id": "p" if row["user_id"] in ("u1", "u2", "u3") else row["user_id"]}
        for row in rows
    ]
    joined = by_day(together, people)
    assert same(shown(table(tmp_path, metrics=["active_users"]))["Active users"], joined)
    apart = table(tmp_path, metrics=["active_users"], identity="device")
    assert same(shown(apart)["Active users"], by_day(rows, people))


def test_an_annotation_gives_the_day(directory):
    by_name = table(directory, launch="", annotation="New checkout", metrics=["events"])
    assert by_name.rows == table(directory, metrics=["events"]).rows


def test_the_launch_day_can_be_left_out(directory):
    found = shown(table(directory, metrics=["events"], settle_days=3))["Events"]
    assert (found["days_before"], found["days_after"]) == (35, 18)


def test_a_day_that_is_not_over_is_not_in_it(directory):
    morning = world.us(2026, 9, 21, 9)
    found = shown(table(directory, now=morning, metrics=["events"]))["Events"]
    assert found["days_after"] == 20


def test_too_few_weeks_say_so(directory):
    found = table(directory, metrics=["events"], dates="2026-08-25..2026-09-21")
    (row,) = shown(found).values()
    assert row["remark"] == (
        "not computable, because there are 7 days before; at least 14 are needed, each weekday "
        "twice"
    )
    assert any("not computable" in note for note in found.notes)


def test_a_launch_that_is_to_come_is_not_computable(directory):
    today = date(2026, 9, 22)
    dates = f"{today}..{today + timedelta(9)}"
    found = table(directory, metrics=["events"], dates=dates, launch=str(today + timedelta(1)))
    assert shown(found)["Events"]["remark"].startswith("not computable")


def test_nothing_there_is_not_computable(tmp_path):
    assert table(tmp_path, metrics=["events"]).chart.mark == "table"  # there is nothing to draw
    found = shown(table(tmp_path, metrics=["events"]))["Events"]
    assert found["remark"].startswith("not computable, because there are 0 days after")
    own = shown(table(tmp_path, event={"name": "x"}))["x, events"]
    assert own["remark"].startswith("not computable, because there are 0 days after")


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"launch": ""}, "give one of them"),
        ({"annotation": "New checkout"}, "give one of them"),
        ({"launch": "", "annotation": "Old"}, "annotation='Old': there is none of that name"),
        ({"launch": "1 March"}, "launch='1 March' is no day; write it as 2026-03-01"),
        ({"launch": "2026-07-28"}, "must begin before it"),
        ({"launch": "2027-01-01"}, "must begin before it and end after it"),
        ({"metrics": ["sales"]}, "metric='sales': demo has none of that name; there are events"),
        ({"metrics": ["events"] * 10}, "metrics"),
        ({"settle_days": -1}, "settle_days"),
    ],
)  # fmt: skip
def test_a_question_that_cannot_be_asked_says_why(directory, question, message):
    with pytest.raises(QuestionError) as caught:
        table(directory, **question)
    assert message in str(caught.value)
