"""The registry: every number the product shows is declared here, once.

A statistic is what workers accumulate over the columns of an event batch; a metric reads one
statistic, or a ratio of two. Live numbers, exact tables, pages and docs all read these entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

Kind = Literal["count", "sum", "distinct"]

PERSON = pl.coalesce("user_id", "anonymous_id")
IS_ORDER = pl.col("order_id").is_not_null() & (pl.col("revenue_minor").fill_null(0) >= 0)


@dataclass(frozen=True)
class StatisticSpec:
    """What is accumulated.

    kind:       count rows, sum `value`, or count different values of `value`
    value:      column or expression, of event columns
    where:      rows that take part
    dimensions: columns it is broken down by; rows without a value stand under ""
    needs:      columns it reads
    live:       can be had from a stream without looking at a person's other events
    """

    name: str
    kind: Kind
    value: pl.Expr | None = None
    where: pl.Expr | None = None
    dimensions: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    live: bool = True


@dataclass(frozen=True)
class Metric:
    """One number with its meaning. A ratio has a `denominator`."""

    name: str
    title: str
    unit: str
    description: str
    statistic: str
    denominator: str | None = None
    owner: str = "product analytics"


_PERSON_COLUMNS = ("user_id", "anonymous_id")

STATISTICS = {
    spec.name: spec
    for spec in (
        StatisticSpec("events", "count", dimensions=("name",), needs=("name",)),
        StatisticSpec("people", "distinct", PERSON, needs=_PERSON_COLUMNS),
        StatisticSpec(
            "buyers",
            "distinct",
            PERSON,
            IS_ORDER,
            needs=(*_PERSON_COLUMNS, "order_id", "revenue_minor"),
        ),
        StatisticSpec(
            "orders",
            "distinct",
            pl.col("order_id"),
            IS_ORDER,
            needs=("order_id", "revenue_minor"),
        ),
        StatisticSpec(
            "revenue",
            "sum",
            pl.col("revenue_minor"),
            pl.col("revenue_minor").is_not_null(),
            ("currency",),
            needs=("revenue_minor", "currency"),
        ),
        StatisticSpec(
            "session_starts",
            "count",
            where=pl.col("session_start"),
            needs=("session_start",),
            live=False,
        ),
    )
}

METRICS = {
    metric.name: metric
    for metric in (
        Metric("events", "Events", "events", "Accepted events, repeats counted once.", "events"),
        Metric(
            "active_users",
            "Active users",
            "people",
            "Different people: the user id, or the anonymous id where there is none.",
            "people",
        ),
        Metric(
            "sessions",
            "Sessions",
            "sessions",
            "Starts of visits: a person's event with none in the 30 minutes before it. A visit "
            "across midnight belongs to the day it starts. Exact tables only.",
            "session_starts",
        ),
        Metric(
            "revenue",
            "Net revenue",
            "minor units",
            "Sum of revenue less refunds, by currency; currencies are never mixed.",
            "revenue",
        ),
        Metric(
            "orders",
            "Orders",
            "orders",
            "Different order ids with revenue that is not negative: a refund is no order.",
            "orders",
        ),
        Metric(
            "conversion_rate",
            "Conversion rate",
            "ratio",
            "People with an order, as a share of active users.",
            "buyers",
            "people",
        ),
    )
}
