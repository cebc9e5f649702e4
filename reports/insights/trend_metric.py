"""Series that name a metric of the project.

A built-in metric is the measure that it is, so it comes from the exact tables where they have it.
One that people defined is in no exact table; it is computed from the events, by the definition
that the live path counts by (`transforms.own_metrics`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import add

import msgspec
import polars as pl

from reports.insights.answer import Unit
from reports.insights.filters import Bindings
from reports.insights.orders_once import repeated_orders
from reports.insights.question import QuestionError, Step
from reports.insights.source import Source
from reports.insights.trend_question import (
    LETTERS,
    Measure,
    MeasureSpec,
    Series,
    TrendQuestion,
)
from reports.insights.trend_source import (
    Found,
    Split,
    code_of,
    once_of,
    period_of,
    read_series,
    tuples,
)
from schemas_avro import load
from transforms import own_metrics
from transforms.grid import DAY_US
from transforms.measure import measure
from transforms.metrics import METRICS
from transforms.own_metrics import PEOPLE, MetricDefinition
from transforms.statistics import DistinctSet, Statistic
from transforms.trends import Grid, Value

BUILT_IN: dict[str, Measure] = {
    "events": "events",
    "active_users": "people",
    "sessions": "sessions",
    "revenue": "revenue",
    "orders": "orders",
    "conversion_rate": "conversion_rate",
}
_AT_ONCE = 1_000_000  # events in memory, or one day's where that has more
_ORDER = ("order_id", "revenue_minor", "currency")
_TIMES = {f.name for f in load("event").fields if f.kind == "timestamp"}


class OwnSeries(Series, frozen=True, kw_only=True):
    """A series of a metric that people of the project defined. Made here, never read."""

    definition: MetricDefinition

    def spec(self) -> MeasureSpec:
        """A sum has decimals or none; distinct values of two periods do not add up."""
        own = self.definition
        unit: Unit = "number" if own.statistic == "sum" else "count"
        return MeasureSpec(name_of(own), unit, adds=own.statistic != "distinct", empty=0)


def name_of(own: MetricDefinition) -> str:
    """How a table names the metric."""
    title = own.title or own.name
    return f"{title}, {own.unit}" if own.unit else title


def with_metrics(question: TrendQuestion, source: Source) -> TrendQuestion:
    """The question with each metric that it names looked up. Raises QuestionError."""
    if not any(one.metric for one in question.series):
        return question
    own = {one.name: one for one in source.own_metrics()}
    series = tuple(
        _looked_up(letter, one, own, source.project) if one.metric else one
        for letter, one in zip(LETTERS, question.series, strict=False)
    )
    return msgspec.structs.replace(question, series=series)


def _looked_up(
    letter: str, one: Series, own: Mapping[str, MetricDefinition], project: str
) -> Series:
    if one.event != Step() or one.measure != "events" or one.property:
        raise QuestionError(
            f"series {letter}: metric={one.metric!r} says what is counted; leave out event, "
            "measure and property, and filter by the question's where"
        )
    if one.metric in BUILT_IN:
        label = one.label or METRICS[one.metric].title
        return msgspec.structs.replace(one, measure=BUILT_IN[one.metric], metric="", label=label)
    if one.metric not in own:
        raise QuestionError(
            f"metric={one.metric!r}: {project} has none of that name; there are "
            f"{', '.join([*BUILT_IN, *own])}. Define one: "
            f"python -m catalog metric put {project} FILE"
        )
    found = own[one.metric]
    return OwnSeries(
        event=Step(name=found.event or found.type),
        label=one.label or name_of(found),
        hidden=one.hidden,
        definition=found,
    )


def values_of(
    one: Series, question: TrendQuestion, grid: Grid, split: Split | None, source: Source
) -> Found:
    """Values of a series from the events, whatever it is of. Raises QuestionError, QueryFailed."""
    if isinstance(one, OwnSeries):
        return _own_series(one, question, grid, split, source)
    return read_series(one, question, grid, split, source)


def _own_series(
    one: OwnSeries, question: TrendQuestion, grid: Grid, split: Split | None, source: Source
) -> Found:
    """Values of a metric of one's own, exact. Raises QueryFailed.

    Its dimensions are taken together; a breakdown is the question's. People are those of the
    question's identity.
    """
    merged: dict[tuple[int, int], Statistic] = {}
    rows_of = _reader(one, question, grid, split, source)
    for span in _spans(one, question, grid, source):
        for period, code, value in _measured(one.definition, source.project, rows_of(span)):
            at = (period, code)
            merged[at] = merged[at] + value if at in merged else value  # type: ignore[operator]
    found = Found()
    for (period, code), statistic in merged.items():
        values = found.values.setdefault((code, ""), [None] * len(grid.periods))
        values[period] = _value(one.definition, statistic)
    for code, _ in found.values:
        parts: list[Statistic] = [s for (_, of), s in merged.items() if of == code]
        found.totals[code, ""] = _value(one.definition, reduce(add, parts))
    return found


def _measured(
    own: MetricDefinition, project: str, rows: pl.DataFrame
) -> Iterator[tuple[int, int, Statistic]]:
    """(period, code, value) by the definition; rows as of _reader."""
    by_project: Mapping[str, Sequence[MetricDefinition]] = {project: [own]}
    (spec,) = own_metrics.specs(by_project)
    value = pl.col("person") if own.value == PEOPLE else spec.value
    by_code = replace(spec, value=value, dimensions=("code",))
    prepared = own_metrics.prepare(rows, by_project)
    for key, period, statistic in measure(prepared, [by_code], pl.col("period"), DistinctSet):
        yield period, int(json.loads(key.dimensions)["code"]), statistic


def _value(own: MetricDefinition, statistic: Statistic) -> Value:
    whole = statistic.value
    return whole / 10**own.decimals if own.statistic == "sum" and own.decimals else whole


def _spans(
    one: OwnSeries, question: TrendQuestion, grid: Grid, source: Source
) -> Iterator[tuple[int, int]]:
    """[start, end) in us, with some events each and not too many for memory."""
    bind = Bindings()
    events = source.events(question, bind, grid.span)
    day = f"((epoch_us(e.event_time) - {grid.span[0]}) // {DAY_US})"
    sql = (
        f"SELECT {day} AS day, count(*) AS events FROM {events} AS e "
        f"WHERE {_takes_part(one.definition, bind)} GROUP BY 1 ORDER BY 1"
    )
    first, last, held = 0, -1, 0
    for number, count in tuples(source.read(sql, bind)):
        if held and held + count > _AT_ONCE:
            yield _span(grid, first, last)
            held = 0
        first, last, held = number if not held else first, number, held + count
    if held:
        yield _span(grid, first, last)


def _span(grid: Grid, first: int, last: int) -> tuple[int, int]:
    start, end = grid.span
    return start + first * DAY_US, min(start + (last + 1) * DAY_US, end)


def _takes_part(own: MetricDefinition, bind: Bindings) -> str:
    found = f"e.type = {bind.add(own.type)}"
    return f"{found} AND e.name = {bind.add(own.event)}" if own.event else found


def _reader(
    one: OwnSeries, question: TrendQuestion, grid: Grid, split: Split | None, source: Source
) -> Callable[[tuple[int, int]], pl.DataFrame]:
    """What gives the metric's events of a span in us.

    Their columns: period, code (text), person, and what the definition reads.
    """
    own = one.definition
    period, joined = period_of(grid, source)
    code, with_code = code_of(question, split)
    needed = sorted(own_metrics.columns_needed({source.project: [own]}) | {"project"})
    once = "true"
    if not {*_ORDER}.isdisjoint(needed):  # an order that is sent again has neither id nor money
        once, again = once_of(repeated_orders(source, grid.span))
        joined += again
    columns = ", ".join(f"{_column(name, once)} AS {name}" for name in needed)

    def rows(span: tuple[int, int]) -> pl.DataFrame:
        bind = Bindings()
        events = source.events(question, bind, span)
        sql = (
            f"SELECT {period} AS period, ({code})::VARCHAR AS code, e.person, {columns} "
            f"FROM {events} AS e {joined} {with_code} WHERE {_takes_part(own, bind)}"
        )
        return pl.DataFrame(source.read(sql, bind))

    return rows


def _column(name: str, once: str) -> str:
    """An event's column as the pipeline has it: times are whole numbers of us."""
    if name in _TIMES:
        return f"epoch_us(e.{name})"
    if name in _ORDER and once != "true":
        return f"CASE WHEN {once} THEN e.{name} END"
    return f"e.{name}::VARCHAR" if name in ("properties", "context") else f"e.{name}"
