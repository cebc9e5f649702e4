"""Lifecycle: what becomes of people from one period to the next.

In each period somebody who is active is

- new, where it is the first period of her whole life;
- returning, where she was active in the period before as well;
- resurrecting, where she was not, but once before that.

Dormant are those who were active in the period before and are not in this one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transforms.periods import Words, spread

STATES = ("new", "returning", "resurrecting", "dormant")


@dataclass(frozen=True)
class Lifecycle:
    """People of each period by state: arrays of periods; those of different people add up."""

    new: NDArray[np.int64]
    returning: NDArray[np.int64]
    resurrecting: NDArray[np.int64]
    dormant: NDArray[np.int64]

    def __add__(self, other: Lifecycle) -> Lifecycle:
        return Lifecycle(*(getattr(self, s) + getattr(other, s) for s in STATES))


def lifecycle(active: Words, firsts: NDArray[np.int64], periods: int) -> Lifecycle:
    """The counts of periods 1 to periods - 1; period 0 is only looked back at.

    active: periods in which each person was active
    firsts: first active period of each person's whole life, negative before period 0
    """
    found = Lifecycle(*(np.zeros(periods - 1, np.int64) for _ in STATES))
    done = 0
    for chunk in spread(active, periods):
        first = firsts[done : done + len(chunk)]
        done += len(chunk)
        now, before = chunk[:, 1:] > 0, chunk[:, :-1] > 0
        is_first = np.arange(1, periods)[None, :] == first[:, None]
        fresh = now & is_first
        found += Lifecycle(
            fresh.sum(axis=0),
            (now & before).sum(axis=0),
            (now & ~before & ~is_first).sum(axis=0),
            (before & ~now).sum(axis=0),
        )
    return found
