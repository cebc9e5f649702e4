"""Which events repeat an order that counts already, by the rule of `transforms.repeats`."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from reports.insights.filters import Bindings
from reports.insights.source import Source
from transforms.repeats import (
    ORDER_OF_ORDERS,
    ORDER_REACH_US,
    WHOLE_ORDER,
    key_columns,
    later_copies,
    orders_of,
)

PLACE = ("producer", "seq", "row")


def repeated_orders(source: Source, span: tuple[int, int]) -> str | None:
    """A table with the PLACE of the events in a span, us, whose order and money do not count.

    None where there are none. An order is the project's, so no filter of a question changes it.
    """
    bind = Bindings()
    start, end = span[0] - ORDER_REACH_US, span[1] + ORDER_REACH_US
    sql = (
        "SELECT name, order_id, revenue_minor, epoch_us(event_time) AS event_time, "
        "epoch_us(received_time) AS received_time, producer, seq, row "
        f"FROM {source.stored(start, end)} "
        f"WHERE lower(name) = {bind.add(WHOLE_ORDER)} AND order_id IS NOT NULL "
        "AND coalesce(revenue_minor, 0) >= 0"
    )
    rows = pl.DataFrame(source.read(sql, bind))
    keyed = orders_of(rows).with_columns(key_columns(("order_id",)))
    again = later_copies(keyed, ORDER_OF_ORDERS, ORDER_REACH_US).select(PLACE)
    if again.is_empty():
        return None
    columns = {name: pa.array(again[name].to_list()) for name in PLACE}
    return source.give(pa.table(columns))
