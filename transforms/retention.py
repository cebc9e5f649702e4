"""Retention: of the people who started in a period, how many came back so many periods later.

A cohort is a period p and the people who did the start event in it. Cell (p, k) counts those of
them who did the return event in period p + k, or, rolling, in p + k or any later one that is looked
at. The order of two events within a period says nothing. A cell whose period is not over is not
known: nobody could have been counted to the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transforms.periods import Words, spread


@dataclass(frozen=True)
class Retention:
    """Counts; of several sets of different people they add up.

    sizes:  people of each cohort
    counts: of cohort p those back in period p + k: (periods, longest + 1)
    known:  is that period over?
    """

    sizes: NDArray[np.int64]
    counts: NDArray[np.int64]
    known: NDArray[np.bool_]

    def __add__(self, other: Retention) -> Retention:
        return Retention(self.sizes + other.sizes, self.counts + other.counts, self.known)

    def share(self, cohort: int, later: int) -> float | None:
        """Who came back, of the cohort; None where it is empty or the period is not over."""
        if not self.known[cohort, later] or not self.sizes[cohort]:
            return None
        return float(self.counts[cohort, later] / self.sizes[cohort])

    def average(self, later: int) -> tuple[int, int, float | None]:
        """(people, back, share) over all cohorts of which it is known: large ones weigh more."""
        known = self.known[:, later]
        people, back = int(self.sizes[known].sum()), int(self.counts[known, later].sum())
        return people, back, back / people if people else None


def retention(
    starts: Words, returns: Words, periods: int, *, over: int, longest: int, rolling: bool = False
) -> Retention:
    """starts, returns: periods in which each person did the one and the other, in the same order.

    over:    so many of the periods, from the first on, are over
    longest: the last k
    """
    sizes = np.zeros(periods, np.int64)
    met = np.zeros((periods, periods), np.int64)
    for started, returned in zip(spread(starts, periods), spread(returns, periods), strict=True):
        seen = _last_only(returned) if rolling else returned
        sizes += started.sum(axis=0, dtype=np.float64).astype(np.int64)
        # Row p, column q: who started in p and was seen in q. Whole numbers below 2**24, so exact.
        met += (started.T @ seen).astype(np.int64)
    if rolling:  # whose last return is in q or later
        met = np.cumsum(met[:, ::-1], axis=1)[:, ::-1]
    cohort, later = np.indices((periods, longest + 1))
    known = cohort + later < over
    counts = np.where(known, met[cohort, np.minimum(cohort + later, periods - 1)], 0)
    return Retention(sizes, counts, known)


def _last_only(sets: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each set its last period alone."""
    kept = np.zeros_like(sets)
    rows = np.flatnonzero(sets.any(axis=1))
    last = sets.shape[1] - 1 - np.argmax(sets[rows, ::-1], axis=1)
    kept[rows, last] = 1
    return kept
