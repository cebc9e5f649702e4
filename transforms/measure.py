"""Column batch in, keyed mergeable values out: the one place where events become numbers.

Streaming and batch call the same function; they differ in the bucket (minute or local day) and
in how distinct values are kept (sketch or set).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple, assert_never

import polars as pl

from transforms.metrics import StatisticSpec
from transforms.statistics import DistinctSet, DistinctSketch, Statistic, Total


class Key(NamedTuple):
    """What a value belongs to. `dimensions` is JSON text with sorted keys."""

    project: str
    statistic: str
    dimensions: str


Measured = tuple[Key, int, Statistic]


def measure(
    batch: pl.DataFrame,
    specs: Iterable[StatisticSpec],
    bucket: pl.Expr,
    distinct: type[DistinctSketch] | type[DistinctSet],
) -> Iterator[Measured]:
    """(key, bucket, value) for every statistic and every bucket that has rows.

    bucket: an integer per row, such as the start of its minute. Values of the same key and bucket
    from different batches are merged with `+`; how events were cut into batches changes nothing.
    """
    bucketed = batch.with_columns(_bucket=bucket)
    for spec in specs:
        rows = bucketed if spec.where is None else bucketed.filter(spec.where)
        if rows.height:
            yield from _groups(rows, spec, distinct)


def dimensions_json(names: tuple[str, ...], values: tuple[str | None, ...]) -> str:
    """Dimension values as the JSON text that keys a number; no value is ''."""
    pairs = {name: value or "" for name, value in zip(names, values, strict=True)}
    return json.dumps(pairs, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _groups(
    rows: pl.DataFrame, spec: StatisticSpec, distinct: type[DistinctSketch] | type[DistinctSet]
) -> Iterator[Measured]:
    by = ["project", "_bucket", *spec.dimensions]
    match spec.kind:
        case "count":
            value = pl.len()
        case "sum":
            value = _value(spec).sum()
        case "distinct":
            value = _value(spec).drop_nulls().unique()
        case _:
            assert_never(spec.kind)
    for project, bucket, *rest in rows.group_by(by).agg(value=value).iter_rows():
        *dimensions, got = rest
        key = Key(project, spec.name, dimensions_json(spec.dimensions, tuple(dimensions)))
        if spec.kind == "distinct":
            if got:
                yield key, bucket, distinct.of(pl.Series(got, dtype=pl.String))
        else:
            yield key, bucket, Total(got)


def _value(spec: StatisticSpec) -> pl.Expr:
    if spec.value is None:
        raise ValueError(f"statistic {spec.name} of kind {spec.kind} needs a value")
    return spec.value
