"""The exact daily table as the page and the JSON have it, against numbers counted by hand."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from reports.daily import table
from reports.warehouse.engine import Warehouse
from tests.reports import world

FIRST, NEXT, LAST = date(2026, 10, 24), date(2026, 10, 25), date(2026, 10, 26)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """Two days, one of them 25 hours long, and a day of another project."""
    world.count_day(
        tmp_path, FIRST,
        ("events", "{}", 5, None),
        ("events", '{"name":"view"}', 4, None),
        ("events", '{"name":""}', 1, None),
        ("active_users", "{}", 3, None),
        ("sessions", "{}", 4, None),
        ("orders", "{}", 2, None),
        ("revenue", '{"currency":"GBP"}', 1999, None),
        ("revenue", '{"currency":"JPY"}', 500, None),
        ("conversion_rate", "{}", 1, 3),
        duplicates=2, complete_until=world.us(2026, 10, 25, 0, 30),
    )  # fmt: skip
    world.count_day(
        tmp_path, NEXT,
        ("events", "{}", 1, None),
        ("active_users", "{}", 0, None),
        ("sessions", "{}", 0, None),
        ("orders", "{}", 1, None),
        ("revenue", '{"currency":"GBP"}', -2500, None),
        ("conversion_rate", "{}", 0, 0),
        ("a_number_of_an_older_version", "{}", 9, None),
        complete_until=world.us(2026, 10, 25, 1, 30),
    )  # fmt: skip
    world.count_day(tmp_path, LAST, ("events", "{}", 1000, None), project="other")
    return Warehouse(world.settings(tmp_path, sql_max_rows=1), lambda _: pytest.fail("not read"))


def read(warehouse: Warehouse, first: date | None = None, last: date | None = None) -> Any:
    return table(warehouse, "demo", "Europe/London", first, last)


def test_days_newest_first_and_sums_only_of_what_adds(warehouse: Warehouse) -> None:
    found = read(warehouse)
    assert [row["day"] for row in found["days"]] == ["2026-10-25", "2026-10-24"]
    assert (found["first"], found["last"]) == ("2026-10-24", "2026-10-25")
    assert (found["events"], found["orders"]) == (6, 3)
    assert [(r["currency"], r["text"]) for r in found["revenue"]] == [
        ("GBP", "-£5.01"),
        ("JPY", "JP¥500"),
    ]
    assert not {"active_users", "sessions", "conversion_rate"} & found.keys()


def test_a_day(warehouse: Warehouse) -> None:
    row = read(warehouse, FIRST, FIRST)["days"][0]
    assert (row["events"], row["active_users"], row["sessions"], row["orders"]) == (5, 3, 4, 2)
    assert row["by_name"] == {"view": 4, "": 1}
    assert [r["text"] for r in row["revenue"]] == ["£19.99", "JP¥500"]
    assert row["conversion_rate"] == pytest.approx(1 / 3)
    assert row["conversion_rate_reason"] is None
    assert row["duplicates"] == 2


def test_a_ratio_without_anybody_has_a_reason(warehouse: Warehouse) -> None:
    row = read(warehouse, NEXT, NEXT)["days"][0]
    assert row["conversion_rate"] is None
    assert row["conversion_rate_reason"] == "not computable: no active users"


def test_every_day_says_how_far_it_can_be_trusted(warehouse: Warehouse) -> None:
    found = read(warehouse)
    assert (found["status"], found["time_zone"]) == ("exact", "Europe/London")
    assert found["as_of"]
    # The clocks go back between the two: the same hour on the clock, an hour later.
    assert [row["complete_until"] for row in found["days"]] == [
        "2026-10-25T01:30:00+00:00",
        "2026-10-25T01:30:00+01:00",
    ]
    assert {row["status"] for row in found["days"]} == {"exact"}


def test_a_number_that_the_registry_got_later_is_none_and_not_nought(tmp_path: Path) -> None:
    world.count_day(tmp_path, FIRST, ("events", "{}", 5, None))
    old = Warehouse(world.settings(tmp_path), lambda _: pytest.fail("not read"))
    found = read(old)
    assert found["days"][0]["sessions"] is None
    assert (found["events"], found["orders"], found["revenue"]) == (5, 0, [])


@pytest.mark.parametrize(
    ("first", "last", "days"),
    [
        (None, FIRST, ["2026-10-24"]),
        (NEXT, None, ["2026-10-25"]),
        (LAST, LAST, []),
        (LAST, FIRST, []),
    ],
)
def test_a_span(
    warehouse: Warehouse, first: date | None, last: date | None, days: list[str]
) -> None:
    assert [row["day"] for row in read(warehouse, first, last)["days"]] == days


def test_an_empty_table_has_the_same_shape(tmp_path: Path, warehouse: Warehouse) -> None:
    empty = Warehouse(world.settings(tmp_path / "new"), lambda _: pytest.fail("not read"))
    found = read(empty)
    assert found.keys() == read(warehouse).keys()
    assert (found["days"], found["first"], found["as_of"]) == ([], None, None)
    nothing_of_its_own = table(warehouse, "third", "UTC", None, None)
    assert (nothing_of_its_own["days"], nothing_of_its_own["as_of"]) == ([], None)
