"""Web vitals: what they are, what is good, and percentiles of anything that was timed, by group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

from transforms.quantiles import Quantiles

Rating = Literal["good", "needs improvement", "poor"]


@dataclass(frozen=True, slots=True)
class Vital:
    """One of the web vitals. Up to `good` it is good, above `poor` it is poor, in `unit`."""

    name: str
    title: str
    unit: str
    good: float
    poor: float

    def rated(self, p75: float) -> Rating:
        """The rating of the 75th percentile of page views."""
        if p75 <= self.good:
            return "good"
        return "needs improvement" if p75 <= self.poor else "poor"


# Limits as published on https://web.dev/articles/vitals and the page of each vital there
# (lcp, inp, cls, fcp, ttfb); they are for the 75th percentile of page views.
VITALS = {
    vital.name: vital
    for vital in (
        Vital("LCP", "Largest Contentful Paint", "ms", 2_500, 4_000),
        Vital("INP", "Interaction to Next Paint", "ms", 200, 500),
        Vital("CLS", "Cumulative Layout Shift", "", 0.1, 0.25),
        Vital("FCP", "First Contentful Paint", "ms", 1_800, 3_000),
        Vital("TTFB", "Time to First Byte", "ms", 800, 1_800),
    )
}
SHARES = (0.5, 0.75, 0.9, 0.99)


COUNTED = ("bucket", "n", "low", "high")  # values of a bucket of `transforms.quantiles`


def by_group(rows: pl.DataFrame) -> dict[tuple[str, ...], Quantiles]:
    """Sketch of each group of the columns that are not COUNTED, which are texts.

    Rows without a bucket, whose events have no number, are left out.
    """
    names = [name for name in rows.columns if name not in COUNTED]
    found = {}
    for key, part in rows.drop_nulls("bucket").partition_by(names, as_dict=True).items():
        counts = dict(part.select("bucket", "n").iter_rows())
        low, high = part.select(pl.min("low"), pl.max("high")).row(0)
        found[tuple(map(str, key))] = Quantiles(counts, low, high)
    return found


def largest(found: Mapping[tuple[str, ...], Quantiles], most: int) -> list[str]:
    """First parts of the keys with most values; of equal ones the first by name."""
    counts: dict[str, int] = {}
    for (name, *_), values in found.items():
        counts[name] = max(counts.get(name, 0), values.count)
    return sorted(counts, key=lambda name: (-counts[name], name))[:most]
