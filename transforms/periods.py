"""Days, weeks or months of the site's zone side by side, and in which of them people are active.

Periods are numbered from 0. A set of them is a row of bits: word w of a person has bit b where the
person did it in period 64 w + b. So a person of a year of days is six numbers, whatever she did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from transforms.grid import day_span_us, first_day, last_day

PeriodGrain = Literal["day", "week", "month"]
Words: TypeAlias = Sequence[NDArray[np.uint64]]  # word 0 of all people, word 1, …
WORD_BITS = 64
_CHUNK = 1 << 17  # people whose bits are spread out at once: float32 counts to 2**24 exactly


@dataclass(frozen=True)
class Segment:
    """Periods of equal length: from `start` (us) on, `length` (us) each, the first is `first`."""

    start: int
    length: int
    first: int


@dataclass(frozen=True)
class Periods:
    """Whole periods that touch some days.

    firsts: first day of each
    bounds: first instant of each, and first instant after the last, us; one longer than firsts
    """

    grain: PeriodGrain
    zone: str
    firsts: tuple[date, ...]
    bounds: tuple[int, ...]

    @classmethod
    def of(
        cls, days: tuple[date, date], grain: PeriodGrain, zone: str, *, before: int = 0
    ) -> Periods:
        """The periods in which these days, both included, lie; and so many before them."""
        first = first_day(days[0], grain)
        for _ in range(before):
            first = first_day(first - timedelta(1), grain)
        firsts = [first]
        while (following := last_day(firsts[-1], grain) + timedelta(1)) <= days[1]:
            firsts.append(following)
        bounds = [day_span_us(day, zone)[0] for day in firsts]
        end = day_span_us(last_day(firsts[-1], grain), zone)[1]
        return cls(grain, zone, tuple(firsts), (*bounds, end))

    def __len__(self) -> int:
        return len(self.firsts)

    @property
    def span(self) -> tuple[int, int]:
        """[start, end) of all, us."""
        return self.bounds[0], self.bounds[-1]

    @property
    def words(self) -> int:
        """Words that a set of them needs."""
        return -(-len(self) // WORD_BITS)

    def over(self, now_us: int) -> int:
        """How many of them, from the first on, are over."""
        return sum(end <= now_us for end in self.bounds[1:])

    def segments(self) -> list[Segment]:
        """Runs of periods of equal length; a day of 23 or 25 hours is one of its own."""
        found: list[Segment] = []
        for number, start in enumerate(self.bounds[:-1]):
            length = self.bounds[number + 1] - start
            if not found or found[-1].length != length:
                found.append(Segment(start, length, number))
        return found


def spread(words: Words, periods: int) -> Iterator[NDArray[np.float32]]:
    """The sets as matrices of 0 and 1, people x periods, some people at a time."""
    people = len(words[0]) if words else 0
    for start in range(0, people, _CHUNK):
        stacked = np.stack([word[start : start + _CHUNK] for word in words], axis=1)
        # Little-endian bytes, so that bit b of word w is column 64 w + b.
        octets = np.ascontiguousarray(stacked.astype("<u8")).view(np.uint8)
        bits = np.unpackbits(octets, axis=1, bitorder="little", count=periods)
        yield bits.astype(np.float32)


def one_bit(numbers: NDArray[np.int64], periods: int) -> list[NDArray[np.uint64]]:
    """Sets of one period each; outside 0 … periods - 1 it is the empty set."""
    inside = (numbers >= 0) & (numbers < periods)
    words = []
    for word in range(-(-periods // WORD_BITS)):
        here = inside & (numbers // WORD_BITS == word)
        bit = np.uint64(1) << (numbers % WORD_BITS).astype(np.uint64)
        words.append(np.where(here, bit, np.uint64(0)))
    return words
