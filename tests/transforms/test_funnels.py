"""Funnels against every attempt there is, one after the other."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from itertools import permutations
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from transforms.funnels import (
    EXCLUSION_BIT,
    Attempts,
    Funnel,
    best_attempts,
    largest,
    stages,
)

Event = tuple[int, int, int, int]  # person, time, bits, place
World = tuple[list[Event], Funnel]
FAR = 1 << 40


def columns(events: list[Event]) -> pl.DataFrame:
    types = {"person": pl.UInt64, "time": pl.Int64, "bits": pl.UInt32, "place": pl.Int64}
    return pl.DataFrame(events, schema=types, orient="row")


def found(events: list[Event], funnel: Funnel) -> dict[int, tuple[int, list[int], int]]:
    """Person -> steps, their times, place of the first event."""
    return by_person(best_attempts(columns(events), funnel), events)


def by_person(best: Attempts, events: list[Event]) -> dict[int, tuple[int, list[int], int]]:
    rows = zip(best.person, best.reached, best.times, best.first, strict=True)
    return {
        int(who): (int(steps), [int(t) for t in times[:steps]], events[first][3])
        for who, steps, times, first in rows
    }


# -- All attempts there are, as the definition has them.


def attempts_of(events: list[Event], funnel: Funnel) -> Iterator[list[int]]:
    """Every attempt of one person, as indexes of events that are in order."""
    starts = [[at] for at, event in enumerate(events) if event[1] < funnel.starts_before]
    open_ones = [one for one in starts if may_be(one, events, funnel)]
    while open_ones:
        yield from open_ones
        longer = [[*one, at] for one in open_ones for at in range(one[-1] + 1, len(events))]
        open_ones = [one for one in longer if may_be(one, events, funnel)]


def may_be(one: list[int], events: list[Event], funnel: Funnel) -> bool:
    if len(one) > funnel.steps or events[one[-1]][1] - events[one[0]][1] > funnel.window_us:
        return False
    if funnel.mode == "any_order":
        orders = permutations(range(funnel.steps), len(one))
        return any(takes(one, order, events) for order in orders)
    if not takes(one, range(len(one)), events):
        return False
    if funnel.mode == "strict":
        return one == list(range(one[0], one[0] + len(one)))
    for number, (first, last) in enumerate(funnel.exclusions):
        for at in set(range(one[0], one[-1])) - set(one):
            excludes = events[at][2] >> (EXCLUSION_BIT + number) & 1 and len(one) > first
            if excludes and one[first] < at < one[min(last, len(one) - 1)]:
                return False
    return True


def takes(one: list[int], order: Any, events: list[Event]) -> bool:
    return all(events[at][2] >> step & 1 for at, step in zip(one, order, strict=True))


def brute(events: list[Event], funnel: Funnel) -> dict[int, tuple[int, list[int], int]]:
    people: dict[int, list[Event]] = defaultdict(list)
    for event in sorted(events, key=lambda e: (e[1], e[3])):
        people[event[0]].append(event)
    best = {}
    for who, own in people.items():
        every = list(attempts_of(own, funnel))
        if every:
            most = max(map(len, every))
            one = min(attempt for attempt in every if len(attempt) == most)
            best[who] = most, [own[at][1] for at in one], own[one[0]][3]
    return best


@st.composite
def worlds(draw: st.DrawFn, mode: Any = None) -> World:
    mode = mode or draw(st.sampled_from(["ordered", "strict", "any_order"]))
    steps = draw(st.integers(1, 4))
    pairs = [(i, j) for i in range(steps) for j in range(i + 1, steps)]
    exclusions: tuple[tuple[int, int], ...] = ()
    if mode == "ordered" and pairs:
        exclusions = tuple(draw(st.lists(st.sampled_from(pairs), max_size=2)))
    # Few times, so that many are equal; the window ends where events lie.
    times, window = st.integers(0, 12), draw(st.integers(0, 12))
    limit = draw(st.sampled_from([FAR, 6]))
    bits = st.integers(0, (1 << steps) - 1)
    excluding = st.integers(0, (1 << len(exclusions)) - 1).map(lambda x: x << EXCLUSION_BIT)
    one = st.tuples(st.integers(1, 2), times, st.builds(lambda a, b: a | b, bits, excluding))
    events = draw(st.lists(one, max_size=9))
    places = draw(st.permutations(range(len(events))))
    numbered = [(*event, place) for event, place in zip(events, places, strict=True)]
    return numbered, Funnel(steps, mode, window, limit, exclusions)


@budget(max_examples=600, deadline=None)
@given(worlds())
def test_the_best_of_all_attempts_is_found(world: World) -> None:
    events, funnel = world
    assert found(events, funnel) == brute(events, funnel)


@budget(max_examples=200, deadline=None)
@given(worlds(), st.randoms())
def test_the_order_of_rows_changes_nothing(world: World, rng: random.Random) -> None:
    events, funnel = world
    mixed = rng.sample(events, len(events))
    assert found(mixed, funnel) == found(events, funnel)


@budget(max_examples=300, deadline=None)
@given(worlds(), st.integers(0, 12))
def test_a_longer_window_never_loses_a_step(world: World, more: int) -> None:
    events, funnel = world
    longer = Funnel(funnel.steps, funnel.mode, funnel.window_us + more, funnel.starts_before,
                    funnel.exclusions)  # fmt: skip
    short, long = found(events, funnel), found(events, longer)
    assert short.keys() == long.keys()
    assert all(short[who][0] <= long[who][0] for who in short)


@budget(max_examples=200, deadline=None)
@given(worlds())
def test_the_first_step_is_everybody_who_did_it_and_no_step_gains_people(world: World) -> None:
    events, funnel = world
    taken = [stage.people for stage in stages(best_attempts(columns(events), funnel))]
    begins = (1 << funnel.steps) - 1 if funnel.mode == "any_order" else 1
    did = {who for who, at, bits, _ in events if bits & begins and at < funnel.starts_before}
    assert taken[0] == len(did)
    assert taken == sorted(taken, reverse=True)


# -- Stories.

A, B, C, D = 1, 2, 4, 8
X = 1 << EXCLUSION_BIT


def reach(bits: list[int], steps: int, *, mode: Any = "ordered", window: int = FAR,
          exclusions: tuple[tuple[int, int], ...] = ()) -> int:  # fmt: skip
    """How far one person gets whose events, one a microsecond, are these."""
    events = [(7, at, event, at) for at, event in enumerate(bits)]
    steps_taken = found(events, Funnel(steps, mode, window, FAR, exclusions))
    return steps_taken.get(7, (0, [], 0))[0]


def test_equal_steps_need_as_many_events() -> None:
    view_twice = A | B  # steps 1 and 2 are the same event
    assert reach([view_twice, C], 3) == 1
    assert reach([view_twice, view_twice, C], 3) == 3
    assert reach([C, view_twice], 3, mode="any_order") == 2
    assert reach([C, view_twice, view_twice], 3, mode="any_order") == 3


def test_both_ends_of_the_window_belong_to_it() -> None:
    assert reach([A, 0, 0, B], 2, window=3) == 2
    assert reach([A, 0, 0, B], 2, window=2) == 1
    assert reach([A, A, 0, B], 2, window=2) == 2  # counted from the second attempt's first step


def test_strict_lets_nothing_lie_between() -> None:
    assert reach([A, 0, B], 2, mode="strict") == 1
    assert reach([A, 0, A, B], 2, mode="strict") == 2


def test_an_exclusion_ends_an_attempt_and_not_the_next_one() -> None:
    between = ((0, 1),)
    assert reach([A, X, B], 2, exclusions=between) == 1
    assert reach([A, X, A, B], 2, exclusions=between) == 2
    assert reach([X, A, B, X], 2, exclusions=between) == 2
    assert reach([A, X | B], 2, exclusions=between) == 2  # it is the attempt's own event
    assert reach([A, B, X, B, C], 3, exclusions=((1, 2),)) == 3  # by way of the second B
    assert reach([A, X, B, C], 3, exclusions=((0, 2),)) == 1


def test_times_are_those_of_the_first_of_the_best_attempts() -> None:
    events = [(1, at, bits, at) for at, bits in ((0, A), (5, A), (6, B), (7, C), (9, B), (99, C))]
    assert found(events, Funnel(3, "ordered", 7, FAR)) == {1: (3, [0, 6, 7], 0)}
    assert found(events, Funnel(3, "ordered", 6, FAR)) == {1: (3, [5, 6, 7], 5)}
    assert found(events, Funnel(3, "ordered", 1, FAR)) == {1: (2, [5, 6], 5)}


def test_a_robot_takes_no_time() -> None:
    rows = 200_000
    bits = np.full(rows, A, np.uint32)
    bits[-1] = B
    frame = pl.DataFrame(
        {"person": np.zeros(rows, np.uint64), "time": np.arange(rows), "bits": bits}
    )
    for exclusions in ((), ((0, 1),)):
        best = best_attempts(frame, Funnel(2, "ordered", 10, FAR, exclusions))
        assert best.reached.tolist() == [2]
        assert best.times.tolist() == [[rows - 11, rows - 1]]
    best = best_attempts(frame, Funnel(2, "any_order", rows // 2, FAR))
    assert (best.reached.tolist(), best.times.tolist()) == ([2], [[rows // 2 - 1, rows - 1]])


def test_nobody() -> None:
    best = best_attempts(columns([]), Funnel(2, "ordered", 1, FAR))
    assert len(best.person) == 0
    assert [stage.people for stage in stages(best)] == [0, 0]


def test_stages_by_hand() -> None:
    seconds = [(1, [0, 10, 15]), (2, [0, 20]), (3, [5])]
    events = [
        (who, at * 1_000_000, 1 << step, at)
        for who, times in seconds
        for step, at in enumerate(times)
    ]
    first, second, third = stages(best_attempts(columns(events), Funnel(3, "ordered", FAR, FAR)))
    assert (first.people, first.median) == (3, None)
    assert (second.people, second.median) == (2, 15.0)
    assert second.p90 == pytest.approx(19.0)
    assert (third.people, third.median, third.since_first) == (1, 5.0, 15.0)


def test_the_largest_values() -> None:
    assert largest(["b", "a", None, "c"], [2, 2, 2, 9], 3) == ["c", "a", "b"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"steps": 17},
        {"exclusions": ((0, 2),)},
        {"exclusions": ((1, 1),)},
        {"exclusions": ((0, 1),), "mode": "strict"},
        {"exclusions": ((0, 1),) * 9},
    ],
)
def test_what_cannot_be_looked_for_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"step|exclusion"):
        Funnel(**{"steps": 2, "mode": "ordered", "window_us": 1, "starts_before": 1, **wrong})
