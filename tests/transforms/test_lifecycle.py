"""Lifecycle against plain loops, and the balance from one period to the next."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests import people
from transforms.lifecycle import STATES, lifecycle


@st.composite
def lives(draw):
    """(periods, active periods of each person, first of all time)."""
    count = draw(st.integers(2, 80))
    sets = draw(st.lists(st.sets(st.integers(0, count - 1), max_size=8), max_size=20))
    # Somebody may have been there long before; who is in none of the periods certainly was.
    firsts = [
        -draw(st.integers(1, 9)) if not one or draw(st.booleans()) else min(one) for one in sets
    ]
    return count, sets, firsts


def state_in(period, active, first):
    if period in active:
        if first == period:
            return "new"
        return "returning" if period - 1 in active else "resurrecting"
    return "dormant" if period - 1 in active else None


@given(lives())
def test_every_state_is_what_a_loop_counts(life):
    count, sets, firsts = life
    found = lifecycle(people.words(sets, count), np.array(firsts, np.int64), count)
    for period in range(1, count):
        states = [state_in(period, *one) for one in zip(sets, firsts, strict=True)]
        for state in STATES:
            assert getattr(found, state)[period - 1] == states.count(state), (period, state)


@given(lives())
def test_the_books_balance(life):
    """Active now = active before - dormant + new + resurrecting."""
    count, sets, firsts = life
    found = lifecycle(people.words(sets, count), np.array(firsts, np.int64), count)
    active = [sum(period in one for one in sets) for period in range(count)]
    for at in range(count - 1):
        came = found.new[at] + found.resurrecting[at]
        assert active[at + 1] == active[at] - found.dormant[at] + came
        assert active[at + 1] == found.returning[at] + came
