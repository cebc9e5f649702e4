"""The effect of a launch against scipy, a loop, and many series in which nothing happened."""

from __future__ import annotations

import math
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from transforms.before_after import Effect, NotComputable, dependence, effect

MONDAY = date(2026, 1, 5)
DAY, WEEK = timedelta(1), timedelta(7)


def series(start: date, values: list[float], step: timedelta = DAY) -> dict[date, float]:
    return {start + n * step: float(value) for n, value in enumerate(values)}


def test_with_one_weekday_it_is_welchs_test():
    rng = np.random.default_rng(3)
    before, after = rng.normal(100, 9, 15), rng.normal(104, 20, 8)
    found = effect(
        series(MONDAY, list(before), WEEK), series(MONDAY + 15 * WEEK, list(after), WEEK)
    )
    test = stats.ttest_ind(after, before, equal_var=False)
    low, high = test.confidence_interval(0.95)
    assert isinstance(found, Effect)
    assert math.isclose(found.p, test.pvalue)
    assert math.isclose(found.low, low)
    assert math.isclose(found.high, high)
    assert math.isclose(found.change, after.mean() - before.mean())


def by_a_loop(before: dict[date, float], after: dict[date, float]) -> tuple[float, float, float]:
    """Change and the ends of its interval, written down again from the definition."""
    levels = {w: [v for d, v in before.items() if d.weekday() == w] for w in range(7)}
    expected = [sum(levels[d.weekday()]) / len(levels[d.weekday()]) for d in after]
    change = sum(after.values()) / len(after) - sum(expected) / len(expected)

    def spread(days: dict[date, float]) -> tuple[float, int]:
        total, free = 0.0, 0
        for weekday in range(7):
            values = [v for d, v in days.items() if d.weekday() == weekday]
            if values:
                mean = sum(values) / len(values)
                total += sum((v - mean) ** 2 for v in values)
                free += len(values) - 1
        return total / free, free

    (sb, fb), (sa, fa) = spread(before), spread(after)
    weights = 0.0
    for weekday in range(7):
        share = sum(d.weekday() == weekday for d in after) / len(after)
        weights += share**2 / len(levels[weekday])
    vb, va = sb * weights, sa / len(after)
    free = (va + vb) ** 2 / (va**2 / fa + vb**2 / fb)
    half = stats.t.ppf(0.975, free) * math.sqrt(va + vb)
    return change, change - half, change + half


values = st.lists(st.integers(0, 1000), min_size=21, max_size=60)


@given(values, values)
def test_against_a_loop(before_values, after_values):
    before = series(MONDAY, before_values)
    after = series(MONDAY + len(before) * DAY, after_values)
    found = effect(before, after)
    if isinstance(found, NotComputable):  # all the same on each weekday
        assert found.reason.startswith("the number is the same")
        return
    assert np.allclose((found.change, found.low, found.high), by_a_loop(before, after))
    if found.relative is not None:
        assert math.isclose(found.relative, found.after / found.before - 1, abs_tol=1e-12)


def simulated(rng: np.random.Generator, weekly: bool, before: int, after: int) -> float:
    """Does the interval hold nought, where nothing changed?"""
    level = 1000 + (np.array([0, 20, 30, 10, -50, -400, -350]) if weekly else np.zeros(7))
    days = [level[n % 7] + rng.normal(0, 40) for n in range(before + after)]
    found = effect(series(MONDAY, days[:before]), series(MONDAY + before * DAY, days[before:]))
    assert isinstance(found, Effect)
    assert found.relative_low is not None
    assert found.relative_high is not None
    return found.low <= 0 <= found.high


@pytest.mark.parametrize("weekly", [False, True])
@pytest.mark.parametrize(("before", "after"), [(56, 28), (28, 14), (14, 7), (60, 9)])
def test_an_interval_of_95_percent_holds_the_truth_in_95_percent(weekly, before, after):
    rng = np.random.default_rng(before * 100 + after + weekly)
    share = sum(simulated(rng, weekly, before, after) for _ in range(500)) / 500
    assert 0.92 <= share <= 0.98


def test_the_weekend_is_no_effect_but_a_plain_comparison_says_it_is():
    rng = np.random.default_rng(5)
    low_weekend = [1000, 1000, 1000, 1000, 1000, 200, 200]
    days = [low_weekend[n % 7] + rng.normal(0, 10) for n in range(33)]
    found = effect(series(MONDAY, days[:23]), series(MONDAY + 23 * DAY, days[23:]))
    assert isinstance(found, Effect)
    assert found.low <= 0 <= found.high
    assert found.high - found.low < 40
    plain = stats.ttest_ind(days[23:], days[:23], equal_var=False).confidence_interval(0.95)
    assert plain.high - plain.low > 400


@pytest.mark.parametrize("change", [30, -30])
def test_a_change_is_found(change):
    rng = np.random.default_rng(7)
    days = [100 + 20 * (n % 7 == 6) + rng.normal(0, 5) for n in range(56)]
    after = [value + change for value in days[28:]]
    found = effect(series(MONDAY, days[:28]), series(MONDAY + 28 * DAY, after))
    assert isinstance(found, Effect)
    assert found.low < change < found.high
    assert found.p < 1e-9
    assert found.relative is not None
    assert math.isclose(found.relative, change / found.before, rel_tol=0.2)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (range(28), range(6), "there are 6 days after; at least 7 are needed"),
        (range(28), range(1), "there is 1 day after"),
        (range(13), range(14), "there are 13 days before; at least 14 are needed"),
        ([7] * 28, [7] * 14, "the number is the same on all days of a weekday"),
    ],
)
def test_too_little_is_not_computable_because(before, after, reason):
    days = list(before)
    found = effect(series(MONDAY, days), series(MONDAY + len(days) * DAY, list(after)))
    assert isinstance(found, NotComputable)
    assert reason in found.reason


def test_a_weekday_that_is_missing_before():
    before = {day: 1.0 * n for n, day in enumerate(series(MONDAY, [0] * 28)) if day.weekday() != 6}
    found = effect(before, series(MONDAY + 28 * DAY, list(range(14))))
    assert isinstance(found, NotComputable)
    assert "some weekday does not occur twice before" in found.reason


def test_nothing_before_has_no_relative_change():
    rng = np.random.default_rng(1)
    found = effect(
        series(MONDAY, [0] * 28), series(MONDAY + 28 * DAY, list(rng.integers(1, 9, 14)))
    )
    assert isinstance(found, Effect)
    assert (found.relative, found.relative_low, found.relative_high) == (None, None, None)


def test_days_that_are_like_the_day_before_are_seen():
    rng = np.random.default_rng(11)
    chance = rng.normal(0, 1, 400)
    alike = [0.0]
    for one in chance:
        alike.append(0.7 * alike[-1] + one)
    assert 0.55 < dependence(series(MONDAY, alike)) < 0.85
    assert abs(dependence(series(MONDAY, list(chance)))) < 0.15
    assert dependence(series(MONDAY, [5] * 21)) == 0.0
