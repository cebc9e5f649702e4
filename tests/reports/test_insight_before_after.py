"""Before and after a launch, asked of real tables: values against numpy, and what is refused."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports.insights import all as _kinds  # noqa: F401 - registers the kinds
from reports.insights.answer import Table
from reports.insights.kinds import ask
from reports.insights.question import QuestionError
from reports.insights.source import Source
from reports.warehouse.engine import Warehouse
from tests.reports import world
from tests.streams import event
from transforms.before_after import effect

LAUNCH = date(2026, 9, 1)
FIRST, LAST = date(2026, 7, 28), date(2026, 9, 21)
NOW = world.us(2026, 9, 22, 12)


@pytest.fixture(scope="module")
def days() -> dict[date, int]:
    rng = np.random.default_rng(2)
    made = {}
    for n in range((LAST - FIRST).days + 1):
        day = FIRST + timedelta(n)
        weekend = -300 if day.weekday() >= 5 else 0
        made[day] = int(1000 + weekend + (80 if day >= LAUNCH else 0) + rng.normal(0, 20))
    return made


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory, days: dict[date, int]) -> Path:
    made = tmp_path_factory.mktemp("daily")
    for day, count in days.items():
        world.count_day(
            made, day,
            ("events", "{}", count, None), ("events", '{"name":"x"}', 3, None),
            ("active_users", "{}", count // 2, None), ("orders", "{}", 5, None),
            ("revenue", '{"currency":"GBP"}', count * 100 + 1, None),
            ("revenue", '{"currency":"JPY"}', count, None),
            ("conversion_rate", "{}", count // 10, count),
            complete_until=world.us(2026, 9, 22, 10),
        )  # fmt: skip
    world.archive(
        made,
        [
            event(f"{day}-{n}", world.us(day.year, day.month, day.day, 12), name="sign up",
                  user_id=f"u{n % 7}")
            for day, count in days.items()
            for n in range(count // 100)
        ],
    )  # fmt: skip
    return made


def table(directory: Path, now: int = NOW, **question: Any) -> Table:
    warehouse = Warehouse(world.settings(directory), lambda project: (None, None))  # type: ignore[arg-type,return-value]
    source = Source(
        warehouse, "demo", "Europe/London", now,
        annotations=lambda project: {"New checkout": LAUNCH},
    )  # fmt: skip
    given = {"dates": f"{FIRST}..{LAST}", "launch": str(LAUNCH), **question}
    return ask("before_after", given, source).table


def rows(found: Table) -> dict[str, dict[str, Any]]:
    names = [column.name for column in found.columns]
    return {row[0]: dict(zip(names, row, strict=True)) for row in found.rows}


def test_a_registered_number_is_that_of_the_daily_table(directory, days):
    found = rows(table(directory, metrics=["events"]))["Events"]
    before = {day: float(value) for day, value in days.items() if day < LAUNCH}
    after = {day: float(value) for day, value in days.items() if day >= LAUNCH}
    expected = effect(before, after)
    assert (found["before"], found["after"], found["low"], found["high"], found["p"]) == (
        expected.before, expected.after, expected.low, expected.high, expected.p,
    )  # fmt: skip
    assert found["low"] < 80 < found["high"]
    assert (found["days_before"], found["days_after"]) == (35, 21)
    assert np.isclose(found["after"], np.mean(list(after.values())))


def test_money_is_in_whole_units_and_currencies_stay_apart(directory, days):
    found = rows(table(directory, metrics=["revenue"]))
    assert list(found) == ["Net revenue, GBP", "Net revenue, JPY"]
    late = [value for day, value in days.items() if day >= LAUNCH]
    assert np.isclose(found["Net revenue, GBP"]["after"], np.mean(late) + 0.01)
    assert np.isclose(found["Net revenue, JPY"]["after"], np.mean(late))


def test_a_ratio_and_a_number_without_spread(directory):
    found = rows(table(directory, metrics=["conversion_rate", "orders"]))
    assert 0.09 < found["Conversion rate"]["after"] < 0.1
    assert found["Orders"]["remark"].startswith("not computable, because the number is the same")
    assert found["Orders"]["change"] is None


def test_a_number_of_events_of_ones_own(directory, days):
    found = rows(table(directory, event={"name": "sign up"}))
    assert list(found) == ["sign up, events"]
    late = [value // 100 for day, value in days.items() if day >= LAUNCH]
    assert np.isclose(found["sign up, events"]["after"], np.mean(late))
    people = rows(table(directory, event={"name": "sign up"}, measure="people"))
    assert people["sign up, people"]["remark"] or people["sign up, people"]["after"] <= 7


def test_an_annotation_gives_the_day(directory):
    by_name = table(directory, launch="", annotation="New checkout", metrics=["events"])
    assert by_name.rows == table(directory, metrics=["events"]).rows


def test_the_launch_day_can_be_left_out(directory):
    found = rows(table(directory, metrics=["events"], settle_days=3))["Events"]
    assert (found["days_before"], found["days_after"]) == (35, 18)


def test_a_day_that_is_not_over_is_not_in_it(directory):
    morning = world.us(2026, 9, 21, 9)
    found = rows(table(directory, now=morning, metrics=["events"]))["Events"]
    assert found["days_after"] == 20


def test_too_few_weeks_say_so(directory):
    found = table(directory, metrics=["events"], dates="2026-08-25..2026-09-21")
    (row,) = rows(found).values()
    assert row["remark"] == (
        "not computable, because there are 7 days before; at least 14 are needed, each weekday "
        "twice"
    )
    assert any("not computable" in note for note in found.notes)


def test_nothing_there_is_not_computable(tmp_path):
    found = rows(table(tmp_path, metrics=["events"]))["Events"]
    assert found["remark"].startswith("not computable, because there are 0 days after")
    own = rows(table(tmp_path, event={"name": "x"}))["x, events"]
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
        ({"metrics": ["sales"]}, "metrics: there is no 'sales'; there are events"),
        ({"metrics": ["events"], "where": [{"property": "country", "values": ["GB"]}]},
         "where and cohort apply to event alone"),
        ({"settle_days": -1}, "settle_days"),
    ],
)  # fmt: skip
def test_a_question_that_cannot_be_asked_says_why(directory, question, message):
    with pytest.raises(QuestionError) as caught:
        table(directory, **question)
    assert message in str(caught.value)
