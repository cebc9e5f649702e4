"""Volumes against the same weekdays, fields against a sample: by hand, by loops, at random."""

from __future__ import annotations

import json
import random
from collections import Counter
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.quality import (
    BEFORE_DAYS,
    LEAST_WEEKS,
    WEEKS,
    Finding,
    Profile,
    band,
    compare,
    days_of,
    overall,
    profile,
)

MONDAY = date(2026, 9, 14)
FAR = MONDAY + timedelta(days=365)


def daily(count: int, days: int = 70, before: date = MONDAY) -> dict[date, int]:
    return {before - timedelta(days=n): count for n in range(1, days + 1)}


# -- Volumes


@given(st.lists(st.integers(0, 10_000), max_size=WEEKS))
def test_a_band_is_three_robust_spreads_around_the_median(before: list[int]) -> None:
    made = band(before)
    if len(before) < LEAST_WEEKS:
        assert made is None
        return
    assert made is not None
    middle = float(np.median(before))
    mad = float(np.median(np.abs(np.array(before) - middle)))
    spread = max(1.4826 * mad, middle**0.5, 0.05 * middle)
    assert made.middle == middle
    assert made.low == pytest.approx(max(0, middle - 3 * spread))
    assert made.high == pytest.approx(middle + 3 * spread)
    assert made.weeks == len(before)


def test_one_holiday_moves_nothing() -> None:
    usual, holiday = band([1000] * 8), band([1000] * 7 + [20])
    assert usual == holiday


def test_weekdays_are_compared_with_themselves() -> None:
    """Ten a day, and a hundred on Sundays: no Sunday is high, no Monday low."""
    counts = {d: 100 if d.weekday() == 6 else 10 for d in daily(0)}
    week = [MONDAY + timedelta(days=n) for n in range(7)]
    counts |= {d: 100 if d.weekday() == 6 else 10 for d in week}
    assert [one.state for one in days_of(counts, week, FAR)] == ["ok"] * 7
    counts[week[6]], counts[week[0]] = 10, 100
    found = days_of(counts, week, FAR)
    assert (found[0].state, found[6].state) == ("high", "low")


def test_a_day_that_is_not_over_is_not_judged() -> None:
    counts = daily(100) | {MONDAY: 3}
    assert days_of(counts, [MONDAY], MONDAY)[0].state == "unfinished"
    assert days_of(counts, [MONDAY], MONDAY + timedelta(days=1))[0].state == "low"


def test_days_before_the_first_event_are_no_zeros() -> None:
    counts = daily(100, days=15) | {MONDAY: 100}
    found = days_of(counts, [MONDAY], FAR)[0]
    assert (found.state, found.band) == ("unknown", None)  # two Mondays are too few
    later = daily(100, days=22) | {MONDAY: 100}
    assert days_of(later, [MONDAY], FAR)[0].state == "ok"


def test_new_and_vanished() -> None:
    def state(counts: dict[date, int], days: int = 7) -> str:
        week = [MONDAY + timedelta(days=n) for n in range(days)]
        return overall(counts, days_of(counts, week, FAR))

    assert state({MONDAY: 5}) == "new"
    assert state(daily(10)) == "vanished"
    # Once a week: nothing on a day says nothing.
    rare = {MONDAY - timedelta(days=7 * n): 1 for n in range(1, 9)}
    assert state(rare, 1) in ("ok", "low", "unknown")
    assert state(rare | {MONDAY: 1}, 1) == "ok"
    before = {d: n for d, n in daily(10).items() if d < MONDAY - timedelta(days=BEFORE_DAYS)}
    assert state(before | {MONDAY: 4}) == "new"


@given(
    st.lists(st.tuples(st.integers(-70, 20), st.integers(0, 300)), max_size=60),
    st.integers(1, 20),
    st.integers(0, 25),
)
def test_days_are_judged_as_a_loop_judges_them(
    given: list[tuple[int, int]], length: int, over: int
) -> None:
    counts: dict[date, int] = {}
    for offset, n in given:
        counts[MONDAY + timedelta(days=offset)] = n
    days = [MONDAY + timedelta(days=n) for n in range(length)]
    end = MONDAY + timedelta(days=over)
    seen = [d for d in counts if counts[d] > 0]
    for one in days_of(counts, days, end):
        same = []
        for week in range(1, 9):
            earlier = one.day - timedelta(days=7 * week)
            if seen and earlier >= min(seen):
                same.append(counts.get(earlier, 0))
        n = counts.get(one.day, 0)
        if one.day >= end:
            expected = "unfinished"
        elif len(same) < 3:
            expected = "unknown"
        else:
            middle = float(np.median(same))
            mad = float(np.median([abs(x - middle) for x in same]))
            width = 3 * max(1.4826 * mad, middle**0.5, middle / 20)
            expected = "low" if n < middle - width else "high" if n > middle + width else "ok"
        assert (one.state, one.events) == (expected, n)


@pytest.mark.parametrize("level", [30, 300, 30_000])
def test_streams_without_a_change_raise_few_alarms(level: int) -> None:
    """A year of days with a weekly season, holidays and noise; then a day with half of it."""
    rng = np.random.default_rng(level)
    season = [1.0, 1.1, 1.0, 0.9, 1.2, 0.5, 0.4]
    start = date(2025, 1, 6)
    counts = {}
    for n in range(365):
        day = start + timedelta(days=n)
        mean = level * season[day.weekday()] * rng.lognormal(0, 0.05)
        counts[day] = int(rng.poisson(mean))
    days = [start + timedelta(days=n) for n in range(WEEKS * 7, 365)]
    judged = days_of(counts, days, FAR)
    alarms = sum(one.state != "ok" for one in judged) / len(judged)
    assert alarms < 0.03
    halved = [
        days_of(counts | {day: counts[day] // 3}, [day], FAR)[0].state for day in days
    ]  # fmt: skip
    assert halved.count("low") / len(halved) > (0.9 if level > 100 else 0.4)


# -- Fields


def made(*samples: dict[str, Any]) -> Profile:
    return profile(json.dumps(one) for one in samples)


def test_a_profile_counts_kinds_and_knows_null_from_value() -> None:
    found = profile(
        [
            '{"a": 1, "b": null, "c": {"d": "x", "e": {"f": {"g": 1}}}, "l": [1]}',
            b'{"a": 2.5, "t": true}',
            '{"a": "1"}',
            "[1]",
            "not json",
        ]
    )
    assert found.samples == 5
    assert {name: dict(one.kinds) for name, one in found.fields.items()} == {
        "a": {"number": 2, "text": 1},
        "c": {"object": 1},
        "c.d": {"text": 1},
        "c.e": {"object": 1},
        "c.e.f": {"object": 1},
        "l": {"list": 1},
        "t": {"boolean": 1},
    }
    assert found.empty_share("a") == pytest.approx(0.4)
    assert found.empty_share("b") == 1


def test_new_missing_and_changed_fields() -> None:
    before = made(*[{"price": 1, "colour": "red", "n": i} for i in range(100)])
    now = made(*[{"price": "1", "size": "L", "n": i + 0.5} for i in range(100)])
    assert compare(before, now) == [
        Finding("colour", "missing", "text", ""),
        Finding("price", "changed type", "number", "text"),
        Finding("size", "new", "", "text"),
    ]
    assert compare(before, before) == []


def test_a_field_that_is_more_often_empty() -> None:
    before = made(*[{"a": 1 if i % 10 else None} for i in range(500)])
    now = made(*[{"a": 1 if i % 2 else None} for i in range(500)])
    assert compare(before, now) == [Finding("a", "more often empty", "10% empty", "50% empty")]
    assert compare(now, before) == [Finding("a", "less often empty", "50% empty", "10% empty")]


def test_what_a_small_sample_misses_by_chance_is_no_finding() -> None:
    rare = made(*[{"a": 1, **({"rare": 1} if i == 0 else {})} for i in range(200)])
    usual = made(*[{"a": 1} for _ in range(200)])
    assert compare(usual, rare) == []
    assert compare(rare, usual) == []
    few = made({"b": 1}, {"b": 2})
    # What was always there is missed at once.
    assert compare(usual, few) == [
        Finding("a", "missing", "number", ""),
        Finding("b", "new", "", "number"),
    ]
    assert compare(made(), usual) == []


def test_data_as_names_is_cut_and_said() -> None:
    wild = made({f"id{n}": n for n in range(2_000)})
    assert wild.cut
    assert len(wild.fields) == 500
    usual = made(*[{"other": 1}] * 50)
    # It may have been among those that are not kept.
    assert "other" not in [one.field for one in compare(wild, usual) + compare(usual, wild)]


FIELD = st.sampled_from(["a", "b", "c"])
VALUE = st.one_of(st.none(), st.integers(0, 3), st.text(max_size=2), st.booleans())
SAMPLE = st.dictionaries(FIELD, VALUE, max_size=3)


@given(st.lists(SAMPLE, max_size=40), st.lists(SAMPLE, max_size=40))
def test_findings_are_what_a_loop_finds(old: list[Any], new: list[Any]) -> None:
    def kinds(samples: list[Any], name: str) -> Counter[str]:
        names = {bool: "boolean", int: "number", str: "text"}
        values = [one[name] for one in samples if one.get(name) is not None]
        return Counter(names[type(value)] for value in values)

    expected = {}
    for name in ("a", "b", "c") if old and new else ():
        was, is_ = kinds(old, name), kinds(new, name)
        p, q = was.total() / len(old), is_.total() / len(new)
        if not was and is_ and (1 - q) ** len(old) <= 0.001:
            expected[name] = "new"
        elif was and not is_ and (1 - p) ** len(new) <= 0.001:
            expected[name] = "missing"
        elif was and is_:
            fresh = [n for kind, n in is_.items() if kind not in was]
            both = (was.total() + is_.total()) / (len(old) + len(new))
            error = (both * (1 - both) * (1 / len(old) + 1 / len(new))) ** 0.5
            if any((1 - n / is_.total()) ** was.total() <= 0.001 for n in fresh):
                expected[name] = "changed type"
            elif abs(p - q) >= 0.05 and abs(p - q) > 4 * error:
                expected[name] = "more often empty" if q < p else "less often empty"
    found = compare(made(*old), made(*new))
    assert {one.field: one.what for one in found} == expected


@given(st.lists(SAMPLE, min_size=1, max_size=30), st.randoms())
def test_the_order_of_samples_changes_nothing(samples: list[Any], rng: random.Random) -> None:
    other = list(samples)
    rng.shuffle(other)
    assert made(*samples).fields.keys() == made(*other).fields.keys()
    assert compare(made(*samples), made(*other)) == []
