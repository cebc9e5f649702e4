"""Mergeable values: what workers accumulate and reports read out. A zero, and `+`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import datasketches
import polars as pl

LG_K = 12  # theta sketches are exact up to 2**12 distinct values, then 1.6 % standard error


@dataclass(frozen=True, slots=True)
class Total:
    """A count or a sum, as an exact integer (money in minor units)."""

    value: int = 0

    def __add__(self, other: Total) -> Total:
        return Total(self.value + other.value)


@dataclass(frozen=True, slots=True)
class DistinctSketch:
    """How many different values, within bounded memory.

    A serialised theta sketch (datasketches.apache.org): exact while `value` <= 4,096, beyond that
    the standard error is 1.6 %. `+` is the set union, so order and repeats change nothing.
    """

    sketch: bytes = b""

    @classmethod
    def of(cls, values: pl.Series) -> Self:
        """From strings; null and '' are no value."""
        sketch = datasketches.update_theta_sketch(LG_K)
        for value in values.drop_nulls().unique():
            sketch.update(value)
        return cls(_trimmed([sketch.compact()]))

    @classmethod
    def union(cls, parts: list[DistinctSketch]) -> DistinctSketch:
        """All of them merged at once: cheaper than `+` one by one."""
        sketches = [
            datasketches.compact_theta_sketch.deserialize(p.sketch) for p in parts if p.sketch
        ]
        return cls(_trimmed(sketches)) if sketches else cls()

    def __add__(self, other: DistinctSketch) -> DistinctSketch:
        if not self.sketch or not other.sketch:
            return self if self.sketch else other
        return DistinctSketch.union([self, other])

    @property
    def value(self) -> int:
        """The estimate, rounded; exact while `error` is 0."""
        if not self.sketch:
            return 0
        return int(datasketches.compact_theta_sketch.deserialize(self.sketch).get_estimate() + 0.5)

    @property
    def error(self) -> float:
        """Relative standard error: 0.0 while exact."""
        if not self.sketch:
            return 0.0
        sketch = datasketches.compact_theta_sketch.deserialize(self.sketch)
        return 2 ** (-LG_K / 2) if sketch.is_estimation_mode() else 0.0


def _trimmed(sketches: list[object]) -> bytes:
    # Through a union even for one: it keeps exactly the k smallest hashes, so that the bytes
    # do not depend on how the values were split over sketches.
    union = datasketches.theta_union(LG_K)
    for sketch in sketches:
        union.update(sketch)
    return bytes(union.get_result().serialize())


@dataclass(frozen=True, slots=True)
class DistinctSet:
    """How many different values, exactly: the set itself. For batch, sharded by value."""

    values: frozenset[str] = frozenset()

    @classmethod
    def of(cls, values: pl.Series) -> Self:
        """From strings; null and '' are no value."""
        return cls(frozenset(values.drop_nulls().unique().to_list()) - {""})

    def __add__(self, other: DistinctSet) -> DistinctSet:
        return DistinctSet(self.values | other.values)

    @property
    def value(self) -> int:
        """The size of the set."""
        return len(self.values)


Statistic = Total | DistinctSketch | DistinctSet
