"""Retention against plain loops over sets, and what must hold whatever people do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import people
from transforms import periods as bits
from transforms.retention import retention


@st.composite
def lives(draw):
    """(periods, starts and returns of each person)."""
    count = draw(st.integers(1, 70))
    one = st.sets(st.integers(0, count - 1), max_size=6)
    both = draw(st.lists(st.tuples(one, one), max_size=25))
    return count, [s for s, _ in both], [r for _, r in both]


def by_hand(count, starts, returns, over, longest, *, rolling):
    """People by (cohort, later); None where the period is not over."""
    found = {}
    for cohort in range(count):
        members = [r for s, r in zip(starts, returns, strict=True) if cohort in s]
        for later in range(longest + 1):
            if cohort + later >= over:
                found[cohort, later] = None
            elif rolling:
                found[cohort, later] = sum(
                    any(period >= cohort + later for period in seen) for seen in members
                )
            else:
                found[cohort, later] = sum(cohort + later in seen for seen in members)
    return found


@given(lives(), st.booleans(), st.data())
def test_every_cell_is_what_a_loop_counts(life, rolling, data):
    count, starts, returns = life
    over = data.draw(st.integers(0, count))
    longest = data.draw(st.integers(0, count - 1))
    found = retention(
        people.words(starts, count), people.words(returns, count), count,
        over=over, longest=longest, rolling=rolling,
    )  # fmt: skip
    wanted = by_hand(count, starts, returns, over, longest, rolling=rolling)
    for (cohort, later), people_back in wanted.items():
        got = int(found.counts[cohort, later]) if found.known[cohort, later] else None
        assert got == people_back, (cohort, later)
    assert found.sizes.tolist() == [sum(c in s for s in starts) for c in range(count)]


@given(lives())
def test_the_average_is_that_of_all_people_in_known_cohorts(life):
    count, starts, returns = life
    over = max(1, count - 1)
    found = retention(people.words(starts, count), people.words(returns, count), count,
                      over=over, longest=count - 1)  # fmt: skip
    for later in range(count):
        pairs = [(c, s, r) for c in range(count) if c + later < over
                 for s, r in zip(starts, returns, strict=True) if c in s]  # fmt: skip
        size, back = len(pairs), sum(c + later in r for c, _, r in pairs)
        assert found.average(later) == (size, back, back / size if size else None)


@given(lives(), st.booleans())
def test_shares_are_shares_and_rolling_only_falls(life, rolling):
    count, starts, returns = life
    found = retention(people.words(starts, count), people.words(returns, count), count,
                      over=count, longest=count - 1, rolling=rolling)  # fmt: skip
    for cohort in range(count):
        shares = [found.share(cohort, later) for later in range(count - cohort)]
        known = [share for share in shares if share is not None]
        assert all(0 <= share <= 1 for share in known)
        if rolling:
            assert known == sorted(known, reverse=True)


def test_who_starts_and_returns_by_the_same_event_is_there_in_period_nought():
    sets = people.words([{0, 2}, {1}], 3)
    found = retention(sets, sets, 3, over=3, longest=2)
    assert found.counts[:, 0].tolist() == found.sizes.tolist() == [1, 1, 1]


def test_parts_of_the_people_add_up(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(5)
    words = [rng.integers(0, 1 << 62, 1_000).astype(np.uint64) for _ in range(2)]
    back = [rng.integers(0, 1 << 62, 1_000).astype(np.uint64) for _ in range(2)]
    given_in_one = retention(words, back, 100, over=90, longest=30)
    halves = [
        retention([w[part] for w in words], [b[part] for b in back], 100, over=90, longest=30)
        for part in (slice(0, 400), slice(400, None))
    ]
    assert ((halves[0] + halves[1]).counts == given_in_one.counts).all()
    monkeypatch.setattr(bits, "_CHUNK", 7)
    in_chunks = retention(words, back, 100, over=90, longest=30)
    assert (in_chunks.counts == given_in_one.counts).all()
    assert (in_chunks.sizes == given_in_one.sizes).all()


def test_counts_of_many_people_stay_exact():
    """Sums of 32-bit floats end at 2**24: chunks end before that, and whole numbers go on."""
    everybody = [np.ones(3 * (1 << 17) + 1, np.uint64)]
    found = retention(everybody, everybody, 1, over=1, longest=0)
    assert found.counts[0, 0] == found.sizes[0] == 3 * (1 << 17) + 1


def test_nobody_gives_no_share():
    none = people.words([], 2)
    found = retention(none, none, 2, over=2, longest=1)
    assert found.share(0, 0) is None
    assert found.average(0) == (0, 0, None)
