"""Percentiles from a mergeable sketch: counts of values in buckets that grow by 1 %.

C. Masson, J. E. Rim, H. K. Lee: DDSketch, PVLDB 12 (2019), 2195-2205. A bucket holds all values
between two powers of GAMMA, and stands for the one in its middle, so that a percentile lies within
RELATIVE_ERROR of a value that was really there, always. Merging adds whole numbers: in any order,
however the values were split, the sketch is the same to the last bit. (KLL and t-digest bound the
error of the rank, with some probability, and depend on the order.)
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import polars as pl

RELATIVE_ERROR = 0.005
GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
SMALLEST = 1e-9  # what is nearer to 0 counts as 0
_LOG_GAMMA = math.log(GAMMA)


@dataclass(frozen=True, slots=True)
class Quantiles:
    """How values are distributed, in the unit of the values.

    buckets: sign * (number of the bucket + _OFFSET) -> how many values; 0: zeros
    low, high: smallest and largest value, exactly
    """

    buckets: Mapping[int, int] = field(default_factory=dict)
    low: float = math.inf
    high: float = -math.inf

    @classmethod
    def of(cls, values: Iterable[float]) -> Quantiles:
        """From finite numbers. Raises ValueError for others."""
        return cls.of_series(pl.Series(list(values), dtype=pl.Float64))

    @classmethod
    def of_series(cls, values: pl.Series) -> Quantiles:
        """From a column of finite numbers; null is no value. Raises ValueError for inf and NaN."""
        values = values.drop_nulls().cast(pl.Float64)
        if not values.is_finite().all():
            raise ValueError("a percentile needs finite numbers; leave inf and NaN out")
        if values.is_empty():
            return cls()
        counts = values.to_frame("value").group_by(bucket("value")).agg(n=pl.len())
        low, high = values.min(), values.max()
        assert isinstance(low, float)
        assert isinstance(high, float)
        return cls(dict(counts.iter_rows()), low, high)

    def __add__(self, other: Quantiles) -> Quantiles:
        together = Counter(self.buckets)
        together.update(other.buckets)
        return Quantiles(together, min(self.low, other.low), max(self.high, other.high))

    @property
    def count(self) -> int:
        """How many values."""
        return sum(self.buckets.values())

    def at(self, share: float) -> float | None:
        """The smallest value that at least this share (0 to 1) of all reach not; None: no values.

        Nearest rank: with n values the one of rank max(1, ceil(share * n)), within RELATIVE_ERROR.
        """
        if not self.buckets:
            return None
        rank = max(1, math.ceil(share * self.count - 1e-9))
        for key in sorted(self.buckets):
            rank -= self.buckets[key]
            if rank <= 0:
                return min(max(_middle(key), self.low), self.high)
        return self.high

    def share_up_to(self, limit: float) -> float | None:
        """Share of values that are at most `limit`, give or take those within RELATIVE_ERROR."""
        if not self.buckets:
            return None
        return sum(n for key, n in self.buckets.items() if _middle(key) <= limit) / self.count


# Numbers of buckets are shifted so that those of values below 1 are positive, too.
_OFFSET = 1 - math.ceil(math.log(SMALLEST) / _LOG_GAMMA)


def bucket(column: str) -> pl.Expr:
    """The bucket of each value of a column."""
    value = pl.col(column)
    number = (value.abs().clip(SMALLEST).log() / _LOG_GAMMA).ceil().cast(pl.Int64) + _OFFSET
    sign = pl.when(value > 0).then(1).otherwise(-1)
    return pl.when(value.abs() < SMALLEST).then(0).otherwise(number * sign).alias("bucket")


def bucket_sql(value: str) -> str:
    """The same in SQL as DuckDB reads it; null where there is no value."""
    size = f"greatest(abs({value}), {SMALLEST!r})"
    number = f"(ceil(ln({size}) / {_LOG_GAMMA!r})::BIGINT + {_OFFSET})"
    return (
        f"CASE WHEN {value} IS NULL THEN NULL WHEN abs({value}) < {SMALLEST!r} THEN 0 "
        f"WHEN {value} > 0 THEN {number} ELSE -{number} END"
    )


def _middle(key: int) -> float:
    if key == 0:
        return 0.0
    # Of GAMMA ** (n - 1) and GAMMA ** n the value that is equally far from both, relatively.
    middle = math.exp((abs(key) - _OFFSET) * _LOG_GAMMA) * 2 / (1 + GAMMA)
    return math.copysign(middle, key)
