"""The loops of `transforms.funnels`, compiled. Rows are sorted by person, time and the rest.

All take
    bounds:              where the rows of each person begin, and the number of rows
    time, bits:          of the rows; bit k of an event: it matches step k
    window, limit:       us: longest attempt; an attempt begins before `limit`
and fill, for each person,
    reached:             steps that the best attempt takes
    times:               when, us
    first:               row of its first event
Each is linear in the number of rows of a person, but any_order, which looks at the events of a
window again for each possible beginning.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from transforms.compiled import compiled

Ints: TypeAlias = NDArray[np.int64]
Bits: TypeAlias = NDArray[np.uint32]
_NEVER = np.iinfo(np.int64).max
_NONE = np.iinfo(np.int64).min
_EXCLUSIONS = 16  # the first bit of exclusions


@compiled
def ordered(
    bounds: Ints,
    time: Ints,
    bits: Bits,
    window: int,
    limit: int,
    kills: Bits,
    reached: NDArray[np.int8],
    times: Ints,
    first: Ints,
) -> None:
    """Other events may lie between. kills: of each exclusion the states it ends, bit k: after k."""
    steps = times.shape[1]
    longest = 0
    for person in range(len(bounds) - 1):
        longest = max(longest, bounds[person + 1] - bounds[person])
    usable = np.zeros(longest if len(kills) else 0, np.uint32)
    began, ends = np.empty(steps, np.int64), np.empty(steps + 1, np.int64)
    for person in range(len(bounds) - 1):
        start, end = bounds[person], bounds[person + 1]
        most = _furthest(start, end, time, bits, window, limit, kills, began)
        if most == 0:
            continue
        at = _earliest(start, end, time, bits, window, limit, kills, most, ends)
        if len(kills):
            _usable(at, end, time, bits, time[at] + window, kills, most, usable)
        reached[person], first[person] = most, at
        step = 0
        while step < most:
            takes = usable[at - first[person]] if len(kills) else bits[at]
            if takes >> np.uint32(step) & np.uint32(1):
                times[person, step] = time[at]
                step += 1
            at += 1


@compiled
def _ended(event: np.uint32, kills: Bits) -> np.uint32:
    """States that an event ends."""
    found = np.uint32(0)
    for number in range(len(kills)):
        if event >> np.uint32(_EXCLUSIONS + number) & np.uint32(1):
            found |= kills[number]
    return found


@compiled
def _furthest(
    start: int, end: int, time: Ints, bits: Bits, window: int, limit: int, kills: Bits, began: Ints
) -> int:
    """How many steps the best attempt takes.

    Of all attempts that are at a step, the one that began last may go on longest: `began` is when.
    """
    steps = len(began)
    began[:] = _NONE
    most = 0
    for at in range(start, end):
        event, now = bits[at], time[at]
        ended = _ended(event, kills)
        # Last step first: an event takes one step of an attempt.
        for step in range(min(most, steps - 1), 0, -1):
            before = began[step - 1]
            if ended >> np.uint32(step) & np.uint32(1):
                began[step] = _NONE
            takes = event >> np.uint32(step) & np.uint32(1)
            if takes and before != _NONE and now - before <= window:
                began[step] = max(began[step], before)
                most = max(most, step + 1)
        if ended & np.uint32(1):
            began[0] = _NONE
        if event & np.uint32(1) and now < limit:
            began[0] = now
            most = max(most, 1)
        if most == steps:
            break
    return most


@compiled
def _earliest(
    start: int,
    end: int,
    time: Ints,
    bits: Bits,
    window: int,
    limit: int,
    kills: Bits,
    most: int,
    ends: Ints,
) -> int:
    """The first event from which an attempt can take `most` steps.

    Backwards: `ends` is how early the rest of an attempt can end that takes a step later on.
    """
    ends[:] = _NEVER
    found = start
    for back in range(end - start):
        at = end - 1 - back
        event = bits[at]
        ended = _ended(event, kills)
        for step in range(most):
            if step and ended >> np.uint32(step - 1) & np.uint32(1):
                ends[step] = _NEVER
            if event >> np.uint32(step) & np.uint32(1):
                last = time[at] if step == most - 1 else ends[step + 1]
                ends[step] = min(ends[step], last)
                begins = step == 0 and time[at] < limit and last != _NEVER
                if begins and last - time[at] <= window:
                    found = at
    return found


@compiled
def _usable(
    start: int, end: int, time: Ints, bits: Bits, until: int, kills: Bits, most: int, usable: Bits
) -> None:
    """The steps that each event from `start` on can take so that the rest can be, up to `until`."""
    rest = np.uint32(0)  # steps that can be taken later on, with all that follow
    for back in range(end - start):
        at = end - 1 - back
        takes = np.uint32(0)
        if time[at] <= until:
            after = rest >> np.uint32(1) | np.uint32(1) << np.uint32(most - 1)
            takes = bits[at] & after & ((np.uint32(1) << np.uint32(most)) - np.uint32(1))
            rest = rest & ~(_ended(bits[at], kills) << np.uint32(1)) | takes
        usable[at - start] = takes


@compiled
def strict(
    bounds: Ints,
    time: Ints,
    bits: Bits,
    window: int,
    limit: int,
    reached: NDArray[np.int8],
    times: Ints,
    first: Ints,
) -> None:
    """No other event of the person lies between."""
    steps = times.shape[1]
    for person in range(len(bounds) - 1):
        end = bounds[person + 1]
        most = 0
        for at in range(bounds[person], end):
            if not bits[at] & np.uint32(1) or time[at] >= limit:
                continue
            taken = 1
            while taken < steps and at + taken < end:
                if not bits[at + taken] >> np.uint32(taken) & np.uint32(1):
                    break
                if time[at + taken] - time[at] > window:
                    break
                taken += 1
            if taken > most:
                most, first[person] = taken, at
            if most == steps:
                break
        reached[person] = most
        for step in range(most):
            times[person, step] = time[first[person] + step]


@compiled
def any_order(
    bounds: Ints,
    time: Ints,
    bits: Bits,
    window: int,
    limit: int,
    reached: NDArray[np.int8],
    times: Ints,
    first: Ints,
) -> None:
    """As many different steps as different events can take, in whichever order they come.

    A later beginning gains only by events that an earlier one did not see, and of those only by one
    of a kind - the same bits - of which there were fewer than steps: else another stands in for it.
    """
    steps = times.shape[1]
    took, found = np.zeros(steps, np.uint32), np.zeros(steps, np.int64)
    of_kind = np.zeros(1 << steps, np.int64)  # events from `oldest` to `seen_to`, by their bits
    for person in range(len(bounds) - 1):
        start, end = bounds[person], bounds[person + 1]
        at_most = _taken(start, end, time, bits, _NEVER, took, found)
        most, seen_to, oldest = 0, start, start
        for at in range(start, end):
            if time[at] >= limit or most == at_most:
                break
            if not bits[at]:
                continue
            last, gains = max(seen_to, at + 1), most == 0
            while last < end and time[last] - time[at] <= window:
                last += 1
            for new in range(seen_to, last):
                gains |= of_kind[bits[new]] < steps
            for new in range(seen_to, last):
                of_kind[bits[new]] += 1
            seen_to = last
            if not gains:
                continue
            for old in range(oldest, at):
                of_kind[bits[old]] -= 1
            oldest = at
            taken = _taken(at, end, time, bits, time[at] + window, took, found)
            if taken > most:
                most, first[person] = taken, at
                times[person, :taken] = found[:taken]
        for old in range(oldest, seen_to):
            of_kind[bits[old]] -= 1
        reached[person] = most


@compiled
def _taken(
    start: int, end: int, time: Ints, bits: Bits, until: int, took: Bits, found: Ints
) -> int:
    """How many steps events up to `until` can take; found: when there was one more.

    took: of each step the event that takes it. A new event takes a step whose own event can take
    another instead, and so on: a search over steps in the order in which they are come upon.
    """
    steps = len(took)
    took[:] = 0
    taken = 0
    queue, before = np.empty(steps, np.int64), np.empty(steps, np.int64)
    for at in range(start, end):
        if time[at] > until or taken == steps:
            break
        reached, size, looked = np.uint32(0), 0, 0
        for step in range(steps):
            if bits[at] >> np.uint32(step) & np.uint32(1):
                queue[size], before[step] = step, -1
                reached |= np.uint32(1) << np.uint32(step)
                size += 1
        while looked < size:
            step = queue[looked]
            looked += 1
            if took[step] == 0:
                while before[step] >= 0:
                    took[step] = took[before[step]]
                    step = before[step]
                took[step] = bits[at]
                found[taken] = time[at]
                taken += 1
                break
            for other in range(steps):
                bit = np.uint32(1) << np.uint32(other)
                if took[step] & bit and not reached & bit:
                    queue[size], before[other] = other, step
                    reached |= bit
                    size += 1
    return taken
