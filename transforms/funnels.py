"""Funnels: how far people get through steps, on columns of events. Semantics: docs/funnels.md.

An attempt is a list of different events of one person, in their order, that take the first steps
one after the other. The best attempt of a person takes the most steps; of those that take as many,
it is the one with the earliest first event, then the earliest second one, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from transforms import funnel_loops as loops

Mode = Literal["ordered", "strict", "any_order"]
Ints: TypeAlias = NDArray[np.int64]
MOST_STEPS, MOST_EXCLUSIONS = 16, 8
EXCLUSION_BIT = MOST_STEPS  # bits of an event: one a step, from 0, then one an exclusion


@dataclass(frozen=True)
class Funnel:
    """What is looked for.

    steps:         how many
    window_us:     the last step lies at most so long after the first, both ends included
    exclusions:    (i, j) each, numbers of steps from 0: an event of that exclusion may not lie
                   between the events that take step i and step j, but for events of the attempt
    starts_before: the first event of an attempt lies before it, us
    """

    steps: int
    mode: Mode
    window_us: int
    starts_before: int
    exclusions: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= MOST_STEPS:
            raise ValueError(f"{self.steps} steps; 1 to {MOST_STEPS}")
        if len(self.exclusions) > MOST_EXCLUSIONS:
            raise ValueError(f"{len(self.exclusions)} exclusions; at most {MOST_EXCLUSIONS}")
        if self.exclusions and self.mode != "ordered":
            raise ValueError(f"a funnel in {self.mode} has no exclusions")
        for first, last in self.exclusions:
            if not 0 <= first < last < self.steps:
                raise ValueError(f"an exclusion between steps {first + 1} and {last + 1}")


@dataclass(frozen=True)
class Attempts:
    """The best attempt of everybody who has one; equal lengths, ordered by person.

    reached: how many steps it takes, 1 or more
    times:   people x steps: when each step was taken, us; only the first `reached` have a meaning
    first:   row of its first event, in the columns as they were given
    """

    person: NDArray[np.uint64]
    reached: NDArray[np.int8]
    times: Ints
    first: Ints


def best_attempts(events: pl.DataFrame, funnel: Funnel) -> Attempts:
    """Rows of events, in any order, to the best attempt of each person.

    events: `person` uint64; `time`, us, int64; `bits` uint32: the steps and exclusions that the
            event matches. At the same instant more columns decide which event is first, in their
            order. Of a strict funnel all events of a person must be there, of others those that
            match something.
    """
    others = [name for name in events.columns if name not in ("person", "time", "bits")]
    rows = events.with_row_index("_row").sort("person", "time", *others)
    person = rows["person"].to_numpy()
    bounds = np.flatnonzero(np.diff(person, prepend=~person[:1])).astype(np.int64)
    bounds = np.append(bounds, len(person))
    people = len(bounds) - 1
    reached = np.zeros(people, np.int8)
    times = np.zeros((people, funnel.steps), np.int64)
    first = np.zeros(people, np.int64)
    time, bits = rows["time"].to_numpy(), rows["bits"].to_numpy()
    window, limit = funnel.window_us, funnel.starts_before
    if funnel.mode == "ordered":
        kills = _kills(funnel)
        loops.ordered(bounds, time, bits, window, limit, kills, reached, times, first)
    elif funnel.mode == "strict":
        loops.strict(bounds, time, bits, window, limit, reached, times, first)
    else:
        loops.any_order(bounds, time, bits, window, limit, reached, times, first)
    began = np.flatnonzero(reached)
    given = rows["_row"].to_numpy()[first[began]].astype(np.int64)
    return Attempts(person[bounds[began]], reached[began], times[began], given)


def _kills(funnel: Funnel) -> NDArray[np.uint32]:
    """Of each exclusion the states in which it ends an attempt: bit k, after step k was taken."""
    masks = [sum(1 << k for k in range(*between)) for between in funnel.exclusions]
    return np.array(masks, np.uint32)


@dataclass(frozen=True)
class Stage:
    """One step of one group.

    people:        whose best attempt took it
    median, p90:   seconds since the step before, of these people; None without any, and for the
                   first step. Between two values it lies in proportion
    since_first:   the same median since the first step
    """

    people: int
    median: float | None
    p90: float | None
    since_first: float | None


def stages(attempts: Attempts, of: NDArray[Any] | slice = slice(None)) -> list[Stage]:
    """The steps of all people, or of those with these numbers or marks."""
    reached, times = attempts.reached[of], attempts.times[of]
    found = []
    for step in range(times.shape[1]):
        there = reached > step
        count = int(there.sum())
        if step == 0 or not count:
            found.append(Stage(count, None, None, None))
            continue
        since_last = (times[there, step] - times[there, step - 1]) / 1e6
        median, p90 = np.quantile(since_last, (0.5, 0.9))
        since_first = np.median(times[there, step] - times[there, 0]) / 1e6
        found.append(Stage(count, float(median), float(p90), float(since_first)))
    return found


def largest(values: Sequence[str | None], counts: Sequence[int], top: int) -> list[str | None]:
    """The values that most people have, those of as many by their text; none at all comes last."""
    by_size = sorted(zip(values, counts, strict=True), key=lambda v: (-v[1], v[0] is None, v[0]))
    return [value for value, _ in by_size[:top]]
