"""Shares of causes against plain loops; whatever the numbers are, they add up."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms import parity
from transforms.parity import CAUSES, STEPS, Estimate, Key, LiveRule

HORIZON = 600
KEY = Key("demo", date(2026, 9, 21), "events", "{}")
numbers = st.integers(-50, 50)
Row = dict[str, Any]


@given(
    st.dictionaries(st.sampled_from(STEPS), numbers), numbers, numbers,
    st.sampled_from([0.0, 0.016, 0.5]),
)  # fmt: skip
def test_the_shares_add_up_to_the_difference(
    steps: dict[str, int], live: int, exact: int, error: float
) -> None:
    row: dict[str, Any] = parity.explain(KEY, Estimate(live, error), exact, steps)
    taken = sum(row[cause] for cause in CAUSES)
    assert exact - taken + row["repeats"] + row["sketch"] + row["unexplained"] == live
    assert abs(row["sketch"]) <= row["bound"]
    assert error or row["sketch"] == row["bound"] == 0
    again = steps.get(parity.LIVE_MOST, 0) - steps.get(parity.TIMELY, 0)
    assert min(again, 0) <= row["repeats"] <= max(again, 0)


def rows_of(rows: list[Row]) -> pl.DataFrame:
    types = {"project": pl.String, "key": pl.UInt64, "key2": pl.UInt64, "event_time": pl.Int64,
             "received_time": pl.Int64, "producer": pl.String, "seq": pl.Int64,
             "row": pl.Int64}  # fmt: skip
    return pl.DataFrame(rows, schema=types, orient="row")


@st.composite
def batches(draw: st.DrawFn) -> list[Row]:
    rows = []
    for n in range(draw(st.integers(0, 12))):
        key, at = draw(st.integers(0, 3)), draw(st.integers(0, 5000))
        rows.append({
            "project": "demo", "key": key, "key2": key, "event_time": at,
            "received_time": at + draw(st.integers(0, 2 * HORIZON)),
            "producer": draw(st.sampled_from(["collector-0-a", "import-1"])), "seq": n, "row": 0,
        })  # fmt: skip
    return rows


def first_copies(rows: list[Row]) -> set[int]:
    found: dict[int, Row] = {}
    for row in sorted(rows, key=lambda r: (r["received_time"], r["producer"], r["seq"])):
        found.setdefault(row["key"], row)
    return {row["seq"] for row in found.values()}


@settings(max_examples=200, deadline=None)
@given(batches(), st.integers(0, 5000))
def test_each_step_leaves_out_what_its_cause_does(rows: list[Row], since: int) -> None:
    rule = LiveRule(HORIZON, {"demo": since}, "collector-")
    steps = {step: set(found["seq"]) for step, found in parity.steps_of(rows_of(rows), rule)}
    bus = [r for r in rows if r["producer"].startswith("collector-")]
    started = [r for r in bus if r["event_time"] >= since]
    timely = [r for r in started if r["received_time"] - r["event_time"] <= HORIZON]
    assert steps[parity.ARCHIVE] == first_copies(rows)
    assert steps[parity.BUS] == first_copies(bus)
    assert steps[parity.SINCE] == first_copies(started)
    assert steps[parity.TIMELY] == first_copies(timely)
    most, last = set(), dict[int, int]()
    for row in sorted(timely, key=lambda r: (r["received_time"], r["producer"], r["seq"])):
        if row["received_time"] - last.get(row["key"], -(1 << 60)) > 2 * HORIZON:
            most.add(row["seq"])
        last[row["key"]] = row["received_time"]
    assert steps[parity.LIVE_MOST] == most
    assert steps[parity.TIMELY] <= most


def test_counts_are_compared_in_total_and_sums_by_currency() -> None:
    day = KEY.day
    found = parity.compared([
        (("demo", "events", '{"name":"a"}', day), 3), (("demo", "events", '{"name":"b"}', day), 4),
        (("demo", "revenue", '{"currency":"GBP"}', day), 5),
        (("demo", "session_starts", "{}", day), 6),
    ])  # fmt: skip
    assert found == {
        Key("demo", day, "events", "{}"): 7,
        Key("demo", day, "revenue", '{"currency":"GBP"}'): 5,
    }


def test_what_the_exact_table_says_of_the_same_numbers() -> None:
    day = KEY.day
    found = parity.exact_values([
        ("demo", day, "events", "{}", 7), ("demo", day, "events", '{"name":"a"}', 3),
        ("demo", day, "active_users", "{}", 2), ("demo", day, "conversion_rate", "{}", 1),
        ("demo", day, "revenue", '{"currency":"GBP"}', 5), ("demo", day, "sessions", "{}", 6),
        ("demo", day, "somebody's own", "{}", 8),
    ])  # fmt: skip
    assert {key.statistic: value for key, value in found.items()} == {
        "events": 7, "people": 2, "buyers": 1, "revenue": 5,
    }  # fmt: skip
