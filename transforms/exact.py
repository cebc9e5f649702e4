"""Events -> exact numbers by hour, day, week and month: partial sums, then rows of the tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from datetime import date
from typing import assert_never

import polars as pl

from transforms.grid import HOUR_US, Grain, period_span_us
from transforms.measure import dimensions_json
from transforms.metrics import METRICS, STATISTICS, StatisticSpec

REPEATS = "repeats"  # bookkeeping beside the registry: copies that did not count
TOTAL = "{}"
PERIOD = ("project", "grain", "day", "period_start")
# One partial sum. period_start: first instant of the hour in us, null where the day says it all.
SUMS = {
    "project": pl.String(),
    "grain": pl.String(),
    "day": pl.Date(),
    "period_start": pl.Int64(),
    "statistic": pl.String(),
    "dimensions": pl.String(),
    "value": pl.Int64(),
}
_KEY = (*PERIOD, "statistic", "dimensions")
# Wanted periods: by grain, (project, first day); of hours the days whose hours are wanted.
Periods = Mapping[Grain, Set[tuple[str, date]]]


@dataclass(frozen=True, slots=True)
class Stamp:
    """What every row says of how far it can be trusted, both in us."""

    computed_at: int
    complete_until: int


def sums(rows: pl.DataFrame, specs: Iterable[StatisticSpec], periods: Periods) -> pl.DataFrame:
    """Partial sums of `rows` (with `hour`, `day`, `week`, `month`) for the wanted periods.

    All rows of a person must be in the same batch, and an order counts in one row only: then
    distinct values are distinct in all batches together, and every statistic adds up.
    """
    found = [pl.DataFrame(schema=SUMS)]
    for grain, wanted in periods.items():
        there = _within(rows, grain, wanted)
        start = pl.col("hour") if grain == "hour" else pl.lit(None, pl.Int64)
        framed = there.with_columns(grain=pl.lit(grain), period_start=start, day=_first(grain))
        for spec in specs:
            taking = framed if spec.where is None else framed.filter(spec.where)
            if taking.height:
                found.append(_grouped(taking, spec))
    return pl.concat(found)


def repeat_sums(repeats: pl.DataFrame, periods: Periods) -> pl.DataFrame:
    """How many of the rows lie in each wanted period: what the numbers left out."""
    spec = StatisticSpec(REPEATS, "count")
    return sums(repeats, [spec], periods)


def _within(rows: pl.DataFrame, grain: Grain, wanted: Set[tuple[str, date]]) -> pl.DataFrame:
    types = {"project": pl.String, "_first": pl.Date}
    keys = pl.DataFrame(sorted(wanted), schema=types, orient="row")
    first = rows.with_columns(_first=_first(grain))
    return first.join(keys, on=["project", "_first"], how="semi").drop("_first")


def _first(grain: Grain) -> pl.Expr:
    return pl.col("day" if grain == "hour" else grain)


def _grouped(rows: pl.DataFrame, spec: StatisticSpec) -> pl.DataFrame:
    match spec.kind:
        case "count":
            value = pl.len()
        case "sum":
            value = _value(spec).sum()
        case "distinct":
            value = _value(spec).filter(_value(spec) != "").n_unique()
        case _:
            assert_never(spec.kind)
    by = [*PERIOD, *spec.dimensions]
    grouped = rows.group_by(by).agg(value=value.cast(pl.Int64))
    if spec.dimensions:
        names = grouped.select(spec.dimensions).unique()
        texts = [dimensions_json(spec.dimensions, row) for row in names.iter_rows()]
        named = names.with_columns(dimensions=pl.Series(texts, dtype=pl.String))
        grouped = grouped.join(named, on=spec.dimensions, how="left", nulls_equal=True)
    else:
        grouped = grouped.with_columns(dimensions=pl.lit(TOTAL))
    grouped = grouped.with_columns(statistic=pl.lit(spec.name)).select(*SUMS)
    # No name and an empty one have the same dimension value.
    return grouped.group_by(_KEY).agg(pl.col("value").sum()).select(*SUMS)


def _value(spec: StatisticSpec) -> pl.Expr:
    if spec.value is None:
        raise ValueError(f"statistic {spec.name} of kind {spec.kind} needs a value")
    return spec.value


def read_out(parts: Iterable[pl.DataFrame], stamp: Stamp, zones: Mapping[str, str]) -> pl.DataFrame:
    """Partial sums -> rows of `period_aggregate`, sorted by its key; in any order the same rows.

    A count broken down by a dimension gets a total row besides; sums in different currencies
    do not. A metric whose statistic has no value is 0, except per-currency sums, which have no
    row for a currency that did not occur.
    """
    merged = pl.concat(parts).group_by(_KEY).agg(pl.col("value").sum())
    periods = merged.select(PERIOD).unique()
    counts = [name for name, spec in STATISTICS.items() if spec.kind != "sum"]
    everywhere = periods.join(pl.DataFrame({"statistic": [*counts, REPEATS]}), how="cross")
    totals = (
        everywhere.join(
            merged.group_by(*PERIOD, "statistic").agg(pl.col("value").sum()),
            on=[*PERIOD, "statistic"],
            how="left",
            nulls_equal=True,
        )
        .with_columns(pl.col("value").fill_null(0), dimensions=pl.lit(TOTAL))
        .select(*SUMS)
    )
    broken_down = merged.filter(pl.col("dimensions") != TOTAL).select(*SUMS)
    values = pl.concat([totals, broken_down])
    rows = pl.concat([_metric_rows(values, name) for name in METRICS])
    for column, statistic in (("events_in", "events"), ("duplicates", REPEATS)):
        of = totals.filter(pl.col("statistic") == statistic)
        rows = rows.join(
            of.select(*PERIOD, pl.col("value").alias(column)), on=PERIOD, nulls_equal=True
        )
    stamped = rows.with_columns(
        computed_at=pl.lit(stamp.computed_at, pl.Int64),
        complete_until=pl.lit(stamp.complete_until, pl.Int64),
    )
    return _with_ends(stamped, zones).sort(
        "project", "grain", "period_start", "metric", "dimensions", nulls_last=True
    )


def _metric_rows(values: pl.DataFrame, name: str) -> pl.DataFrame:
    metric = METRICS[name]
    above = values.filter(pl.col("statistic") == metric.statistic).drop("statistic")
    if metric.denominator is None:
        found = above.with_columns(denominator=pl.lit(None, pl.Int64))
    else:
        below = values.filter(pl.col("statistic") == metric.denominator).drop("statistic")
        key = [*PERIOD, "dimensions"]
        found = above.join(
            below.rename({"value": "denominator"}), on=key, how="left", nulls_equal=True
        )
    return found.select(*PERIOD, "dimensions", "value", "denominator", metric=pl.lit(name))


def _with_ends(rows: pl.DataFrame, zones: Mapping[str, str]) -> pl.DataFrame:
    """First instant of each period, and first instant after it; of hours the start is known."""
    kinds = rows.select("project", "grain", "day").unique()
    spans = []
    for project, grain, day in kinds.iter_rows():
        spans.append((project, grain, day, *period_span_us(day, grain, zones.get(project, "UTC"))))
    types = {"project": pl.String, "grain": pl.String, "day": pl.Date,
             "_start": pl.Int64, "_end": pl.Int64}  # fmt: skip
    known = pl.DataFrame(spans, schema=types, orient="row")
    start = pl.coalesce("period_start", "_start")
    is_hour = pl.col("grain") == "hour"
    end = pl.when(is_hour).then(start + HOUR_US).otherwise(pl.col("_end"))
    return (
        rows.join(known, on=["project", "grain", "day"], how="left")
        .with_columns(period_start=start, period_end=end)
        .drop("_start", "_end")
    )
