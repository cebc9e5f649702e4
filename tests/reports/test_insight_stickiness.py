"""Stickiness as it is asked, against loops over the rows."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from tests import people
from tests.reports.streams_of_people import TODAY, app_of, ask, did, random_rows


@pytest.mark.parametrize(
    ("grain", "first"), [("day", date(2026, 10, 1)), ("week", date(2026, 9, 1)),
                         ("month", date(2026, 8, 1))],
)  # fmt: skip
def test_people_by_the_number_of_periods(tmp_path: Path, grain: str, first: date) -> None:
    rows = random_rows(9)
    answer = ask(app_of(tmp_path, rows), "stickiness", period=grain, dates=f"{first}..{TODAY}")
    shown = set(people.calendar(first, TODAY, grain))
    days = [len(when & shown) for when in did(rows, grain).values() if when & shown]
    got = {n: (count, share, more) for n, count, share, more in answer["rows"]}
    assert set(got) == set(range(1, len(shown) + 1))
    for number, (count, share, more) in got.items():
        assert count == days.count(number)
        assert share == pytest.approx(count / len(days))
        assert more == sum(n >= number for n in days)
    everybody, mean = (total["value"] for total in answer["totals"])
    assert everybody == len(days)
    assert mean == pytest.approx(sum(days) / len(days))


def test_nobody(tmp_path: Path) -> None:
    answer = ask(app_of(tmp_path, []), "stickiness", dates="last_7_days")
    assert [row[1:] for row in answer["rows"]] == [[0, None, 0]] * 7
    assert answer["totals"][1]["value"] is None
