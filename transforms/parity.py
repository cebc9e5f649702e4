"""Why live numbers differ from exact ones: the exact rule is turned into the live one in steps.

Each step leaves out, or lets in, what one cause makes of the rows; measuring after each step gives
the cause its share, and the shares add up to the whole difference. What is left has no cause.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import polars as pl

from transforms.dedup import ORDER
from transforms.metrics import METRICS, STATISTICS, StatisticSpec
from transforms.repeats import EVENT_REACH_US, later_copies

TOTAL = "{}"
# In this order; each is the one before it, less what its cause takes away.
COUNTED = "counted"  # as the exact tables count
ARCHIVE = "archive"  # orders that repeat another one count as well
BUS = "bus"  # without what came from files
SINCE = "since"  # from the live store's first minute on
TIMELY = "timely"  # received within the horizon
LIVE_MOST = "live_most"  # and copies that the live numbers may have forgotten the first of
STEPS = (COUNTED, ARCHIVE, BUS, SINCE, TIMELY, LIVE_MOST)
CAUSES = {"repeated_orders": (COUNTED, ARCHIVE), "imported": (ARCHIVE, BUS),
          "before_live": (BUS, SINCE), "late": (SINCE, TIMELY)}  # fmt: skip
_DEVIATIONS = 4  # a sketch is further off once in 16,000 times


class Key(NamedTuple):
    """What is compared. Counts are compared in total, sums by their dimensions."""

    project: str
    day: date
    statistic: str
    dimensions: str


@dataclass(frozen=True)
class LiveRule:
    """What live numbers take.

    since_us:   first minute of the live store by project; where it is left out: all
    bus_prefix: what the names of producers on the bus begin with
    """

    horizon_us: int
    since_us: Mapping[str, int]
    bus_prefix: str


@dataclass(frozen=True)
class Estimate:
    """A live number: its value and relative standard error, 0.0 where it is exact."""

    value: int
    error: float = 0.0


def steps_of(rows: pl.DataFrame, rule: LiveRule) -> Iterator[tuple[str, pl.DataFrame]]:
    """The rows that count after each step but the first, which repeats of orders decide.

    rows: all copies of some keys, with `key`, `key2`, event_time and dedup.ORDER.
    """
    since = pl.col("project").replace_strict(
        dict(rule.since_us), default=-(1 << 62), return_dtype=pl.Int64
    )
    bus = rows.filter(pl.col("producer").str.starts_with(rule.bus_prefix))
    started = bus.filter(pl.col("event_time") >= since)
    timely = started.filter(pl.col("received_time") - pl.col("event_time") <= rule.horizon_us)
    yield ARCHIVE, _once(rows)
    yield BUS, _once(bus)
    yield SINCE, _once(started)
    yield TIMELY, _once(timely)
    yield LIVE_MOST, _remembered(timely, 2 * rule.horizon_us)


def _once(rows: pl.DataFrame) -> pl.DataFrame:
    copies = later_copies(rows, ORDER, EVENT_REACH_US)
    return rows.join(copies.select(*ORDER), on=ORDER, how="anti", nulls_equal=True)


def _remembered(rows: pl.DataFrame, memory_us: int) -> pl.DataFrame:
    """Without copies that came while the one before them was remembered for certain."""
    ordered = rows.sort(*ORDER)
    gap = pl.col("received_time") - pl.col("received_time").shift(1).over("key", "key2")
    return ordered.filter(gap.is_null() | (gap > memory_us))


def compared(values: Iterable[tuple[tuple[str, str, str, date], int]]) -> dict[Key, int]:
    """((project, statistic, dimensions, day), value) -> what is compared, counts in total."""
    found: dict[Key, int] = {}
    for (project, statistic, dimensions, day), value in values:
        spec = STATISTICS.get(statistic)
        if spec is None or not spec.live:
            continue
        key = Key(project, day, statistic, dimensions if spec.kind == "sum" else TOTAL)
        found[key] = found.get(key, 0) + value
    return found


def exact_values(rows: Iterable[tuple[str, date, str, str, int]]) -> dict[Key, int]:
    """(project, day, metric, dimensions, value) of the exact table -> what is compared."""
    by_metric = {m.name: STATISTICS[m.statistic] for m in METRICS.values()}
    found = {}
    for project, day, metric, dimensions, value in rows:
        spec = by_metric.get(metric)
        if spec is not None and spec.live and _is_compared(spec, dimensions):
            found[Key(project, day, spec.name, dimensions)] = value
    return found


def _is_compared(spec: StatisticSpec, dimensions: str) -> bool:
    return (dimensions == TOTAL) != (spec.kind == "sum")


def explain(
    key: Key, live: Estimate, exact: int, steps: Mapping[str, int]
) -> dict[str, int | str | date]:
    """A row of `parity` without its stamp. steps: the number after each step; left out: 0."""
    after = {name: steps.get(name, 0) for name in STEPS}
    shares = {cause: after[a] - after[b] for cause, (a, b) in CAUSES.items()}
    left = live.value - after[TIMELY]
    again = after[LIVE_MOST] - after[TIMELY]
    # Of copies that live numbers may have forgotten, any number can have counted again.
    repeats = max(min(left, max(again, 0)), min(again, 0))
    left -= repeats
    bound = math.ceil(_DEVIATIONS * live.error * max(live.value, after[TIMELY], 0))
    sketch = left if abs(left) <= bound else 0
    return {
        **key._asdict(),
        "live": live.value,
        "exact": exact,
        **shares,
        "repeats": repeats,
        "sketch": sketch,
        "bound": bound,
        # The exact table must be what the same rule makes of the same snapshot.
        "unexplained": left - sketch - (exact - after[COUNTED]),
    }
