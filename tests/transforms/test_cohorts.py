"""Rules of cohorts against the same rule asked of one person after the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.cohorts import Branch, Leaf, can_be_silent, did, first_within, members, newest

LEAVES = 4
hows = st.sampled_from(["all", "any", "not"])
trees = st.recursive(
    st.builds(Leaf, st.integers(0, LEAVES - 1)),
    lambda parts: st.builds(Branch, hows, st.lists(parts, min_size=1, max_size=3).map(tuple)),
    max_leaves=8,
)


def holds(tree, answers):
    if isinstance(tree, Leaf):
        return answers[tree.number]
    parts = [holds(part, answers) for part in tree.parts]
    return {"all": all(parts), "any": any(parts), "not": not any(parts)}[tree.how]


@given(trees, st.lists(st.lists(st.booleans(), min_size=LEAVES, max_size=LEAVES), max_size=20))
def test_whole_columns_say_what_each_person_says(tree, people):
    leaves = [np.array([one[leaf] for one in people], np.bool_) for leaf in range(LEAVES)]
    assert members(tree, leaves).tolist() == [holds(tree, one) for one in people]


@given(trees, st.lists(st.booleans(), min_size=LEAVES, max_size=LEAVES))
def test_silence_is_asked_of_the_same_tree(tree, silent):
    assert can_be_silent(tree, silent) == holds(tree, silent)


@pytest.mark.parametrize("how", ["all", "any", "not"])
def test_a_branch_of_nothing_is_refused(how):
    with pytest.raises(ValueError, match="of nothing"):
        members(Branch(how, ()), [])


@given(st.lists(st.integers(0, 5)), st.integers(0, 6))
def test_how_often(counts, wanted):
    array = np.array(counts, np.int64)
    assert did(array, "at_least", wanted).tolist() == [c >= wanted for c in counts]
    assert did(array, "at_most", wanted).tolist() == [c <= wanted for c in counts]
    assert did(array, "exactly", wanted).tolist() == [c == wanted for c in counts]


def test_a_span_has_its_start_and_not_its_end():
    firsts = np.array([-(1 << 62), 9, 10, 19, 20])
    assert first_within(firsts, (10, 20)).tolist() == [False, False, True, True, False]


def test_who_has_no_value_meets_what_needs_none():
    met, has = np.array([True, False, False]), np.array([True, True, False])
    assert newest(met, has, without=False).tolist() == [True, False, False]
    assert newest(met, has, without=True).tolist() == [True, False, True]
