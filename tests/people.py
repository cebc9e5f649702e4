"""What people did in which period, the slow and plain way: sets, loops and the calendar."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

Sets = Sequence[set[int]]  # periods of each person


def words(sets: Sets, periods: int) -> list[NDArray[np.uint64]]:
    """The sets as transforms.periods has them."""
    count = -(-periods // 64)
    rows = [[0] * count for _ in sets]
    for row, members in zip(rows, sets, strict=True):
        for member in members:
            row[member // 64] |= 1 << (member % 64)
    return [np.array([row[word] for row in rows], np.uint64) for word in range(count)]


def day_of(at: int, zone: str) -> date:
    """Local day of an instant, us."""
    return datetime.fromtimestamp(at / 1e6, UTC).astimezone(ZoneInfo(zone)).date()


def start_of(day: date, grain: str) -> date:
    """First day of the period that the day lies in."""
    if grain == "week":
        while day.weekday() != 0:
            day -= timedelta(1)
    return day.replace(day=1) if grain == "month" else day


def calendar(first: date, last: date, grain: str) -> list[date]:
    """First days of all periods that these days touch."""
    days = [first + timedelta(n) for n in range((last - first).days + 1)]
    return sorted({start_of(day, grain) for day in days})
