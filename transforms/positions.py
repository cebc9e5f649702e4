"""Which blocks of which producer are held: sets of whole numbers as ranges.

Producers number their blocks without gaps, so a set of millions of blocks is one range, and it
does not matter in which order the blocks came.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Ranges = tuple[tuple[int, int], ...]


def merge(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Sorted, disjoint, touching ones joined; both ends belong to a range."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


@dataclass(frozen=True)
class Positions:
    """Blocks held, by producer. `+` is the union."""

    by_producer: Mapping[str, Ranges] = field(default_factory=dict)

    def __add__(self, other: Positions) -> Positions:
        producers = self.by_producer.keys() | other.by_producer.keys()
        return Positions(
            {
                p: merge((*self.by_producer.get(p, ()), *other.by_producer.get(p, ())))
                for p in producers
            }
        )

    def __sub__(self, other: Positions) -> Positions:
        """The blocks held here and not there."""
        left: dict[str, Ranges] = {}
        for producer, ranges in self.by_producer.items():
            for first, last in other.by_producer.get(producer, ()):
                cut = ((a, min(b, first - 1)) for a, b in ranges)
                rest = ((max(a, last + 1), b) for a, b in ranges)
                ranges = merge((a, b) for a, b in (*cut, *rest) if a <= b)
            if ranges:
                left[producer] = ranges
        return Positions(left)

    def holds(self, producer: str, first: int, last: int | None = None) -> bool:
        """Is this block held? With `last`: are all from `first` to it?"""
        ranges = self.by_producer.get(producer, ())
        at = bisect_right(ranges, first, key=lambda r: r[0]) - 1
        return at >= 0 and (first if last is None else last) <= ranges[at][1]

    def overlaps(self, other: Positions) -> bool:
        """Is any block held by both?"""
        return any(
            a <= last and first <= b
            for p, ranges in other.by_producer.items()
            for a, b in ranges
            for first, last in self.by_producer.get(p, ())
        )

    def first_missing(self, producer: str) -> int:
        """The lowest block number not held."""
        ranges = self.by_producer.get(producer, ())
        return ranges[0][1] + 1 if ranges and ranges[0][0] == 0 else 0

    def to_json(self) -> str:
        """As stored in a snapshot property."""
        return json.dumps(
            {p: [list(r) for r in ranges] for p, ranges in sorted(self.by_producer.items())},
            separators=(",", ":"),
        )

    @classmethod
    def of(cls, spans: Iterable[tuple[str, int, int]]) -> Positions:
        """From (producer, first, last)."""
        by_producer: dict[str, list[tuple[int, int]]] = {}
        for producer, first, last in spans:
            by_producer.setdefault(producer, []).append((first, last))
        return cls({p: merge(ranges) for p, ranges in by_producer.items()})

    @classmethod
    def from_json(cls, text: str) -> Positions:
        """Inverse of to_json."""
        return cls({p: merge((a, b) for a, b in ranges) for p, ranges in json.loads(text).items()})
