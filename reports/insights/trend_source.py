"""Values of a series by period, from raw events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from reports.insights.filters import Bindings, all_of, any_named, expression, matches, number
from reports.insights.orders_once import PLACE, repeated_orders
from reports.insights.parts import parts
from reports.insights.source import Source
from reports.insights.trend_question import COUNTED_ONCE, Measure, Series, TrendQuestion
from transforms.grid import day_span_us
from transforms.trends import Grid, Value, cumulative, visits

Key = tuple[int, str]  # code of the breakdown's value, currency; (0, "") where there is neither
REST = -1  # code of all values that are not shown
_QUANTILES: dict[Measure, float] = {"median": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_IS_ORDER = "e.order_id IS NOT NULL AND coalesce(e.revenue_minor, 0) >= 0"
_ONCE = "again.producer IS NULL"


@dataclass
class Found:
    """Values of one series.

    values: of each key one a period; a period that nothing happened in may be None
    totals: over all periods; a key has none where that is not known
    """

    values: dict[Key, list[Value]] = field(default_factory=dict)
    totals: dict[Key, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Split:
    """The breakdown: its values, by code, and the table that has them."""

    values: tuple[str | None, ...]
    table: str
    has_rest: bool


def split_of(question: TrendQuestion, source: Source) -> Split:
    """The values with the most events of all series together."""
    bind = Bindings()
    text = expression(question.breakdown)
    steps = [one.event for one in question.series]
    hit = " OR ".join(matches(step, bind) for step in steps)
    events = source.events(question, bind)
    sql = (
        f"SELECT {text} AS value, count(*) AS events FROM {events} AS e "
        f"WHERE {any_named(steps, bind)} AND ({hit}) GROUP BY 1 "
        f"ORDER BY events DESC, value IS NULL, value LIMIT {question.top + 1}"
    )
    found = source.read(sql, bind)["value"].to_pylist()
    shown = tuple(found[: question.top])
    known = {value: code for code, value in enumerate(shown) if value is not None}
    codes = pa.table(
        {
            "value": pa.array(known, pa.string()),
            "code": pa.array(known.values(), pa.int32()),
        }
    )
    return Split(shown, source.give(codes), len(found) > question.top)


def read_series(
    one: Series, question: TrendQuestion, grid: Grid, split: Split | None, source: Source
) -> Found:
    """Values of a series over a grid. Raises QuestionError, QueryFailed."""
    if one.measure == "sessions":
        return _sessions(one, question, grid, split, source)
    bind = Bindings()
    rows = _rows(one, question, grid, split, source, bind)
    if question.cumulative and (counted := COUNTED_ONCE.get(one.measure)):
        return _so_far(counted, rows, bind, grid, source)
    sql = (
        f"SELECT period, code, currency, {_AGGREGATES[one.measure]} FROM ({rows}) "
        "GROUP BY GROUPING SETS ((period, code, currency), (code, currency))"
    )
    found = Found()
    for period, code, currency, *got in tuples(source.read(sql, bind)):
        key, value = (code, currency), _value(one.measure, got)
        if period is None:
            found.totals[key] = value
        else:
            found.values.setdefault(key, [None] * len(grid.periods))[period] = value
    return found


# Over the rows of _rows: what each measure makes of them.
_AGGREGATES: dict[Measure, str] = {
    "events": "count(*) AS a",
    "people": "count(DISTINCT person) AS a",
    "revenue": "sum(minor)::VARCHAR AS a",
    "orders": "count(DISTINCT order_id) AS a",
    "conversion_rate": "count(DISTINCT buyer) AS a, count(DISTINCT person) AS b",
    "events_per_person": "count(person) AS a, count(DISTINCT person) AS b",
    "sum": "fsum(x) AS a",
    "average": "favg(x) AS a",
    "minimum": "min(x) AS a",
    "maximum": "max(x) AS a",
    **{name: f"quantile_cont(x, {at}) AS a" for name, at in _QUANTILES.items()},
}


def _value(measure: Measure, got: list[Any]) -> Value:
    match measure:
        case "conversion_rate" | "events_per_person":
            return got[0] / got[1] if got[1] else None
        case "revenue":  # as text: no column of Arrow's holds a sum of any size
            return int(got[0])
    value: Value = got[0]
    return value


def _rows(
    one: Series,
    question: TrendQuestion,
    grid: Grid,
    split: Split | None,
    source: Source,
    bind: Bindings,
) -> str:
    """SQL of the series' events: period, code, currency, and what its measure is made of."""
    period, joined = period_of(grid, source)
    code, with_code = code_of(question, split)
    columns, conditions, currency = [], [matches(one.event, bind)], "''"
    once = "true"
    if one.measure in ("revenue", "orders", "conversion_rate"):
        once, again = once_of(repeated_orders(source, grid.span))
        joined += again
    match one.measure:
        case "people" | "events_per_person":
            columns = ["e.person"]
        case "revenue":
            columns, currency = ["e.revenue_minor AS minor"], "coalesce(e.currency, '')"
            conditions += ["e.revenue_minor IS NOT NULL", once]
        case "orders":
            columns, conditions = ["e.order_id"], [*conditions, _IS_ORDER, once]
        case "conversion_rate":
            columns = ["e.person", f"CASE WHEN {_IS_ORDER} AND {once} THEN e.person END AS buyer"]
        case _ if one.property:
            columns = [f"{number(one.property)} AS x"]
            conditions.append(f"{number(one.property)} IS NOT NULL")
    listed = ", ".join([f"{period} AS period", f"{code} AS code", f"{currency} AS currency"])
    more = "".join(f", {column}" for column in columns)
    where = " AND ".join([any_named([one.event], bind), *conditions])
    events = source.events(question, bind, grid.span)
    return f"SELECT {listed}{more} FROM {events} AS e {joined} {with_code} WHERE {where}"


def once_of(repeated: str | None) -> tuple[str, str]:
    """Expression of whether an event's order and money count, and the join that it needs.

    repeated: as of repeated_orders
    """
    if not repeated:
        return "true", ""
    same = " AND ".join(f"again.{name} = e.{name}" for name in PLACE)
    return _ONCE, f" LEFT JOIN {repeated} AS again ON {same}"


def period_of(grid: Grid, source: Source) -> tuple[str, str]:
    """Expression of the number of an event's period, and the join that it needs."""
    start, unit = grid.span[0], grid.unit()
    number_of_unit = f"((epoch_us(e.event_time) - {start}) // {unit})"
    if all(period.end - period.start == unit for period in grid.periods):
        return f"{number_of_unit}::INTEGER", ""
    numbers = grid.numbers()
    units = pa.table({"unit": pa.array(np.arange(len(numbers))), "period": pa.array(numbers)})
    return "units.period", f"JOIN {source.give(units)} AS units ON units.unit = {number_of_unit}"


def code_of(question: TrendQuestion, split: Split | None) -> tuple[str, str]:
    """Expression of the code of an event's value, and the join that it needs."""
    if split is None:
        return "0", ""
    text = expression(question.breakdown)
    none = split.values.index(None) if None in split.values else REST
    code = f"CASE WHEN {text} IS NULL THEN {none} ELSE coalesce(shown.code, {REST}) END"
    return code, f"LEFT JOIN {split.table} AS shown ON shown.value = {text}"


def _so_far(column: str, rows: str, bind: Bindings, grid: Grid, source: Source) -> Found:
    """Each value counts in the first period in which it is seen."""
    sql = (
        "SELECT period, code, count(*) AS seen FROM ("
        f"SELECT code, {column}, min(period) AS period FROM ({rows}) "
        f"WHERE {column} IS NOT NULL GROUP BY code, {column}) GROUP BY period, code"
    )
    found = Found()
    for period, code, seen in tuples(source.read(sql, bind)):
        found.values.setdefault((code, ""), [0] * len(grid.periods))[period] = seen
    for key, new in found.values.items():
        found.totals[key] = cumulative(new)[-1]
    return found  # new ones by period: what sums them up comes later, for every measure


def _sessions(
    one: Series, question: TrendQuestion, grid: Grid, split: Split | None, source: Source
) -> Found:
    """Visits with a matching event, in the period of the first one. All events make the visits."""
    zone, (start, end) = grid.zone, grid.span
    days_before = date.fromisoformat(grid.periods[0].label[:10]) - timedelta(days=2)
    span = (day_span_us(days_before, zone)[0], end)
    midnights, day = [], days_before
    while (midnight := day_span_us(day, zone)[0]) < end:
        midnights.append(midnight)
        day += timedelta(days=1)
    sums: dict[int, NDArray[np.int64]] = {}
    for some in parts(source.most_rows(*span)):
        rows = _hits(one, question, split, source, span, some)
        times, hits = rows["time"].to_numpy(), rows["hit"].to_numpy()
        begun = visits(rows["person"].to_numpy(), times, hits, np.array(midnights, np.int64))
        begun = begun[times[begun] >= start]
        periods = grid.numbers()[(times[begun] - start) // grid.unit()]
        codes = rows["code"].to_numpy()[begun]
        for code in np.unique(codes).tolist():
            counts = np.bincount(periods[codes == code], minlength=len(grid.periods))
            sums[code] = sums.get(code, 0) + counts
    return Found(
        {(code, ""): counts.tolist() for code, counts in sums.items()},
        {(code, ""): int(counts.sum()) for code, counts in sums.items()},
    )


def _hits(
    one: Series,
    question: TrendQuestion,
    split: Split | None,
    source: Source,
    span: tuple[int, int],
    some: str,
) -> pl.DataFrame:
    """Events of some of the people in order, each with what it is split by; `hit`: it matches."""
    bind = Bindings()
    everything = msgspec.structs.replace(question, where=())
    code, joined = code_of(question, split)
    hit = f"{matches(one.event, bind)} AND {all_of(question.where, bind)}"
    events = source.events(everything, bind, span)
    sql = (
        f"SELECT hash(e.person) AS person, epoch_us(e.event_time) AS time, e.seq, e.row, "
        f"({hit}) AS hit, {code} AS code FROM {events} AS e {joined} "
        f"WHERE e.person IS NOT NULL AND {some}"
    )
    return pl.DataFrame(source.read(sql, bind)).sort("person", "time", "seq", "row")


def tuples(table: pa.Table) -> Sequence[tuple[Any, ...]]:
    """Its rows."""
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))
