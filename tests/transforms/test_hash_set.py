"""A set of hashes: what Python's own set says, whatever the batches."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from transforms.hash_set import HashSet

# Few values, so that they meet; and such as land on one slot, the last one among them.
_HASHES = st.one_of(
    st.integers(0, 40), st.integers(2**64 - 40, 2**64 - 1), st.integers(0, 2**64 - 1)
)


@given(st.lists(st.lists(_HASHES, unique=True, max_size=60), max_size=8))
def test_it_holds_what_was_added(batches: list[list[int]]) -> None:
    made, known = HashSet(), set[int]()
    for batch in batches:
        fresh = made.add(np.array(batch, np.uint64))
        assert fresh.tolist() == [one not in known for one in batch]
        known.update(batch)
        assert len(made) == len(known)
    asked = [*sorted(known)[:20], 1, 2, 3]
    assert made.holds(np.array(asked, np.uint64)).tolist() == [one in known for one in asked]
    assert sorted(made.to_array().tolist()) == sorted(known)


def test_members_of_one_home_find_their_places() -> None:
    # Multiples of an odd number's inverse fall on neighbouring slots: long probes.
    crowd = np.arange(1, 5_000, dtype=np.uint64) * np.uint64(0xF1DE83E19937733D)
    made = HashSet()
    assert made.add(crowd).all()
    assert not made.add(crowd).any()
    assert made.holds(crowd).all()
    assert len(made) == crowd.size


def test_memory_is_at_most_32_bytes_a_member() -> None:
    made = HashSet()
    made.add(np.random.default_rng(7).integers(1, 2**64, 100_000, np.uint64))
    assert made.nbytes / len(made) <= 32
