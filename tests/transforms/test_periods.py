"""Periods: the zone's own days, weeks and months, and sets of them as bits."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import people
from transforms.periods import Periods, one_bit, spread

ZONES = ["UTC", "Europe/London", "America/Sao_Paulo", "Asia/Kathmandu", "America/Havana"]
HOUR_US = 3_600_000_000
some_day = st.dates(date(2015, 1, 1), date(2026, 12, 31))


@given(some_day, st.integers(0, 100), st.sampled_from(["day", "week", "month"]),
       st.sampled_from(ZONES), st.data())  # fmt: skip
def test_an_instant_lies_in_the_period_of_its_local_day(first, length, grain, zone, data):
    last = first + timedelta(length)
    found = Periods.of((first, last), grain, zone)
    assert list(found.firsts) == people.calendar(first, last, grain)
    at = data.draw(st.integers(found.span[0], found.span[1] - 1))
    number = int(np.searchsorted(found.bounds, at, side="right")) - 1
    assert found.firsts[number] == people.start_of(people.day_of(at, zone), grain)
    for bound, day in zip(found.bounds, found.firsts, strict=False):
        assert people.day_of(bound, zone) == day
        assert people.day_of(bound - 1, zone) < day


def test_days_have_23_and_25_hours_where_the_clocks_change():
    spring = Periods.of((date(2026, 3, 28), date(2026, 3, 30)), "day", "Europe/London")
    autumn = Periods.of((date(2026, 10, 24), date(2026, 10, 26)), "day", "Europe/London")
    assert [int(n) // HOUR_US for n in np.diff(spring.bounds)] == [24, 23, 24]
    assert [int(n) // HOUR_US for n in np.diff(autumn.bounds)] == [24, 25, 24]
    assert [segment.first for segment in autumn.segments()] == [0, 1, 2]


@given(some_day, st.integers(0, 400), st.sampled_from(["day", "week", "month"]))
def test_segments_cover_all_periods(first, length, grain):
    found = Periods.of((first, first + timedelta(length)), grain, "Europe/London")
    bounds = []
    segments = found.segments()
    for segment, end in zip(segments, [*segments[1:], None], strict=True):
        count = (end.first if end else len(found)) - segment.first
        bounds += [segment.start + n * segment.length for n in range(count)]
    assert tuple(bounds) == found.bounds[:-1]


def test_periods_before_and_those_that_are_over():
    found = Periods.of((date(2026, 1, 15), date(2026, 2, 10)), "month", "UTC", before=1)
    assert found.firsts == (date(2025, 12, 1), date(2026, 1, 1), date(2026, 2, 1))
    end_of_january = round(datetime(2026, 2, 1, tzinfo=UTC).timestamp() * 1e6)
    assert (found.over(end_of_january - 1), found.over(end_of_january)) == (1, 2)


@pytest.mark.parametrize("periods", [1, 63, 64, 65, 128, 200])
def test_bits_come_back_as_they_went_in(periods):
    rng = np.random.default_rng(periods)
    wanted = rng.random((50, periods)) < 0.3
    sets = [set(np.flatnonzero(row).tolist()) for row in wanted]
    (found,) = spread(people.words(sets, periods), periods)
    assert (found == wanted).all()


@given(st.lists(st.integers(-3, 140), min_size=1), st.integers(1, 130))
def test_one_bit_is_a_set_of_one_or_none(numbers, periods):
    wanted = people.words([{n} if 0 <= n < periods else set() for n in numbers], periods)
    found = one_bit(np.array(numbers), periods)
    assert [w.tolist() for w in found] == [w.tolist() for w in wanted]
