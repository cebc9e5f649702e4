"""Which rows do not count because another one says the same: repeated ids, repeated orders.

The rule is local in time: a row does not count where a row with the same key goes before it and
lies within `reach_us` of it. So a period can be computed from the period and its surroundings,
and computing it alone, again, or with all others gives the same.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

import polars as pl

from transforms.dedup import ORDER
from transforms.metrics import IS_ORDER

# Copies of an event have the same time but where the sender gave none, or its clock was mended in
# between. Below 23 hours, the shortest day, copies lie on the same day or on two in a row.
EVENT_REACH_US = 23 * 3_600_000_000
# More than the longest month: in no hour, day, week or month does an order count twice.
ORDER_REACH_US = 32 * 86_400_000_000
# Says all of an order at once, by Segment's e-commerce events: sent again it is the same order.
# Other events with an order id are parts of one, such as its lines, and all of them count.
WHOLE_ORDER = "order completed"
IS_WHOLE_ORDER = IS_ORDER & (pl.col("name").str.to_lowercase() == WHOLE_ORDER)
# Of the events of an order those with money go first: an order that is announced without an
# amount and then paid is worth what was paid.
ORDER_OF_ORDERS = ("unpaid", *ORDER)
REPEAT_KINDS = ("event", "order")  # what a row repeats, as `repeat.avsc` has it
_KEY = ("key", "key2")


def key_columns(columns: Sequence[str]) -> list[pl.Expr]:
    """Columns `key` and `key2`: together 128 bits of hash that stand for the columns' values.

    Two different values among a thousand million have the same one with probability 1.5e-21.
    Stable within one version of polars: for shuffling, never for storage.
    """
    text = pl.concat_str([pl.col(c).fill_null("") for c in columns], separator="\x1f")
    return [text.hash(seed).alias(name) for name, seed in zip(_KEY, (11, 1_000_003), strict=True)]


def orders_of(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows that say a whole order, with `unpaid`; refunds and order lines do not."""
    paid = pl.col("revenue_minor").fill_null(0) > 0
    return rows.filter(IS_WHOLE_ORDER).with_columns(unpaid=~paid)


def later_copies(rows: pl.DataFrame, order: Sequence[str], reach_us: int) -> pl.DataFrame:
    """The rows that do not count. `rows` has `key`, `key2`, `event_time` and the columns `order`.

    All rows of a key must be there; in which order they come changes nothing.
    """
    several = rows.filter(pl.col("key").is_duplicated())
    if several.is_empty():
        return several
    ordered = several.sort(*_KEY, *order)
    spread = (pl.col("event_time").max() - pl.col("event_time").min()).over(_KEY)
    near = ordered.filter(spread <= reach_us).filter(pl.struct(_KEY).is_first_distinct().not_())
    far = ordered.filter(spread > reach_us)
    if far.is_empty():
        return near
    groups = far.partition_by(_KEY, maintain_order=True)
    later = [group.filter(_with_one_before(group["event_time"], reach_us)) for group in groups]
    return pl.concat([near, *later])


def _with_one_before(times: pl.Series, reach_us: int) -> list[bool]:
    """For each time: does any of those before it in the list lie within reach?"""
    before: list[int] = []
    found = []
    for at in times:
        nearest = bisect_left(before, at - reach_us)
        found.append(nearest < len(before) and before[nearest] <= at + reach_us)
        insort(before, at)
    return found
