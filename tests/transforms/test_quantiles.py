"""Percentiles of a sketch against numpy's, merged in any order."""

from __future__ import annotations

import math
import random
from functools import reduce

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.quantiles import GAMMA, RELATIVE_ERROR, SMALLEST, Quantiles, bucket, bucket_sql
from transforms.vitals import SHARES, VITALS, by_group, largest

VALUES = st.floats(-1e12, 1e12).filter(lambda v: v == 0 or abs(v) > SMALLEST)
SOME = st.lists(VALUES, min_size=1, max_size=200)


def close(estimate: float | None, exact: float) -> bool:
    assert estimate is not None
    return abs(estimate - exact) <= abs(exact) * RELATIVE_ERROR * (1 + 1e-6) + 1e-12


def nearest_rank(values: list[float], share: float) -> float:
    return float(np.quantile(np.array(values), share, method="inverted_cdf"))


@given(SOME, st.sampled_from([0.0, 0.01, 0.25, *SHARES, 0.999, 1.0]))
def test_a_percentile_is_within_the_error_that_is_stated(values: list[float], share: float) -> None:
    assert close(Quantiles.of(values).at(share), nearest_rank(values, share))


@given(SOME)
def test_the_ends_are_those_of_the_values(values: list[float]) -> None:
    made = Quantiles.of(values)
    assert (made.low, made.high, made.count) == (min(values), max(values), len(values))
    for share in (0.0, 0.5, 1.0):
        at = made.at(share)
        assert at is not None
        assert made.low <= at <= made.high


@given(st.lists(SOME, min_size=1, max_size=6), st.randoms())
def test_merging_gives_the_same_sketch_in_any_order(
    parts: list[list[float]], rng: random.Random
) -> None:
    whole = Quantiles.of([value for part in parts for value in part])
    sketches = [Quantiles.of(part) for part in parts]
    rng.shuffle(sketches)
    left = sum(sketches, start=Quantiles())
    right = reduce(lambda a, b: b + a, sketches)
    for made in (left, right):
        assert (dict(made.buckets), made.low, made.high) == (
            dict(whole.buckets), whole.low, whole.high,
        )  # fmt: skip


def test_nothing_is_the_zero() -> None:
    some = Quantiles.of([1.0, 2.0])
    assert Quantiles() + some == some + Quantiles() == some
    assert Quantiles().at(0.5) is None
    assert Quantiles().share_up_to(1) is None
    assert Quantiles.of([]) == Quantiles()


@pytest.mark.parametrize("wrong", [math.inf, -math.inf, math.nan])
def test_what_is_not_finite_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Quantiles.of([1.0, wrong])


def test_real_shapes_of_many_values() -> None:
    rng = np.random.default_rng(7)
    for values in (
        rng.lognormal(6, 1.2, 200_000), rng.exponential(0.05, 200_000), rng.normal(0, 5, 200_000),
    ):  # fmt: skip
        made = Quantiles.of_series(pl.Series(values))
        assert len(made.buckets) < 4_000
        for share in SHARES:
            assert close(made.at(share), nearest_rank(values.tolist(), share))


@given(SOME, VALUES)
def test_the_share_up_to_a_limit(values: list[float], limit: float) -> None:
    room = abs(limit) * (GAMMA - 1) * 2 + 1e-9
    found = Quantiles.of(values).share_up_to(limit)
    assert found is not None
    surely = sum(value < limit - room for value in values) / len(values)
    maybe = sum(value <= limit + room for value in values) / len(values)
    assert surely <= found <= maybe


# -- Web vitals


@pytest.mark.parametrize(
    ("name", "good", "middling", "poor"),
    [
        ("LCP", 2500, 4000, 4001),
        ("INP", 200, 500, 501),
        ("CLS", 0.1, 0.25, 0.26),
        ("FCP", 1800, 3000, 3001),
        ("TTFB", 800, 1800, 1801),
    ],
)
def test_ratings_are_those_of_web_dev(name: str, good: float, middling: float, poor: float) -> None:
    vital = VITALS[name]
    assert vital.rated(good) == "good"
    assert vital.rated(math.nextafter(good, math.inf)) == "needs improvement"
    assert vital.rated(middling) == "needs improvement"
    assert vital.rated(poor) == "poor"


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_sql_finds_the_same_buckets(values: list[float]) -> None:
    """But where a value lies on the border of two, which logarithms may round either way."""
    frame = pl.DataFrame({"value": pl.Series(values, dtype=pl.Float64)})
    found = duckdb.sql(f"SELECT {bucket_sql('value')} FROM frame").fetchall()
    for (there,), here in zip(found, frame.select(bucket("value"))["bucket"], strict=True):
        assert abs(there - here) <= 1


def test_groups_leave_out_what_is_no_number() -> None:
    rows = pl.DataFrame(
        {
            "key": ["/a", "/a", "/a", "/b"],
            "vital": ["LCP", "LCP", "CLS", "LCP"],
            "bucket": [2500, 2600, 0, None],
            "n": [1, 1, 1, 2],
            "low": [100.0, 300.0, 0.0, None],
            "high": [100.0, 300.0, 0.0, None],
        }
    )
    found = by_group(rows)
    assert {key: one.count for key, one in found.items()} == {("/a", "LCP"): 2, ("/a", "CLS"): 1}
    assert (found["/a", "LCP"].low, found["/a", "LCP"].high) == (100, 300)
    assert found["/a", "CLS"].at(0.75) == 0
    assert largest(found, 5) == ["/a"]
