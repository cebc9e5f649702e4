"""Days of the site's zone: 23 and 25 hours long where the clocks change."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.grid import (
    GRAINS,
    Grain,
    add_local_day,
    add_periods,
    day_span_us,
    first_day,
    last_day,
    local_days_of,
    period_span_us,
)

HOUR_US = 3_600_000_000
ZONES = st.sampled_from(
    ["UTC", "Europe/London", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu",
     "America/Sao_Paulo", "Australia/Lord_Howe"]
)  # fmt: skip


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 6, 1), 24)]
)
def test_a_day_has_as_many_hours_as_the_clocks_say(day: date, hours: int) -> None:
    start, end = day_span_us(day, "Europe/London")
    assert end - start == hours * HOUR_US


@given(st.integers(0, 2_000_000_000), ZONES)
def test_every_instant_lies_in_its_local_day(second: int, zone: str) -> None:
    at = datetime.fromtimestamp(second, UTC)
    frame = pl.DataFrame({"project": ["p"], "event_time": [second * 1_000_000]})
    day = add_local_day(frame, {"p": zone})["day"][0]
    assert day == at.astimezone(ZoneInfo(zone)).date()
    start, end = day_span_us(day, zone)
    assert start <= second * 1_000_000 < end
    assert day in local_days_of([at.date()], zone)


def test_projects_in_one_batch_keep_their_own_days() -> None:
    late = int(datetime(2026, 6, 1, 23, 30, tzinfo=UTC).timestamp() * 1e6)
    frame = pl.DataFrame({"project": ["a", "b", "c"], "event_time": [late] * 3})
    days = add_local_day(frame, {"a": "Europe/London", "b": "America/New_York"})["day"].to_list()
    assert days == [date(2026, 6, 2), date(2026, 6, 1), date(2026, 6, 1)]


def test_a_utc_day_touches_at_most_two_local_ones() -> None:
    assert local_days_of([date(2026, 6, 1)], "UTC") == {date(2026, 6, 1)}
    found = local_days_of([date(2026, 6, 1)], "America/New_York")
    assert found == {date(2026, 6, 1) - timedelta(days=1), date(2026, 6, 1)}


@given(st.integers(0, 2_000_000_000), ZONES)
def test_every_instant_lies_in_its_hour_week_and_month(second: int, zone: str) -> None:
    at = datetime.fromtimestamp(second, UTC).astimezone(ZoneInfo(zone))
    frame = pl.DataFrame({"project": ["p"], "event_time": [second * 1_000_000]})
    row = add_periods(frame, {"p": zone}).to_dicts()[0]
    assert row["week"] == date.fromisocalendar(*at.date().isocalendar()[:2], 1)
    assert row["month"] == at.date().replace(day=1)
    hour = datetime.fromtimestamp(row["hour"] / 1e6, UTC)
    assert 0 <= second - hour.timestamp() < 3600
    assert timedelta(minutes=at.minute, seconds=at.second) == at - hour
    for grain in GRAINS:
        start, end = period_span_us(first_day(at.date(), grain), grain, zone)
        assert start <= second * 1_000_000 < end


@pytest.mark.parametrize(
    ("day", "grain", "first", "last"),
    [
        (date(2026, 1, 1), "week", date(2025, 12, 29), date(2026, 1, 4)),
        (date(2024, 2, 29), "month", date(2024, 2, 1), date(2024, 2, 29)),
        (date(2026, 12, 31), "month", date(2026, 12, 1), date(2026, 12, 31)),
        (date(2026, 6, 7), "day", date(2026, 6, 7), date(2026, 6, 7)),
    ],
)
def test_first_and_last_day(day: date, grain: Grain, first: date, last: date) -> None:
    assert (first_day(day, grain), last_day(first_day(day, grain), grain)) == (first, last)


def test_months_with_a_change_of_clocks_are_an_hour_longer_or_shorter() -> None:
    for month, hours in ((3, 31 * 24 - 1), (10, 31 * 24 + 1)):
        start, end = period_span_us(date(2026, month, 1), "month", "Europe/London")
        assert end - start == hours * HOUR_US
