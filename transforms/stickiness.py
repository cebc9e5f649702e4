"""Stickiness: how many people were active in exactly n of the periods."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transforms.periods import Words, spread


def stickiness(active: Words, periods: int) -> NDArray[np.int64]:
    """People by the number of periods they were active in: item n - 1 is n, for 1 to periods."""
    found = np.zeros(periods + 1, np.int64)
    for chunk in spread(active, periods):
        found += np.bincount(chunk.sum(axis=1).astype(np.int64), minlength=periods + 1)
    return found[1:]
