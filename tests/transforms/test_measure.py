"""measure: the same numbers however events are cut into batches; equal to plain loops."""

from __future__ import annotations

import random
from collections import defaultdict
from functools import reduce
from itertools import pairwise
from operator import add
from typing import Any

import polars as pl
import pytest

from schemas_avro import derive, load
from tests.brute import person
from tests.streams import MINUTE_US, random_events
from transforms.grid import minute_of
from transforms.measure import dimensions_json, measure
from transforms.metrics import METRICS, STATISTICS, StatisticSpec
from transforms.statistics import DistinctSet, DistinctSketch, Statistic

LIVE = [spec for spec in STATISTICS.values() if spec.live]


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=derive.wire(load("event")), orient="row")


def measured(batches: list[list[dict[str, Any]]], kind: Any) -> dict[Any, int]:
    merged: dict[Any, list[Statistic]] = defaultdict(list)
    for batch in batches:
        for key, minute, value in measure(frame(batch), LIVE, minute_of(), kind):
            merged[(*key, minute)].append(value)
    return {key: reduce(add, values).value for key, values in merged.items()}  # type: ignore[type-var]


@pytest.mark.parametrize("kind", [DistinctSet, DistinctSketch])
def test_cuts_and_order_change_nothing_and_loops_agree(kind: Any) -> None:
    rows = random_events(400, days=1, seed=5)
    rng = random.Random(7)
    shuffled = rng.sample(rows, len(rows))
    cuts = [0, *sorted(rng.sample(range(1, 400), 9)), 400]
    batches = [shuffled[a:b] for a, b in pairwise(cuts)]
    whole = measured([rows], kind)
    assert measured(batches, kind) == whole

    counted: dict[Any, int] = defaultdict(int)
    sets: dict[Any, set[str]] = defaultdict(set)
    for row in rows:
        minute = row["event_time"] // MINUTE_US * MINUTE_US
        counted["demo", "events", dimensions_json(("name",), (row["name"],)), minute] += 1
        sets["demo", "people", "{}", minute].add(person(row) or "")
        if "revenue_minor" in row:
            currency = dimensions_json(("currency",), (row["currency"],))
            counted["demo", "revenue", currency, minute] += row["revenue_minor"]
            if row["revenue_minor"] >= 0:
                sets["demo", "orders", "{}", minute].add(row["order_id"])
                sets["demo", "buyers", "{}", minute].add(person(row) or "")
    assert whole == {**counted, **{key: len(found) for key, found in sets.items()}}


def test_dimensions_are_one_text_whatever_their_order() -> None:
    one = dimensions_json(("b", "a"), ("ü", None))
    assert one == '{"a":"","b":"ü"}' == dimensions_json(("a", "b"), (None, "ü"))


def test_every_metric_reads_statistics_that_are_there() -> None:
    for metric in METRICS.values():
        assert metric.statistic in STATISTICS
        assert metric.denominator is None or metric.denominator in STATISTICS
    for spec in STATISTICS.values():
        assert (spec.value is None) == (spec.kind == "count")


def test_a_sum_needs_a_value() -> None:
    with pytest.raises(ValueError, match="needs a value"):
        list(
            measure(
                frame(random_events(1, 1, 1)), [StatisticSpec("x", "sum")], minute_of(), DistinctSet
            )
        )
