"""Statistics: merge order, cuts and repeats change nothing."""

from __future__ import annotations

import random
from functools import reduce
from operator import add

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.statistics import LG_K, DistinctSet, DistinctSketch, Total

PARTS = st.lists(st.lists(st.text(max_size=4), max_size=20), min_size=1, max_size=6)


def series(values: list[str]) -> pl.Series:
    return pl.Series(values, dtype=pl.String)


@given(PARTS, st.randoms(use_true_random=False))
def test_distinct_counts_are_those_of_the_set_in_any_order(
    parts: list[list[str]], rng: random.Random
) -> None:
    whole = {value for part in parts for value in part} - {""}
    shuffled = parts * 2
    rng.shuffle(shuffled)
    for kind in (DistinctSet, DistinctSketch):
        merged = reduce(add, [kind.of(series(p)) for p in shuffled], kind())
        assert merged.value == len(whole)
    assert reduce(add, [DistinctSketch.of(series(p)) for p in parts]).error == 0.0


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 9000), min_size=2, max_size=5), st.integers(0, 1 << 32))
def test_a_full_sketch_has_the_same_bytes_in_any_order(sizes: list[int], seed: int) -> None:
    rng = random.Random(seed)
    parts = [
        DistinctSketch.of(series([str(rng.randrange(30_000)) for _ in range(n)])) for n in sizes
    ]
    forwards, backwards = reduce(add, parts), reduce(add, reversed(parts))
    assert forwards == backwards == DistinctSketch.union(parts)


def test_a_sketch_keeps_within_its_stated_error() -> None:
    true = 200_000
    sketch = DistinctSketch.of(series([f"user {n}" for n in range(true)]))
    assert sketch.error == pytest.approx(2 ** (-LG_K / 2))
    assert abs(sketch.value - true) < 4 * sketch.error * true


def test_nulls_are_no_value_and_zero_is_neutral() -> None:
    some = DistinctSketch.of(pl.Series(["a", None, "a"]))
    assert some.value == 1
    assert some + DistinctSketch() == some == DistinctSketch() + some
    assert DistinctSketch().value == DistinctSet().value == Total().value == 0
    assert Total(2**62) + Total(2**62) == Total(2**63)
