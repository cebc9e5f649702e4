"""What was seen, taken back and gone on with, is what a plain set of the same changes holds."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transforms import remembered
from transforms.remembered import Remembered
from transforms.seen import GENERATION_US


def batch(keys: list[int], generation: int) -> pl.DataFrame:
    return pl.DataFrame(
        {"key": keys, "received_time": [generation * GENERATION_US] * len(keys)},
        schema={"key": pl.UInt64, "received_time": pl.Int64},
    )


KEYS = st.lists(st.integers(0, 60), min_size=1, max_size=8)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), KEYS, st.integers(0, 3)),
        st.tuples(st.just("back"), st.integers(0, 12), st.just(0)),
        st.tuples(st.just("forget"), st.integers(0, 3), st.just(0)),
    ),
    max_size=60,
)


@given(STEPS, st.integers(1, 4))
@example([("add", [0], 1), ("add", [0], 0)], 1)  # nothing new in an older generation
def test_it_is_the_set_of_the_changes_that_stand(steps: list[tuple], kept: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remembered, "KEPT", kept)
        seen = Remembered([], 0)
        bags: list[list[bytes]] = [[]]  # the state after each change
        for what, value, generation in steps:
            if what == "back":
                wanted = max(0, seen.version - value)
                bags = bags[: wanted + 1]
                if not seen.back_to(wanted):
                    assert value > 0
                    seen = Remembered(bags[-1], wanted)
            elif what == "add":
                known = _members(bags[-1])
                fresh, entry = seen.add(batch(value, generation))
                assert set(fresh["key"]) == set(value) - known
                bags.append([*bags[-1], entry])
            else:
                left = seen.forget(value * GENERATION_US)
                bags.append(bags[-1] if left is None else left)
            assert seen.version == len(bags) - 1
            assert len(seen) == len(_members(bags[-1]))
            assert seen.oldest_us == Remembered(bags[-1], 0).oldest_us


def _members(bag: list[bytes]) -> set[int]:
    numbers = (memoryview(entry).cast("Q").tolist() for entry in bag)
    return {key for _, *keys in numbers for key in keys}


def test_the_last_changes_need_no_state() -> None:
    seen = Remembered([], 0)
    for number in range(1000):
        seen.add(batch([number], 0))
    assert seen.back_to(1000 - remembered.KEPT)
    assert len(seen) == 1000 - remembered.KEPT
    assert not seen.back_to(1001)
    assert not seen.back_to(100)
    assert len(seen.add(batch([999, 0], 0))[0]) == 1
