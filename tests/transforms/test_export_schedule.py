"""When scheduled exports are due, against a loop over minutes of the local clock."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.export_schedule import days_covered, latest_slot, local_day, next_slot

ZONE = "Europe/London"  # clocks: 2026-03-29 01:00 -> 02:00, 2026-10-25 02:00 -> 01:00


def us(*at: int) -> int:
    return int(datetime(*at, tzinfo=UTC).timestamp()) * 1_000_000


def by_a_loop(after_us: int, every: str, at: time, zone: str) -> datetime:
    """The next minute at which the local clock shows `at` for the first time that day."""
    moment = datetime.fromtimestamp(after_us // 60_000_000 * 60, UTC) + timedelta(minutes=1)
    while True:
        local = moment.astimezone(ZoneInfo(zone))
        fits = every == "day" or (local.weekday() == 0 if every == "week" else local.day == 1)
        if fits and (local.hour, local.minute) == (at.hour, at.minute) and local.fold == 0:
            return moment
        moment += timedelta(minutes=1)


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 1)),
    st.sampled_from(["day", "week", "month"]),
    st.sampled_from([time(0, 0), time(6, 0), time(1, 30), time(23, 59)]),
)
def test_the_next_slot_against_a_loop(after, every, at):
    if at == time(1, 30) and date(2026, 3, 1) <= after.date() <= date(2026, 4, 1):
        return  # of the hour that is not there, below
    after_us = int(after.replace(tzinfo=UTC).timestamp() * 1e6)
    found = next_slot(after_us, every, at, ZONE)
    assert datetime.fromtimestamp(found / 1e6, UTC) == by_a_loop(after_us, every, at, ZONE)


def test_where_the_clocks_jump_it_is_an_hour_later_and_where_they_repeat_the_first():
    at = time(1, 30)
    assert next_slot(us(2026, 3, 28, 12), "day", at, ZONE) == us(2026, 3, 29, 1, 30)
    assert next_slot(us(2026, 10, 24, 12), "day", at, ZONE) == us(2026, 10, 25, 0, 30)
    assert next_slot(us(2026, 10, 25, 0, 30), "day", at, ZONE) == us(2026, 10, 26, 1, 30)


@pytest.mark.parametrize(
    ("every", "latest"),
    [("day", us(2026, 2, 20, 6)), ("week", us(2026, 2, 16, 6)), ("month", us(2026, 2, 1, 6))],
)
def test_runs_that_were_missed_are_one(every, latest):
    first = next_slot(us(2025, 12, 31), every, time(6), "UTC")
    assert latest_slot(first, us(2026, 2, 20, 7), every, time(6), "UTC") == latest


def test_days_are_neither_missed_nor_twice_however_long_nothing_ran():
    covered, seen = None, []
    for slot in (date(2026, 3, 5), date(2026, 3, 6), date(2026, 3, 20), date(2026, 3, 20)):
        days = days_covered(slot, "day", covered)
        if days is None:
            continue
        covered = days[1]
        seen += [days[0] + timedelta(n) for n in range((days[1] - days[0]).days + 1)]
    assert seen == [date(2026, 3, 4) + timedelta(n) for n in range(16)]


def test_the_first_run_covers_the_period_before():
    assert days_covered(date(2026, 3, 9), "week", None) == (date(2026, 3, 2), date(2026, 3, 8))
    assert days_covered(date(2026, 3, 1), "month", None) == (date(2026, 2, 1), date(2026, 2, 28))


def test_days_are_those_of_the_zone():
    assert local_day(us(2026, 6, 30, 23, 30), ZONE) == date(2026, 7, 1)
