"""Metrics of people's own: against a loop over dicts, and every way to write them wrong."""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas_avro import derive, load
from transforms import own_metrics
from transforms.measure import measure
from transforms.own_metrics import MetricError
from transforms.statistics import DistinctSet

_TYPES = derive.wire(load("event"))


def rows_of(*made: dict[str, Any]) -> pl.DataFrame:
    blank = {"project": "shop", "type": "track", "event_time": 0, "user_id": "u"}
    full = [{**blank, **row, "properties": json.dumps(row.get("properties", {}))} for row in made]
    return pl.DataFrame(full, schema=_TYPES, orient="row")


def values(definition: dict[str, Any], rows: pl.DataFrame) -> dict[str, int]:
    """Dimensions as JSON -> value."""
    own = {"shop": [own_metrics.read_definition(json.dumps(definition))]}
    prepared = own_metrics.prepare(rows, own)
    found = measure(prepared, own_metrics.specs(own), pl.lit(0), DistinctSet)
    return {key.dimensions: value.value for key, _, value in found}


def test_a_count_with_a_filter_and_a_property_as_dimension() -> None:
    rows = rows_of(
        {"name": "Trial", "properties": {"plan": "pro", "seats": 5}},
        {"name": "Trial", "properties": {"plan": "pro", "seats": 12}},
        {"name": "Trial", "properties": {"plan": "free", "seats": 99}},
        {"name": "Trial", "properties": {"seats": 50}},
        {"name": "Other", "properties": {"plan": "pro", "seats": 50}},
        {"name": "Trial", "project": "blog", "properties": {"plan": "pro", "seats": 50}},
    )
    definition = {
        "name": "big_trials",
        "statistic": "count",
        "event": "Trial",
        "where": [{"field": "properties.seats", "is": ">=", "value": 10}],
        "dimensions": ["properties.plan"],
    }
    assert values(definition, rows) == {
        '{"properties.plan":"pro"}': 1,
        '{"properties.plan":"free"}': 1,
        '{"properties.plan":""}': 1,
    }


def test_people_are_counted_once_each() -> None:
    rows = rows_of({"name": "A"}, {"name": "A"}, {"name": "A", "user_id": "v"}, {"name": "B"})
    assert values(
        {"name": "a", "statistic": "distinct", "value": "person", "event": "A"}, rows
    ) == {"{}": 2}


_AMOUNT = st.one_of(
    st.decimals(-1000, 1000, places=2).map(float), st.integers(-5, 5), st.text(max_size=3),
    st.none(), st.booleans(), st.just({"nested": 1}), st.just("12.50"), st.just(0.001),
)  # fmt: skip


@given(st.lists(st.tuples(_AMOUNT, st.sampled_from(["x", "y", None, "", 7, True])), max_size=12))
def test_a_sum_is_exact_whatever_the_rows(pairs: list[tuple[Any, Any]]) -> None:
    rows = rows_of(*({"name": "Paid", "properties": {"amount": a, "kind": k}} for a, k in pairs))
    definition = {
        "name": "paid",
        "statistic": "sum",
        "event": "Paid",
        "value": "properties.amount",
        "decimals": 2,
        "dimensions": ["properties.kind"],
    }
    wanted: dict[str, int] = defaultdict(int)
    for amount, kind in pairs:
        if isinstance(amount, bool | dict) or amount is None:
            continue
        try:
            cents = Decimal(str(amount)) * 100
        except ArithmeticError:
            continue
        if cents.is_finite() and cents == int(cents):
            shown = {None: "", True: "true"}.get(kind) if kind in (None, True) else str(kind)
            key = json.dumps({"properties.kind": shown}, separators=(",", ":"))
            wanted[key] += int(cents)
    assert values(definition, rows) == wanted


@pytest.mark.parametrize(
    ("test", "value", "kept"),
    [
        ("=", "7", ["a", "b"]),
        ("=", 7, ["a", "b"]),
        ("!=", "7", ["c", "d"]),
        ("in", ["7", "x"], ["a", "b", "c"]),
        ("<", 8, ["a", "b"]),
        ("exists", None, ["a", "b", "c"]),
        ("missing", None, ["d"]),
    ],
)
def test_comparisons(test: str, value: Any, kept: list[str]) -> None:
    stated: dict[str, Any] = {"a": 7, "b": "7", "c": "x", "d": None}
    rows = rows_of(*({"name": n, "properties": {"v": v}} for n, v in stated.items()))
    where = {"field": "properties.v", "is": test} | ({} if value is None else {"value": value})
    definition = {"name": "m", "statistic": "count", "where": [where], "dimensions": ["name"]}
    found = values(definition, rows)
    assert sorted(json.loads(key)["name"] for key in found) == kept


def test_broken_properties_are_no_value_and_stop_nothing() -> None:
    rows = rows_of({"name": "A"}).with_columns(properties=pl.lit('{"v": nonsense'))
    definition = {"name": "m", "statistic": "count", "dimensions": ["properties.v"]}
    assert values(definition, rows) == {'{"properties.v":""}': 1}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "Big Trials"}, "small letters"),
        ({"name": "events"}, "built-in"),
        ({"statistic": "median"}, "median"),
        ({"statistic": "sum"}, "needs a"),
        ({"value": "user_id"}, "takes no"),
        ({"type": "purchase"}, "purchase"),
        ({"dimensions": ["planet"]}, "planet"),
        ({"dimensions": ["properties."]}, "properties."),
        ({"dimensions": ["name", "country", "city", "region"]}, "at most 3"),
        ({"where": [{"field": "name", "is": "<", "value": "x"}]}, "compare"),
        ({"where": [{"field": "name", "is": "like", "value": "x"}]}, "like"),
        ({"decimals": 9}, "0 to 6"),
        ({"nmae": "x"}, "nmae"),
    ],
)
def test_what_cannot_be_computed_is_refused_by_name(change: dict[str, Any], said: str) -> None:
    definition = {"name": "m", "statistic": "count", **change}
    with pytest.raises(MetricError, match=said):
        own_metrics.read_definition(json.dumps(definition))


def test_columns_that_are_read_are_named() -> None:
    definition = {"name": "m", "statistic": "count", "dimensions": ["country", "properties.a.b"]}
    own = {"shop": [own_metrics.read_definition(json.dumps(definition))]}
    assert own_metrics.columns_needed(own) == {"country", "properties", "type", "name"}
