"""Revenue: gross, refunds, net, orders and average order; by period, currency, product, campaign.

An order counts once, by the rule of `transforms.repeats`: what the last rollup found is in the
table `repeats`, and the rule is applied anew to what is visible, so that events which came since
count once as well. Without conditions the numbers are those of the exact daily table.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Any, Literal

import msgspec
import polars as pl
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reports.insights.answer import Chart, Column, Table, Unit
from reports.insights.filters import Bindings, expression
from reports.insights.kinds import Kind, register
from reports.insights.question import Question, QuestionError
from reports.insights.source import Source
from reports.present import money
from schemas_avro.tables import REPEATS
from transforms.grid import DAY_US, Grain, add_periods, first_day, last_day
from transforms.money import MoneyError, exponent
from transforms.repeats import ORDER_REACH_US, REPEAT_KINDS, WHOLE_ORDER
from transforms.revenue import (
    MONEY,
    NO_CURRENCY,
    NONE,
    PLACE,
    SUMS,
    ProductKey,
    last_touch,
    product_lines,
    repeated_orders,
    settled,
    sums,
    top_values,
)

Split = Literal["nothing", "product", "campaign", "property"]
_US = "epoch_us(e.event_time)::BIGINT AS event_time"
_PLACES = ", ".join(f"e.{name}" for name in PLACE)
_PLACE_TYPES = {"producer": pl.String, "seq": pl.Int64, "row": pl.Int32}
_TITLES: dict[str, tuple[str, Unit]] = {
    "gross": ("Gross", "money"),
    "refunds": ("Refunds", "money"),
    "net": ("Net", "money"),
    "orders": ("Orders", "count"),
    "average_order": ("Average order", "money"),
}
_MORE = msgspec.Meta(extra_json_schema={"x-more": True})


class Revenue(Question, frozen=True, kw_only=True):
    """What was earned: gross, refunds, net, orders and the average order.

    by:              length of a period
    split:           a row for each product, campaign or value of a property
    product_key:     what names a product
    campaign_key:    what names a campaign
    last_touch_days: money without a campaign of its own goes to the last one that brought its
                     person within so many days before; 0: to none
    split_property:  for the split by property
    currency:        only this one, such as GBP; empty: each by itself
    top:             how many values of a split stand for themselves
    """

    by: Literal["day", "week", "month"] = "day"
    split: Split = "nothing"
    product_key: Annotated[ProductKey, _MORE] = "product_id"
    campaign_key: Annotated[
        Literal["campaign_name", "campaign_source", "campaign_medium"], _MORE
    ] = "campaign_name"
    last_touch_days: Annotated[
        int, msgspec.Meta(ge=0, le=366, extra_json_schema={"x-more": True})
    ] = 0
    split_property: Annotated[str, _MORE] = ""
    currency: str = ""
    top: Annotated[int, msgspec.Meta(ge=1, le=1000, extra_json_schema={"x-more": True})] = 10


def answer(question: Revenue, source: Source) -> Table:
    """Rows by period, currency and split. Raises QuestionError, QueryFailed."""
    _check(question)
    rows = settled(_money(question, source), _again(question, source))
    rows = rows.filter(pl.col("revenue_minor").is_not_null() | pl.col("order_id").is_not_null())
    rows = rows.with_columns(
        currency=pl.col("currency").fill_null(NO_CURRENCY),
        project=pl.lit(source.project),
        amount=pl.col("revenue_minor"),
    )
    rows = add_periods(rows, {source.project: source.zone}).with_columns(time=pl.col(question.by))
    totals = sums(rows, ["currency"])
    if question.split != "nothing":
        rows = top_values(_split(rows, question, source), question.top)
        found = sums(rows, ["time", "currency", "value"])
    else:
        found = _filled(sums(rows, ["time", "currency"]), question, source)
    return Table(
        columns=_columns(question),
        rows=[(day.isoformat(), *rest) for day, *rest in found.iter_rows()],
        chart=_chart(question),
        totals=tuple(_totals(totals, rows)),
        notes=tuple(_notes(question, source, totals)),
    )


def _check(question: Revenue) -> None:
    if (question.split == "property") != bool(question.split_property):
        raise QuestionError(
            f"split={question.split!r} and split_property={question.split_property!r}: give both, "
            "split = property and the name of the property, or neither"
        )
    if question.currency:
        try:
            exponent(question.currency)
        except MoneyError:
            raise QuestionError(
                f"currency={question.currency!r} is unknown; use its ISO 4217 code, such as GBP"
            ) from None


def _money(question: Revenue, source: Source) -> pl.DataFrame:
    """The question's events with money or an order, and what a split needs of them."""
    bind = Bindings()
    more = ""
    match question.split:
        case "product":
            more = ", e.properties"
        case "campaign":
            more = f", e.{question.campaign_key} AS value, e.person"
        case "property":
            more = f", {expression(question.split_property)} AS value"
    events = source.events(question, bind)
    wanted = f" AND e.currency = {bind.add(question.currency)}" if question.currency else ""
    sql = (
        f"SELECT {_US}, {_PLACES}, {', '.join(f'e.{c}' for c in MONEY)}{more} FROM {events} AS e "
        f"WHERE (e.revenue_minor IS NOT NULL OR e.order_id IS NOT NULL){wanted}"
    )
    return _frame(source.read(sql, bind))


def _again(question: Revenue, source: Source) -> pl.DataFrame:
    """Places of the events whose order counts already; of all events, whatever is asked."""
    start, end = source.span(question)
    bind = Bindings()
    whole = bind.add(WHOLE_ORDER)
    sql = f"""
        WITH orders AS (
            SELECT e.name, e.order_id, e.revenue_minor, {_US},
                epoch_us(e.received_time)::BIGINT AS received_time, {_PLACES}
            FROM {source.stored(start - ORDER_REACH_US, end + ORDER_REACH_US + 1)} AS e
            WHERE e.order_id IS NOT NULL AND lower(e.name) = {whole}
                AND coalesce(e.revenue_minor, 0) >= 0
        )
        SELECT * FROM orders
        WHERE order_id IN (SELECT order_id FROM orders GROUP BY order_id HAVING count(*) > 1)
    """
    visible = repeated_orders(_frame(source.read(sql, bind)))
    return pl.concat([visible.cast(_PLACE_TYPES), _known_again(source, start, end)])  # type: ignore[arg-type]


def _known_again(source: Source, start_us: int, end_us: int) -> pl.DataFrame:
    """What the last rollup wrote down of these days."""
    empty = pl.DataFrame(schema=_PLACE_TYPES)
    days = range(start_us // DAY_US - 1, end_us // DAY_US + 2)
    files = source.warehouse.files.of(REPEATS)
    paths = [path for path, day in files.days.items() if day in days]
    if not paths:
        return empty
    ours = pc.field("project") == source.project
    wanted = ours & (pc.field("kind") == REPEAT_KINDS[1])
    found = pq.read_table(paths, columns=list(PLACE), filters=wanted, partitioning=None)
    return _frame(found).cast(_PLACE_TYPES)  # type: ignore[arg-type]


def _frame(table: Any) -> pl.DataFrame:
    found = pl.from_arrow(table)
    assert isinstance(found, pl.DataFrame)
    return found


def _split(rows: pl.DataFrame, question: Revenue, source: Source) -> pl.DataFrame:
    """The rows with `value`; of products a row for each line, with its part of the amount."""
    match question.split:
        case "product":
            lines = product_lines(rows.drop("amount"), question.product_key)
            paid = pl.col("revenue_minor").is_not_null()
            return lines.with_columns(amount=pl.when(paid).then("amount"))
        case "campaign" if question.last_touch_days:
            return last_touch(rows, _touches(question, source), question.last_touch_days * DAY_US)
    empty = pl.col("value").is_null() | (pl.col("value") == "")
    return rows.with_columns(value=pl.when(empty).then(pl.lit(NONE)).otherwise("value"))


def _touches(question: Revenue, source: Source) -> pl.DataFrame:
    """Everybody's campaigns, from so long before the first day on."""
    start, end = source.span(question)
    bind = Bindings()
    everything = msgspec.structs.replace(question, where=())
    span = (start - question.last_touch_days * DAY_US, end)
    events = source.events(everything, bind, span)
    sql = (
        f"SELECT e.person, {_US}, e.{question.campaign_key} AS value FROM {events} AS e "
        f"WHERE e.person IS NOT NULL AND nullif(e.{question.campaign_key}, '') IS NOT NULL"
    )
    return _frame(source.read(sql, bind))


def _filled(found: pl.DataFrame, question: Revenue, source: Source) -> pl.DataFrame:
    """With a row of noughts for each currency and period in which nothing was earned."""
    times = pl.DataFrame({"time": _periods(*source.days(question), question.by)})
    grid = times.join(found.select("currency").unique(), how="cross")
    noughts = [pl.col(name).fill_null(0) for name in SUMS if name != "average_order"]
    return (
        grid.join(found, on=["time", "currency"], how="left")
        .with_columns(noughts)
        .select("time", "currency", *SUMS)
        .sort("time", "currency")
    )


def _periods(first: date, last: date, grain: Grain) -> list[date]:
    found = [first_day(first, grain)]
    while (after := last_day(found[-1], grain) + timedelta(1)) <= last:
        found.append(after)
    return found


def _columns(question: Revenue) -> tuple[Column, ...]:
    split = [Column("value", _split_title(question), "label")]
    return (
        Column("time", question.by.capitalize(), "time"),
        Column("currency", "Currency", "label"),
        *(split if question.split != "nothing" else []),
        *(Column(name, *_TITLES[name]) for name in SUMS),
    )


def _split_title(question: Revenue) -> str:
    if question.split == "property":
        return question.split_property
    return question.split.capitalize()


def _chart(question: Revenue) -> Chart:
    if question.split == "nothing":
        return Chart("line", x="time", y="net", color="currency", grain=question.by)
    return Chart("stacked_bar", x="time", y="net", color="value", grain=question.by)


def _totals(totals: pl.DataFrame, rows: pl.DataFrame) -> list[tuple[str, Any, Unit]]:
    found: list[tuple[str, Any, Unit]] = []
    for row in totals.iter_rows(named=True):
        code = row["currency"]
        if code == NO_CURRENCY:
            continue
        for name in ("net", "gross", "refunds", "average_order"):
            if row[name] is None:
                continue
            title, shown = _TITLES[name][0], money(row[name], code)["text"]
            found += [(f"{title}, {code}", shown, "label")]
    ids = rows.filter(pl.col("revenue_minor").fill_null(0) >= 0)["order_id"].drop_nulls()
    return [*found, ("Orders", ids.n_unique(), "count")]


def _notes(question: Revenue, source: Source, totals: pl.DataFrame) -> list[str]:
    notes = []
    first, last = source.days(question)
    if totals.is_empty():
        notes.append(
            "No event of these days has money: send revenue and currency with Order Completed."
        )
    if last_day(first_day(last, question.by), question.by) >= source.today:
        notes.append(f"The last {question.by} is not over yet.")
    if first != first_day(first, question.by):
        notes.append(f"The first {question.by} is not whole: the days begin on {first}.")
    if NO_CURRENCY in totals["currency"].to_list():
        notes.append(f"{NO_CURRENCY}: orders without any amount, which have no currency.")
    if question.split == "product":
        notes.append(
            "A product has price times quantity of its lines; “(rest of the order)” is what is "
            "left of the order, such as tax, postage and discounts. An order with several products "
            "counts once for each."
        )
    return notes


register(
    Kind(
        name="revenue",
        title="Revenue",
        description="Gross, refunds, net, orders and average order, exact to the minor unit.",
        question=Revenue,
        answer=answer,
        example={"dates": "last_30_days", "by": "day"},
    )
)
