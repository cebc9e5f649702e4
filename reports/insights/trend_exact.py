"""Values of a plain series from the exact tables, which hold them already: no event is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from reports.insights.source import Source
from reports.insights.trend_metric import BUILT_IN, OwnSeries
from reports.insights.trend_question import Measure, Series, TrendQuestion
from reports.insights.trend_source import Found
from transforms.exact import TOTAL
from transforms.judge import TYPES
from transforms.trends import Grid, Value

_METRICS: dict[Measure, str] = {measure: metric for metric, measure in BUILT_IN.items()}
_OF_PEOPLE = ("people", "sessions", "conversion_rate")
_ADDS = ("events", "sessions", "revenue")


def exact_series(one: Series, question: TrendQuestion, grid: Grid, source: Source) -> Found | None:
    """Values and, where they add up, totals; None where only the events can tell.

    Exact tables know events by name, and all events together; people by device; whole periods.
    """
    if not _is_plain(one, question, source) or not _is_whole(grid, source):
        return None
    until = _counted_until(grid, source)
    if until is None:
        return None
    dimensions = _dimensions(one)
    numbers = {period.key: number for number, period in enumerate(grid.periods)}
    found = Found()
    for key, text, value, denominator in _rows(_METRICS[one.measure], grid, source):
        number = numbers.get(key)
        if number is None or (dimensions is not None and text != dimensions):
            continue
        currency = json.loads(text)["currency"] if one.measure == "revenue" else ""
        values = found.values.setdefault((0, currency), [None] * len(grid.periods))
        values[number] = _read(one.measure, value, denominator)
    if one.measure in _ADDS:
        found.totals = {key: _sum(values) for key, values in found.values.items()}
    source.complete_until = min(at for at in (source.complete_until, until) if at)
    return found


def _is_plain(one: Series, question: TrendQuestion, source: Source) -> bool:
    """Is it a number of the registry, of everybody?"""
    if isinstance(one, OwnSeries) or one.measure not in _METRICS or one.event.where:
        return False
    if question.where or question.cohort or question.breakdown:
        return False
    if question.cumulative and one.measure not in _ADDS:
        return False
    if one.event.name is not None and (one.measure != "events" or one.event.name in TYPES):
        return False
    by_device = question.identity == "device" or not source.joins_people()
    return by_device or one.measure not in _OF_PEOPLE


def _is_whole(grid: Grid, source: Source) -> bool:
    """Does it cut no period, but for the one that is not over yet?"""
    first, last = grid.periods[0], grid.periods[-1]
    if grid.grain in ("hour", "day"):
        return True
    if first.label != first.first.isoformat():
        return False
    return not last.is_cut or last.end > source.now_us


def _counted_until(grid: Grid, source: Source) -> int | None:
    """Events received up to here are in the tables, us; None where they lag behind the grid."""
    until = source.rolled_up_until()
    if until is None:
        return None
    begun = [period.start for period in grid.periods if period.start <= source.now_us]
    if begun and until < begun[-1] and not source.is_rolled_up():
        return None
    if grid.grain != "day":
        # `daily` is written last; the others are as new where they have seen what it has.
        newest = source.read(
            "SELECT (SELECT max(complete_until) FROM daily) AS daily, "
            "(SELECT max(complete_until) FROM periods WHERE grain = $grain) AS periods",
            {"grain": grid.grain},
            tables=("daily", "periods"),
        ).to_pylist()[0]
        if newest["daily"] is None or newest["daily"] != newest["periods"]:
            return None
    return until


def _dimensions(one: Series) -> str | None:
    """Dimensions of the rows that are wanted; None: any."""
    if one.measure == "revenue":
        return None
    if one.event.name is None:
        return TOTAL
    return json.dumps({"name": one.event.name}, separators=(",", ":"), ensure_ascii=False)


def _rows(metric: str, grid: Grid, source: Source) -> Iterator[tuple[int, str, int, int | None]]:
    """(start of the period in us, dimensions, value, denominator)."""
    if grid.grain == "day":
        days = {period.first: period.key for period in grid.periods}
        table = source.read(
            "SELECT day, dimensions, value, denominator FROM daily "
            "WHERE metric = $metric AND day BETWEEN $first AND $last",
            {"metric": metric, "first": grid.periods[0].first, "last": grid.periods[-1].first},
            tables=("daily",),
        )
        for row in table.to_pylist():
            yield days[row["day"]], row["dimensions"], row["value"], row["denominator"]
        return
    table = source.read(
        "SELECT epoch_us(period_start) AS start, dimensions, value, denominator FROM periods "
        "WHERE metric = $metric AND grain = $grain "
        "AND epoch_us(period_start) BETWEEN $first AND $last",
        {
            "metric": metric,
            "grain": grid.grain,
            "first": grid.periods[0].key,
            "last": grid.periods[-1].key,
        },
        tables=("periods",),
    )
    for row in table.to_pylist():
        yield row["start"], row["dimensions"], row["value"], row["denominator"]


def _read(measure: Measure, value: int, denominator: Any) -> Value:
    if measure != "conversion_rate":
        return value
    return value / denominator if denominator else None


def _sum(values: list[Value]) -> Value:
    return sum(value for value in values if value is not None)
