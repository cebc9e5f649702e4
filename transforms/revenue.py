"""Money of events: which orders count, what each product had of it, sums by period. Pure.

Amounts are whole minor units from the first row to the last sum. Rows are those of `events`, each
once, with event_time and received_time as int64 us.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Any, Literal

import msgspec
import polars as pl

from transforms.metrics import IS_ORDER
from transforms.money import MoneyError, exponent
from transforms.repeats import (
    ORDER_OF_ORDERS,
    ORDER_REACH_US,
    key_columns,
    later_copies,
    orders_of,
)

PLACE = ("producer", "seq", "row")
MONEY = ("order_id", "revenue_minor", "currency")
OTHER, REST, NONE = "(other)", "(rest of the order)", "(none)"
NO_CURRENCY = "XXX"  # ISO 4217: no currency is involved
SUMS = {"gross": pl.Int64, "refunds": pl.Int64, "net": pl.Int64, "orders": pl.Int64,
        "average_order": pl.Int64}  # fmt: skip
_MAX = 10**16
_EXACT = Context(prec=200)
_DECODER = msgspec.json.Decoder(float_hook=Decimal)

ProductKey = Literal["product_id", "sku", "name", "category", "brand"]


def repeated_orders(rows: pl.DataFrame) -> pl.DataFrame:
    """PLACE of the events whose order counts already, by the rule of `transforms.repeats`.

    rows: all events with an order id of the project around the days that are looked at, with name,
          order_id, revenue_minor, event_time, received_time and PLACE
    """
    keyed = orders_of(rows).with_columns(key_columns(("order_id",)))
    return later_copies(keyed, ORDER_OF_ORDERS, ORDER_REACH_US).select(PLACE)


def settled(rows: pl.DataFrame, again: pl.DataFrame) -> pl.DataFrame:
    """The rows as they count: those at a PLACE of `again` have no order and no money any more."""
    marked = rows.join(
        again.select(PLACE).unique().with_columns(_again=pl.lit(True)), on=PLACE, how="left"
    )
    counts = pl.col("_again").is_null()
    return marked.with_columns(pl.when(counts).then(pl.col(c)).alias(c) for c in MONEY).drop(
        "_again"
    )


def product_lines(rows: pl.DataFrame, key: ProductKey) -> pl.DataFrame:
    """Each row's money by product: columns `value` and `amount`, one row for each line.

    rows have `properties`, JSON text. An event with a list `products` has a line for each product
    with a price: price x quantity, rounded half to even to minor units, negative where the event's
    money is. Where there is one product without a price, all is its own. What the lines leave of
    the event's amount, such as tax, postage and discount, is a line REST: so lines always add up to
    the event. An event without the list belongs whole to its own `product_id` (or sku, …).
    """
    values: list[list[str]] = []
    amounts: list[list[int]] = []
    wanted = rows.select("properties", "revenue_minor", "currency").iter_rows()
    for properties, revenue, currency in wanted:
        lines = _lines(properties, revenue, currency, key)
        values.append([name for name, _ in lines])
        amounts.append([amount for _, amount in lines])
    listed = rows.drop("properties").with_columns(
        value=pl.Series(values, dtype=pl.List(pl.String)),
        amount=pl.Series(amounts, dtype=pl.List(pl.Int64)),
    )
    return listed.explode("value", "amount")


def _lines(
    properties: str | None, revenue: int | None, currency: str | None, key: ProductKey
) -> list[tuple[str, int]]:
    found = _object(properties)
    products = found.get("products")
    if not isinstance(products, list) or not products:
        return [(_named(found, key), revenue or 0)]
    listed = [one if isinstance(one, dict) else {} for one in products]
    if revenue is None:
        return [(name, 0) for name in dict.fromkeys(_named(one, key) for one in listed)]
    if len(listed) == 1 and listed[0].get("price") is None:
        return [(_named(listed[0], key), revenue)]
    by_name: dict[str, int] = {}
    for one in listed:
        amount = _amount(one, currency)
        if amount is not None:
            name = _named(one, key)
            by_name[name] = by_name.get(name, 0) + (-amount if revenue < 0 else amount)
    if sum(map(abs, by_name.values())) > _MAX:
        return [(REST, revenue)]
    rest = revenue - sum(by_name.values())
    return [*by_name.items(), *([(REST, rest)] if rest or not by_name else [])]


def _object(text: str | None) -> dict[str, Any]:
    try:
        found = _DECODER.decode(text or "{}")
    except (msgspec.MsgspecError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _named(product: Mapping[str, Any], key: ProductKey) -> str:
    value = product.get(key)
    return str(value) if isinstance(value, str | int) and str(value) else NONE


def _amount(product: Mapping[str, Any], currency: str | None) -> int | None:
    """Minor units of a line; None where it has no price that can be read."""
    price, quantity = _decimal(product.get("price")), _decimal(product.get("quantity", 1))
    if price is None or quantity is None or currency is None:
        return None
    try:
        value = _EXACT.multiply(price, quantity).scaleb(exponent(currency), _EXACT)
    except MoneyError:
        return None
    if abs(value) > _MAX:
        return None
    return int(value.to_integral_value(ROUND_HALF_EVEN, _EXACT))


def _decimal(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        return None
    try:
        found = Decimal(value)
    except InvalidOperation:
        return None
    if not found.is_finite():
        return None
    if not found:
        return Decimal(0)
    small = -20 < found.adjusted() < 20 and len(found.as_tuple().digits) < 40
    return found if small else None


def last_touch(
    rows: pl.DataFrame, touches: pl.DataFrame, lookback_us: int | None = None
) -> pl.DataFrame:
    """`rows` with `value`: their own, or that of the person's last touch before, else NONE.

    rows:    with `person` (may be null), `event_time` and `value` (null or empty: none of its own)
    touches: with `person`, `event_time`, `value`; of several at one instant the greatest counts
    """
    known = (
        touches.drop_nulls()
        .filter(pl.col("value") != "")
        .sort("event_time", "value")
        .unique(["person", "event_time"], keep="last", maintain_order=True)
        .select("person", "event_time", touched="value")
    )
    ordered = rows.with_row_index("_at").sort("event_time")
    joined = ordered.join_asof(
        known.sort("event_time"),
        on="event_time",
        by="person",
        strategy="backward",
        tolerance=lookback_us,
        check_sortedness=False,
    )
    own = pl.when(pl.col("value") != "").then("value")
    value = pl.coalesce(own, "touched", pl.lit(NONE))
    return joined.with_columns(value=value).sort("_at").drop("_at", "touched")


def top_values(rows: pl.DataFrame, most: int) -> pl.DataFrame:
    """`rows` with every `value` but the `most` with the greatest gross as OTHER.

    Amounts in different currencies are never added: a value's rank is its best one in any currency,
    and of equal ones the first in alphabetical order goes before.
    """
    gross = (
        rows.group_by("value", "currency")
        .agg(gross=pl.col("amount").filter(pl.col("revenue_minor") > 0).sum())
        .with_columns(rank=pl.col("gross").rank("min", descending=True).over("currency"))
        .group_by("value")
        .agg(rank=pl.col("rank").min(), gross=pl.col("gross").max())
        .sort("rank", "gross", "value", descending=[False, True, False])
    )
    kept = gross["value"].head(most)
    shown = pl.when(pl.col("value").is_in(kept.implode())).then("value").otherwise(pl.lit(OTHER))
    return rows.with_columns(value=shown)


def sums(rows: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """SUMS by the columns `by`, sorted by them.

    rows: settled, with `amount`, minor units of their part of the event's money (null: none)

    gross:    parts of events with money above nought; refunds: of those below, as a negative
              number; net: both
    orders:   different order ids of events whose own money is not negative
    average_order: gross of the events with an order id, by orders, rounded half to even; null
              without an order
    """
    amount, whole = pl.col("amount").fill_null(0), pl.col("revenue_minor")
    found = rows.group_by(by).agg(
        gross=amount.filter(whole > 0).sum(),
        refunds=amount.filter(whole < 0).sum(),
        orders=pl.col("order_id").filter(IS_ORDER).n_unique().cast(pl.Int64),
        _of_orders=amount.filter(IS_ORDER & (whole > 0)).sum(),
    )
    averages = [
        half_even(of_orders, orders) if orders else None
        for of_orders, orders in found.select("_of_orders", "orders").iter_rows()
    ]
    return (
        found.with_columns(
            net=pl.col("gross") + pl.col("refunds"),
            average_order=pl.Series(averages, dtype=pl.Int64),
        )
        .select(*by, *SUMS)
        .sort(by)
    )


def half_even(total: int, count: int) -> int:
    """total / count as a whole number, rounded once. count: above 0."""
    whole, rest = divmod(total, count)
    return whole + (2 * rest > count or (2 * rest == count and whole % 2 == 1))
