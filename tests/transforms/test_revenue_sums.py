"""Money by period, product and campaign against plain loops."""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.exact_brute import counted, is_order
from transforms.grid import DAY_US
from transforms.repeats import ORDER_REACH_US
from transforms.revenue import (
    NONE,
    OTHER,
    REST,
    half_even,
    last_touch,
    product_lines,
    repeated_orders,
    settled,
    sums,
    top_values,
)

TYPES = {"name": pl.String, "order_id": pl.String, "revenue_minor": pl.Int64,
         "currency": pl.String, "event_time": pl.Int64, "received_time": pl.Int64,
         "producer": pl.String, "seq": pl.Int64, "row": pl.Int32}  # fmt: skip

rows_strategy = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["Order Completed", "order completed", "Order Refunded", "x"]),
            "order_id": st.sampled_from(["a", "b", None]),
            "revenue_minor": st.sampled_from([None, -300, 0, 1, 250, 999]),
            "event_time": st.sampled_from(
                [0, 1, DAY_US, ORDER_REACH_US, ORDER_REACH_US + 1, 2 * ORDER_REACH_US]
            ),
            "received_time": st.integers(0, 3),
        }
    ),
    max_size=12,
)


def complete(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each with an id of its own, a place and a currency where it has money."""
    return [
        {
            **row,
            "project": "demo", "source": "web", "type": "track", "event_id": f"e{n}",
            "currency": None if row["revenue_minor"] is None else "GBP",
            "producer": "p", "seq": n // 3, "row": n % 3,
        }
        for n, row in enumerate(rows)
    ]  # fmt: skip


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([{k: r[k] for k in TYPES} for r in rows], schema=TYPES, orient="row")


@given(rows_strategy)
def test_an_order_counts_once_as_in_the_exact_tables(given_rows):
    rows = complete(given_rows)
    found = settled(frame(rows), repeated_orders(frame(rows)))
    expected, _ = counted(rows)
    key = ("producer", "seq", "row", "order_id", "revenue_minor", "currency")
    assert sorted(found.select(key).rows(), key=str) == sorted(
        [tuple(row[c] for c in key) for row in expected], key=str
    )


@given(rows_strategy)
def test_sums_against_a_loop(given_rows):
    rows = [row for row in complete(given_rows) if row["revenue_minor"] is not None]
    found = sums(frame(rows).with_columns(amount="revenue_minor"), ["currency"])
    gross = sum(r["revenue_minor"] for r in rows if r["revenue_minor"] > 0)
    refunds = sum(r["revenue_minor"] for r in rows if r["revenue_minor"] < 0)
    ids = {r["order_id"] for r in rows if is_order(r)}
    of_orders = sum(r["revenue_minor"] for r in rows if is_order(r))
    average = round(Fraction(of_orders, len(ids))) if ids else None
    expected = [("GBP", gross, refunds, gross + refunds, len(ids), average)] if rows else []
    assert found.rows() == expected


@given(st.integers(-(10**17), 10**17), st.integers(1, 10**6))
def test_halves_go_to_the_even_neighbour(total, count):
    assert half_even(total, count) == round(Fraction(total, count))


def order(revenue: int | None, properties: Any, currency: str | None = "GBP") -> pl.DataFrame:
    return pl.DataFrame(
        {"properties": [json.dumps(properties)], "revenue_minor": [revenue],
         "currency": [currency], "order_id": ["o"]},
        schema={"properties": pl.String, "revenue_minor": pl.Int64, "currency": pl.String,
                "order_id": pl.String},
    )  # fmt: skip


def lines(revenue: int | None, properties: Any, key: Any = "product_id", **more: Any) -> Any:
    return product_lines(order(revenue, properties, **more), key).select("value", "amount").rows()


def test_products_have_price_times_quantity_and_the_rest_is_named():
    products = [
        {"product_id": "tea", "price": 4.25, "quantity": 3},
        {"product_id": "cup", "price": "0.10"},
        {"product_id": "tea", "price": 1},
    ]
    assert lines(1500, {"products": products}) == [("tea", 1375), ("cup", 10), (REST, 115)]
    assert lines(1385, {"products": products}) == [("tea", 1375), ("cup", 10)]
    assert lines(-1500, {"products": products}) == [("tea", -1375), ("cup", -10), (REST, -115)]
    assert lines(None, {"products": products}) == [("tea", 0), ("cup", 0)]


def test_prices_are_read_digit_by_digit():
    # 1.005 as a float is a little less, and half a penny more would be lost.
    found = lines(302, {"products": [{"sku": "a", "price": 1.005, "quantity": 3}]}, "sku")
    assert found == [("a", 302)]  # 3.015 -> 302, half to even
    assert lines(301, {"products": [{"sku": "a", "price": 1.003, "quantity": 3}]}, "sku") == [
        ("a", 301)
    ]


def test_one_product_without_a_price_has_it_all():
    assert lines(700, {"products": [{"product_id": 17}]}) == [("17", 700)]


@pytest.mark.parametrize(
    "product",
    [{"price": "free"}, {"price": "nan"}, {"price": "snan"}, {"price": True},
     {"price": None, "a": 1}, {"price": 1e300}, {"price": "1e99999999"},
     {"price": 1, "quantity": {}}, {"price": 10**17}, "tea", None, 3],
)  # fmt: skip
def test_lines_that_cannot_be_read_are_part_of_the_rest(product):
    found = lines(500, {"products": [product, {"product_id": "cup", "price": 2}]})
    assert found == [("cup", 200), (REST, 300)]


def test_an_event_that_is_a_line_itself_belongs_to_its_product():
    assert lines(120, {"product_id": "tea", "products": []}) == [("tea", 120)]
    assert lines(120, {"sku": 5}, "sku") == [("5", 120)]
    assert lines(120, {}) == [(NONE, 120)]
    assert lines(120, ["no", "object"]) == [(NONE, 120)]


def test_a_currency_without_decimals():
    products = [{"product_id": "tea", "price": 120.4, "quantity": 5}]
    assert lines(602, {"products": products}, currency="JPY") == [("tea", 602)]


product = st.one_of(
    st.fixed_dictionaries(
        {"product_id": st.sampled_from(["a", "b", ""])},
        optional={
            "price": st.one_of(st.integers(-5, 500), st.floats(0, 99), st.text(max_size=3)),
            "quantity": st.integers(0, 9),
        },
    ),
    st.none(),
)


@given(st.integers(-(10**9), 10**9), st.lists(product, max_size=5))
def test_lines_always_add_up_to_the_event(revenue, products):
    found = lines(revenue, {"products": products})
    assert sum(amount for _, amount in found) == revenue
    assert all(isinstance(amount, int) for _, amount in found)


@given(
    st.lists(st.tuples(st.sampled_from("xy"), st.integers(0, 9), st.sampled_from(["", "s", None]))),
    st.lists(st.tuples(st.sampled_from("xy"), st.integers(0, 9), st.sampled_from("uvw"))),
    st.integers(0, 9),
)
def test_last_touch_against_a_loop(money, touches, lookback):
    rows = pl.DataFrame(
        money, {"person": pl.String, "event_time": pl.Int64, "value": pl.String}, orient="row"
    )
    given_touches = pl.DataFrame(
        touches, {"person": pl.String, "event_time": pl.Int64, "value": pl.String}, orient="row"
    )
    expected = []
    for person, at, own in money:
        near = [(t, v) for p, t, v in touches if p == person and at - lookback <= t <= at]
        expected.append(own or (max(near)[1] if near else NONE))
    assert last_touch(rows, given_touches, lookback)["value"].to_list() == expected


def test_top_values_ranks_within_currencies_and_never_adds_them():
    rows = pl.DataFrame(
        [("a", "GBP", 100), ("b", "GBP", 50), ("c", "JPY", 9000), ("d", "JPY", 8000)],
        {"value": pl.String, "currency": pl.String, "amount": pl.Int64},
        orient="row",
    ).with_columns(revenue_minor="amount")
    assert top_values(rows, 2)["value"].to_list() == ["a", OTHER, "c", OTHER]
    assert top_values(rows, 9)["value"].to_list() == ["a", "b", "c", "d"]


def test_parts_of_orders_keep_gross_and_refunds_apart():
    # A discount makes the rest negative: it is less gross, not a refund.
    rows = order(900, {"products": [{"product_id": "a", "price": 10}]})
    split = product_lines(rows, "product_id")
    found = sums(split, ["value"])
    by_value = {row["value"]: row for row in found.iter_rows(named=True)}
    assert by_value["a"]["gross"] == 1000
    assert by_value[REST]["gross"] == -100
    assert by_value[REST]["refunds"] == 0
    assert found["net"].sum() == 900


def test_decimal_prices_as_an_independent_sum():
    prices = [("19.99", 3), ("0.01", 7), ("2.50", 2)]
    products = [
        {"product_id": str(n), "price": p, "quantity": q} for n, (p, q) in enumerate(prices)
    ]
    totals: dict[str, int] = defaultdict(int)
    for number, (price, quantity) in enumerate(prices):
        totals[str(number)] += int(Decimal(price) * quantity * 100)
    assert dict(lines(sum(totals.values()), {"products": products})) == dict(totals)
