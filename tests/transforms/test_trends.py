"""Periods, what lies before them, formulas and visits, each against a plain loop."""

from __future__ import annotations

import math
import random
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from tests import exact_brute
from transforms import formula
from transforms.formula import FormulaError
from transforms.grid import GRAINS, HOUR_US, day_span_us
from transforms.trends import (
    Grid,
    cumulative,
    days_before,
    moving_average,
    partners,
    visits,
)

ZONES = ["Europe/London", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Sao_Paulo", "UTC"]
DAYS = [date(2026, 10, 25), date(2026, 3, 29), date(2026, 10, 4), date(2018, 11, 4)]


def clock(us: int, zone: str) -> datetime:
    return datetime.fromtimestamp(us // 1_000_000, UTC).astimezone(ZoneInfo(zone))


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("middle", DAYS)
def test_hours_are_those_of_the_clock_on_the_wall(zone: str, middle: date) -> None:
    grid = Grid.of((middle - timedelta(1), middle + timedelta(1)), "hour", zone)
    start, end = grid.span
    assert start == day_span_us(middle - timedelta(1), zone)[0]
    assert end == day_span_us(middle + timedelta(1), zone)[1]
    keys = [period.key for period in grid.periods]
    assert len(set(keys)) == len(keys)
    assert all(a.end == b.start for a, b in zip(grid.periods, grid.periods[1:], strict=False))
    numbers, unit = grid.numbers(), grid.unit()
    for at in range(start, end, 300_000_000):
        period = grid.periods[numbers[(at - start) // unit]]
        assert period.start <= at < period.end
        shown = clock(at, zone)
        into = timedelta(minutes=shown.minute, seconds=shown.second) // timedelta(microseconds=1)
        assert period.key == at - into
        assert period.label[:13] == f"{shown:%Y-%m-%dT%H}"


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("grain", ["day", "week", "month"])
@pytest.mark.parametrize("days", [(date(2026, 9, 10), date(2026, 11, 3)), (DAYS[0], DAYS[0])])
def test_periods_hold_the_instants_of_their_days(grain, zone, days):
    grid = Grid.of(days, grain, zone)
    start, end = grid.span
    assert (start, end) == (day_span_us(days[0], zone)[0], day_span_us(days[1], zone)[1])
    rng = random.Random(3)
    for at in [start, end - 1, *(rng.randrange(start, end) for _ in range(200))]:
        period = grid.periods[grid.numbers()[(at - start) // grid.unit()]]
        assert period.start <= at < period.end
        assert period.first == exact_brute.period_of(at, grain, zone)
        assert period.label == max(period.first, days[0]).isoformat()
    whole = grain == "day"
    assert [period.is_cut for period in (grid.periods[0], grid.periods[-1])] == [not whole] * 2


def test_a_day_has_23_24_or_25_hours():
    lengths = [
        len(Grid.of((day, day), "hour", "Europe/London").periods)
        for day in (date(2026, 3, 29), date(2026, 3, 30), date(2026, 10, 25))
    ]
    assert lengths == [23, 24, 25]
    twice = [
        period.label for period in Grid.of((DAYS[0], DAYS[0]), "hour", "Europe/London").periods
    ]
    assert twice[1:3] == ["2026-10-25T01:00+01:00", "2026-10-25T01:00+00:00"]


@pytest.mark.parametrize(
    ("days", "grain", "same_weekdays", "expected"),
    [
        (("2026-03-10", "2026-03-19"), "day", False, ("2026-02-28", "2026-03-09")),
        (("2026-03-10", "2026-03-19"), "day", True, ("2026-02-24", "2026-03-05")),
        (("2026-03-10", "2026-03-10"), "hour", True, ("2026-03-03", "2026-03-03")),
        (("2026-03-10", "2026-03-16"), "day", True, ("2026-03-03", "2026-03-09")),
        (("2026-03-11", "2026-03-17"), "week", False, ("2026-02-25", "2026-03-03")),
        (("2026-03-01", "2026-03-31"), "month", False, ("2026-02-01", "2026-02-28")),
        (("2026-01-10", "2026-03-15"), "month", False, ("2025-10-10", "2025-12-15")),
        (("2026-03-31", "2026-03-31"), "month", False, ("2026-02-28", "2026-02-28")),
        (("2026-02-01", "2026-02-28"), "month", False, ("2026-01-01", "2026-01-31")),
    ],
)  # fmt: skip
def test_the_days_before(days, grain, same_weekdays, expected):
    first, last = map(date.fromisoformat, days)
    found = days_before((first, last), grain, same_weekdays=same_weekdays)
    assert tuple(day.isoformat() for day in found) == expected


@given(st.dates(date(2020, 1, 1), date(2030, 1, 1)), st.integers(0, 400),
       st.sampled_from(GRAINS), st.booleans())  # fmt: skip
def test_before_there_are_as_many_periods_and_none_is_in_both(first, more, grain, same_weekdays):
    days = (first, first + timedelta(more))
    before = days_before(days, grain, same_weekdays=same_weekdays)
    assert before[1] < days[0]
    if grain != "hour":
        there = [len(Grid.of(d, grain, "Europe/London").periods) for d in (days, before)]
        assert there[0] == there[1]
    if grain == "week" or (grain == "day" and same_weekdays):
        assert before[0].weekday() == first.weekday()


def test_hours_are_compared_by_their_name():
    short, long = (
        Grid.of((day, day), "hour", "Europe/London")
        for day in (date(2026, 3, 29), date(2026, 10, 25))
    )
    pairs = partners(short, long)
    names = [
        (period.label[11:16], pair and long.periods[pair].label[11:16])
        for period, pair in zip(short.periods, pairs, strict=True)
    ]
    assert all(name == other for name, other in names[1:])
    assert partners(long, short)[1:3] == [None, None]  # one o'clock is not there in spring


NUMBERS = st.lists(st.one_of(st.none(), st.integers(-100, 100)), max_size=30)


@given(NUMBERS, st.integers(1, 10))
def test_means_and_sums_so_far(values, count):
    averages, sums = moving_average(values, count), cumulative(values)
    for at in range(len(values)):
        near = values[at - count + 1 : at + 1] if at + 1 >= count else []
        if near and None not in near:
            assert averages[at] == pytest.approx(sum(near) / count)
        else:
            assert averages[at] is None
        assert sums[at] == sum(value or 0 for value in values[: at + 1])


# -- Formulas.

LETTERS = {"A": 2.0, "B": -3.5, "C": 0.0, "D": 7.0}
TEXTS = st.recursive(
    st.sampled_from([*LETTERS, "1", "0.5", "100", "0"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"{t[0]} {t[1]} {t[2]}"),
        inner.map(lambda text: f"({text})"),
        inner.map(lambda text: f"-({text})"),
    ),
    max_leaves=8,
)


@budget(max_examples=500)
@given(TEXTS.filter(lambda text: len(text) <= formula.MOST_CHARACTERS))
def test_a_formula_is_what_python_makes_of_it(text):
    try:
        expected = eval(text, {"__builtins__": {}}, LETTERS)
    except ZeroDivisionError:
        expected = None
    found = formula.read(text)
    assert found.letters == {letter for letter in LETTERS if letter in text}
    result = found(LETTERS)
    assert result == (None if expected is None else pytest.approx(expected))


def test_what_has_no_value_makes_none():
    assert formula.read("A + 1")({"A": None}) is None
    assert formula.read("a / (B - B)")({"A": 1.0, "B": 2.0}) is None
    assert formula.read("A * 9999999999")({"A": 1e300}) is None
    assert not math.isnan(formula.read("A / B")({"A": 1.0, "B": 3.0}) or math.nan)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a number, a letter or ( wanted at character 1, there is nothing"),
        ("A +", "wanted at character 4, there is nothing"),
        ("A B", "an operator or the end wanted at character 3, there is 'B'"),
        ("A ** B", "wanted at character 4, there is '*'"),
        ("(A", ") wanted"),
        ("A)", "there is ')'"),
        ("A.real", "there is '.'"),
        ("__import__('os')", "there is '_'"),
        ("1e5", "there is 'E'"),
        ("A % B", "there is '%'"),
        ("A\0", "wanted at character 2"),
        ("(" * 150, "nested deeper than 30"),
        ("-" * 150 + "1", "nested deeper than 30"),
        ("1" * 201, "at most 200"),
    ],
)
def test_what_is_no_formula_is_explained(text, message):
    with pytest.raises(FormulaError) as refused:
        formula.read(text)
    assert message in str(refused.value)


# -- Visits.


@budget(max_examples=200, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["Europe/London", "UTC"]))
def test_visits_are_those_of_the_brute_force_loop(seed, zone):
    rng = random.Random(seed)
    start = day_span_us(date(2026, 10, 23), zone)[0]
    steps = [0, 1, 600_000_000, HOUR_US // 2, HOUR_US // 2 + 1, HOUR_US, 20 * HOUR_US]
    weights = rng.choice([[1] * 7, [1, 1, 60, 30, 1, 1, 1]])  # some are never silent for days
    rows, at = [], {who: start + rng.randrange(HOUR_US) for who in (1, 2)}
    for number in range(rng.randrange(400)):
        who = rng.choice((1, 2))
        at[who] += rng.choices(steps, weights)[0]
        rows.append({"project": "demo", "user_id": str(who), "event_time": at[who],
                     "event_id": f"{number:04}", "hit": rng.random() < 0.3})  # fmt: skip
    expected = []
    for session in exact_brute.sessions(rows, zone):
        hits = [row for row in session if row["hit"]]
        expected += [(hits[0]["user_id"], hits[0]["event_time"])] if hits else []
    rows.sort(key=lambda row: (row["user_id"], row["event_time"]))
    last = max(at.values())
    midnights, day = [], date(2026, 10, 23)
    while (midnight := day_span_us(day, zone)[0]) <= last:
        midnights.append(midnight)
        day += timedelta(1)
    found = visits(
        np.array([int(row["user_id"]) for row in rows], np.uint64),
        np.array([row["event_time"] for row in rows], np.int64),
        np.array([row["hit"] for row in rows], np.bool_),
        np.array(midnights, np.int64),
    )
    assert sorted((rows[n]["user_id"], rows[n]["event_time"]) for n in found) == sorted(expected)
