"""Stickiness against plain loops."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests import people
from transforms.stickiness import stickiness


@given(st.integers(1, 150), st.data())
def test_people_by_how_many_periods_they_were_there(count, data):
    sets = data.draw(st.lists(st.sets(st.integers(0, count - 1), max_size=count), max_size=20))
    found = stickiness(people.words(sets, count), count)
    assert found.tolist() == [sum(len(one) == n for one in sets) for n in range(1, count + 1)]
    assert found.sum() == sum(bool(one) for one in sets)
