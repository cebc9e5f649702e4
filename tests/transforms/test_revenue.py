"""Which copies and repeated orders do not count, against a plain loop over all pairs."""

from __future__ import annotations

import random
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import exact_brute
from tests.streams import NOON
from transforms import dedup
from transforms.repeats import (
    EVENT_REACH_US,
    ORDER_OF_ORDERS,
    ORDER_REACH_US,
    key_columns,
    later_copies,
    orders_of,
)

HOUR_US = 3_600_000_000
TYPES = {
    **dict.fromkeys(("project", "source", "type", "event_id", "name", "order_id"), pl.String()),
    **dict.fromkeys(("event_time", "received_time", "seq", "revenue_minor"), pl.Int64()),
    "producer": pl.String(),
    "row": pl.Int32(),
    "currency": pl.String(),
}
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "event_id": st.sampled_from("abc"),
            "source": st.sampled_from(["web", "app"]),
            "name": st.sampled_from(["Order Completed", "order completed", "Order Line", None]),
            "order_id": st.sampled_from(["o1", "o2", None]),
            "revenue_minor": st.sampled_from([None, -5, 0, 5, 900]),
            # At, below and above both reaches.
            "event_time": st.sampled_from([0, 1, 22, 23, 24, 46, 47, 767, 768, 769, 1536]).map(
                lambda hours: NOON + hours * HOUR_US
            ),
            "received_time": st.integers(0, 5).map(lambda n: NOON + 2000 * HOUR_US + n),
        }
    ),
    max_size=20,
)


def filled(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    shared = {"project": "p", "type": "track", "producer": "x-0", "seq": 1, "currency": "GBP",
              "name": "Order Completed"}  # fmt: skip
    return [{**shared, **row, "row": n} for n, row in enumerate(rows)]


def later(rows: pl.DataFrame, *, orders: bool) -> set[int]:
    """Numbers of the rows that do not count."""
    if orders:
        taking, key = orders_of(rows), ("project", "order_id")
        order, reach = ORDER_OF_ORDERS, ORDER_REACH_US
    else:
        taking, key, order, reach = rows, dedup.KEY, dedup.ORDER, EVENT_REACH_US
    found = later_copies(taking.with_columns(key_columns(key)), order, reach)
    return set(found["row"])


@given(ROWS, st.randoms(use_true_random=False))
def test_the_loop_over_all_pairs_says_the_same_in_any_order(
    given_rows: list[dict[str, Any]], rng: random.Random
) -> None:
    rows = filled(given_rows)
    frame = pl.DataFrame(rng.sample(rows, len(rows)), schema=TYPES)
    settled, repeats = exact_brute.counted(rows)
    assert later(frame, orders=False) == {row["row"] for row in repeats}
    again = later(frame, orders=True)
    kept = {row["row"]: row for row in settled}
    lost = {n for n, row in kept.items() if row["order_id"] != rows[n]["order_id"]}
    assert again & kept.keys() == lost


@given(ROWS)
def test_no_order_counts_twice_within_reach_nor_in_two_currencies(
    given_rows: list[dict[str, Any]],
) -> None:
    frame = pl.DataFrame(filled(given_rows), schema=TYPES)
    again = later(frame, orders=True)
    counted = orders_of(frame).filter(~pl.col("row").is_in(sorted(again)))
    for _, one in counted.group_by("order_id"):
        times = one["event_time"].sort()
        assert (times.diff().drop_nulls() > ORDER_REACH_US).all()


@pytest.mark.parametrize(
    ("name", "events", "net"),
    [
        ("the same order from browser and server", [("A", 500), ("A", 500)], 500),
        ("an amount that was corrected: the first counts", [("A", 500), ("A", 450)], 500),
        ("announced, then paid", [("A", None), ("A", 0), ("A", 500)], 500),
        ("two partial refunds", [("A", 500), ("A", -100), ("A", -100)], 300),
        ("a refund before its order", [("A", -500), ("A", 500)], 0),
        ("money without an order", [(None, 100), (None, 100)], 200),
        ("two orders", [("A", 100), ("B", 100)], 200),
    ],
)
def test_the_rule_of_orders(name: str, events: list[tuple[str | None, int]], net: int) -> None:
    rows = filled(
        [
            {"event_id": f"e{n}", "source": "web", "order_id": order, "revenue_minor": minor,
             "event_time": NOON + n, "received_time": NOON + n}
            for n, (order, minor) in enumerate(events)
        ]
    )  # fmt: skip
    frame = pl.DataFrame(rows, schema=TYPES)
    again = later(frame, orders=True)
    counted = frame.filter(~pl.col("row").is_in(sorted(again)))
    assert counted["revenue_minor"].sum() == net, name


def test_lines_of_an_order_all_count() -> None:
    line = {"source": "web", "name": "Order Line", "order_id": "A", "event_time": NOON,
            "received_time": NOON}  # fmt: skip
    made = [{**line, "event_id": f"e{n}", "revenue_minor": pence} for n, pence in enumerate((5, 5))]
    assert later(pl.DataFrame(filled(made), schema=TYPES), orders=True) == set()


def test_a_key_with_very_many_copies_far_apart_is_no_burden() -> None:
    count = 60_000
    rows = pl.DataFrame(
        {
            "key": pl.repeat(1, count, dtype=pl.UInt64, eager=True),
            "key2": pl.repeat(1, count, dtype=pl.UInt64, eager=True),
            "event_time": pl.int_range(count, eager=True) * HOUR_US,
            "received_time": pl.int_range(count, eager=True),
            "producer": "x",
            "seq": 0,
            "row": pl.int_range(count, eager=True),
        }
    )
    # Each is within reach of the one before it, which goes first.
    assert later_copies(rows, dedup.ORDER, EVENT_REACH_US).height == count - 1
    assert later_copies(rows, dedup.ORDER, HOUR_US - 1).height == 0


def test_nothing_is_no_trouble() -> None:
    empty = pl.DataFrame(schema=TYPES)
    assert later(empty, orders=True) == later(empty, orders=False) == set()
