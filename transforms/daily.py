"""Statistics of one day -> the rows of the exact daily table, one per metric and dimensions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

from transforms.metrics import METRICS, STATISTICS
from transforms.statistics import Statistic

REPEATS = "repeats"  # bookkeeping beside the registry: copies that did not count
TOTAL = "{}"


@dataclass(frozen=True, slots=True)
class Stamp:
    """What every row says of how far it can be trusted, both in us."""

    computed_at: int
    complete_until: int


def daily_rows(
    project: str, day: date, values: Iterable[tuple[tuple[str, str], Statistic]], stamp: Stamp
) -> list[dict[str, Any]]:
    """Rows of `daily_aggregate`. `values` are ((statistic, dimensions), value) of that day.

    A count broken down by a dimension gets a total row besides; sums in different currencies
    do not. A metric whose statistic has no value is 0, except per-currency sums, which have no
    row for a currency that did not occur.
    """
    by_statistic: dict[str, dict[str, int]] = {}
    for (statistic, dimensions), value in values:
        by_statistic.setdefault(statistic, {})[dimensions] = value.value
    for name, spec in STATISTICS.items():
        found = by_statistic.setdefault(name, {})
        if spec.kind != "sum":
            found[TOTAL] = sum(found.values())
    shared = {
        "project": project,
        "day": day,
        "computed_at": stamp.computed_at,
        "complete_until": stamp.complete_until,
        "events_in": by_statistic["events"][TOTAL],
        "duplicates": by_statistic.get(REPEATS, {}).get(TOTAL, 0),
    }
    return [
        {
            "metric": metric.name,
            "dimensions": dimensions,
            "value": value,
            "denominator": by_statistic[metric.denominator][dimensions]
            if metric.denominator
            else None,
            **shared,
        }
        for metric in METRICS.values()
        for dimensions, value in sorted(by_statistic[metric.statistic].items())
    ]
