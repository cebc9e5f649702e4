"""Positions are sets: whatever the order of the blocks."""

from __future__ import annotations

from functools import reduce
from operator import add

from hypothesis import given
from hypothesis import strategies as st

from transforms.positions import Positions

SPANS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 30), st.integers(0, 4)).map(
        lambda s: (s[0], s[1], s[1] + s[2])
    ),
    max_size=20,
)


def numbers(spans: list[tuple[str, int, int]]) -> set[tuple[str, int]]:
    return {(p, n) for p, first, last in spans for n in range(first, last + 1)}


@given(SPANS, SPANS)
def test_they_hold_exactly_what_was_added(
    one: list[tuple[str, int, int]], two: list[tuple[str, int, int]]
) -> None:
    merged = Positions.of(one) + Positions.of(two)
    single = reduce(add, [Positions.of([span]) for span in reversed(one + two)], Positions())
    held = numbers(one + two)
    for producer in "abc":
        assert all(merged.holds(producer, n) == ((producer, n) in held) for n in range(-1, 37))
        for first in range(32):
            whole = all((producer, n) in held for n in range(first, first + 3))
            assert merged.holds(producer, first, first + 2) == whole
        missing = next(n for n in range(99) if (producer, n) not in held)
        assert merged.first_missing(producer) == missing
    assert merged.to_json() == single.to_json()
    assert Positions.from_json(merged.to_json()).to_json() == merged.to_json()
    left = Positions.of(one) - Positions.of(two)
    ranges = [(p, a, b) for p, found in left.by_producer.items() for a, b in found]
    assert numbers(ranges) == numbers(one) - numbers(two)
    overlap = bool(numbers(one) & numbers(two))
    assert Positions.of(one).overlaps(Positions.of(two)) == overlap
