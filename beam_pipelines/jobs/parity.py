"""Live minutes against the exact day, for whole days: every difference with its cause. Bounded.

Reads     options.live      minutes of days that are final
          options.archive   exact table, and `events` at the snapshot that it was computed from
Writes    options.archive   table `parity`: those days replaced whole, in one commit
Failures  a difference without a cause is named on stderr; the exit code is 1
Restart   a crash leaves the table as it was; the next run does the same days
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import apache_beam as beam
import polars as pl
from rich.console import Console
from rich.table import Table as Shown

from beam_pipelines.connectors.exact_tables import (
    computed_from,
    days_filter,
    replace_rows,
    write_rows,
)
from beam_pipelines.connectors.live import LiveStore, open_store, split_uris
from beam_pipelines.connectors.uri import path_of
from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.jobs.reading import Reading, plan_reading, run_on_archive
from beam_pipelines.options import ParityOptions
from beam_pipelines.steps.counted import CountedEvents, shards_for
from beam_pipelines.steps.live import LIVE_STATISTICS
from beam_pipelines.steps.parity import COLUMNS, Days, MeasureSteps, Value
from beam_pipelines.windowing import STALL_S
from catalog.settings import Settings
from catalog.store import Catalog
from schemas_avro import derive, load
from schemas_avro.tables import BUS_PRODUCERS, DAILY, PARITY
from transforms import parity
from transforms.grid import day_span_us, local_days_of
from transforms.statistics import DistinctSketch

_DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Plan:
    """One run: the days, what is read for them, and what the live store says of them."""

    days: Days
    reading: Reading
    zones: Mapping[str, str]
    rule: parity.LiveRule
    live: Mapping[parity.Key, parity.Estimate]
    exact: Mapping[parity.Key, int]
    now_us: int


def start(options: ParityOptions, flags: list[str], config: Settings) -> None:
    """Compare and print. Raises SystemExit(1) where a difference has no cause."""
    directory = path_of(options.archive, "iceberg", "archive")
    warehouse = Warehouse(directory)
    plan = make_plan(options, warehouse, time.time_ns() // 1000)
    if plan is None:
        print("parity: no day is final in the live store and up to date in the exact table")
        return
    if options.dry_run:
        days = ", ".join(f"{project} {day}" for project, day in sorted(plan.days))
        print(f"would read {len(plan.reading.files)} files and compare {days}")
        return
    run_on_archive(
        "parity",
        options,
        flags,
        2 * plan.reading.steps,
        lambda root, work: build(root, directory, plan, work),
    )
    found = warehouse.table(PARITY).scan(row_filter=days_filter(plan.days)).to_arrow()
    rows = pl.DataFrame(found).sort("project", "day", "statistic", "dimensions")
    _print(rows)
    wrong = rows.filter(pl.col("unexplained") != 0)
    for row in wrong.iter_rows(named=True):
        print(
            f"ALARM parity {row['project']} {row['day']} {row['statistic']} {row['dimensions']}: "
            f"live {row['live']:,}, exact {row['exact']:,}; {row['unexplained']:+,} unexplained",
            file=sys.stderr,
        )
    if wrong.height:
        raise SystemExit(1)


def is_due(options: ParityOptions) -> bool:
    """Is there a final day that was not compared yet?"""
    warehouse = Warehouse(path_of(options.archive, "iceberg", "archive"))
    plan = make_plan(options, warehouse, time.time_ns() // 1000)
    if plan is None:
        return False
    where = days_filter(plan.days)
    scan = warehouse.table(PARITY).scan(row_filter=where, selected_fields=("project", "day"))
    known = {(row["project"], row["day"]) for row in scan.to_arrow().to_pylist()}
    return not plan.days <= known


def make_plan(options: ParityOptions, warehouse: Warehouse, now_us: int) -> Plan | None:
    """The newest whole days that nothing moves any more: not live minutes, nor a rollup."""
    catalog = Catalog(options.catalog)
    catalog.migrate()
    zones = catalog.time_zones()
    store = open_store(split_uris(options.live)[0])
    based_on, final = computed_from(warehouse, DAILY), store.complete_until()
    if based_on is None or final is None:
        return None
    due = warehouse.changes(based_on).touched
    final -= (options.horizon_s + STALL_S) * 1_000_000
    days = {
        (project, day)
        for project, zone in zones.items()
        for day in _whole_days(final, zone, options.days)
        if day not in local_days_of(due.get(project, ()), zone)
    }
    exact = _exact(warehouse, days)
    days = {(key.project, key.day) for key in exact}
    if not days:
        return None
    since = {p: s for p in {p for p, _ in days} if (s := _began(store, p, days, zones))}
    return Plan(
        days=frozenset(days),
        reading=plan_reading(warehouse, based_on, {"day": days}, zones),
        zones=zones,
        rule=parity.LiveRule(options.horizon_s * 1_000_000, since, BUS_PRODUCERS),
        live=_live(store, days, zones),
        exact=exact,
        now_us=now_us,
    )


def _whole_days(final_us: int, zone: str, count: int) -> list[date]:
    last = datetime.fromtimestamp(max(final_us, 0) / 1e6, UTC).astimezone(ZoneInfo(zone)).date()
    return [last - timedelta(days=n) for n in range(1, count + 1)]


def _exact(warehouse: Warehouse, days: set[tuple[str, date]]) -> dict[parity.Key, int]:
    columns = ("project", "day", "metric", "dimensions", "value")
    found = warehouse.table(DAILY).scan(row_filter=days_filter(days), selected_fields=columns)
    return parity.exact_values(pl.DataFrame(found.to_arrow()).select(columns).iter_rows())


def _began(
    store: LiveStore, project: str, days: set[tuple[str, date]], zones: Mapping[str, str]
) -> int | None:
    """First live minute of the project; None: before the days that are compared, by far."""
    first = min(day for p, day in days if p == project)
    start, _ = day_span_us(first, zones.get(project, "UTC"))
    _, end = day_span_us(max(day for p, day in days if p == project), zones.get(project, "UTC"))
    if store.read(project, "events", start - _DAY_US, start).height:
        return None
    found = store.read(project, "events", start, end)["minute"].min()
    return found if isinstance(found, int) else end


def _live(
    store: LiveStore, days: set[tuple[str, date]], zones: Mapping[str, str]
) -> dict[parity.Key, parity.Estimate]:
    found: dict[parity.Key, parity.Estimate] = {}
    for project, day in sorted(days):
        start, end = day_span_us(day, zones.get(project, "UTC"))
        for spec in LIVE_STATISTICS:
            minutes = store.read(project, spec.name, start, end)
            for (dimensions,), part in minutes.group_by("dimensions"):
                key = parity.Key(
                    project, day, spec.name, dimensions if spec.kind == "sum" else parity.TOTAL
                )
                if spec.kind == "distinct":
                    sketch = DistinctSketch.union([DistinctSketch(s) for s in part["sketch"]])
                    found[key] = parity.Estimate(sketch.value, sketch.error)
                else:
                    before = found.get(key, parity.Estimate(0)).value
                    found[key] = parity.Estimate(before + int(part["total"].sum()))
    return found


def build(root: beam.Pipeline, directory: str, plan: Plan, work: str) -> None:
    """Wire the job."""
    reading, shards = plan.reading, shards_for(plan.reading.rows)
    events = CountedEvents(COLUMNS, reading.spans, reading.order_spans, work, shards)
    values = (
        root
        | "Files" >> beam.Create(reading.files)
        | "Steps"
        >> MeasureSteps(events, plan.days, reading.spans, plan.zones, plan.rule, work, shards)
    )
    (
        root
        | "Once" >> beam.Create([directory])
        | "Replace" >> beam.Map(_replace, beam.pvalue.AsList(values), plan)
    )


def _replace(directory: str, values: list[Value], plan: Plan) -> None:
    steps = {
        step: parity.compared((what, number) for name, what, number in values if name == step)
        for step in parity.STEPS
    }
    keys = {*plan.exact, *plan.live, *(key for found in steps.values() for key in found)}
    rows: list[dict[str, Any]] = [
        {
            **parity.explain(
                key,
                plan.live.get(key, parity.Estimate(0)),
                plan.exact.get(key, 0),
                {step: found.get(key, 0) for step, found in steps.items()},
            ),
            "computed_at": plan.now_us,
        }
        for key in sorted(keys)
    ]
    warehouse = Warehouse(directory)
    frame = pl.DataFrame(rows, schema=derive.wire(load(PARITY.record)), orient="row")
    files = write_rows(warehouse, PARITY, frame)
    replace_rows(warehouse, PARITY, files, days_filter(plan.days), {})


def _print(rows: pl.DataFrame) -> None:
    causes = [*parity.CAUSES, "repeats", "sketch", "unexplained"]
    shown = Shown("project", "day", "statistic", "live", "exact", "causes", box=None)
    for row in rows.iter_rows(named=True):
        why = ", ".join(f"{c.replace('_', ' ')} {row[c]:+,}" for c in causes if row[c])
        name = f"{row['statistic']} {row['dimensions']}".removesuffix(" {}")
        live, exact = f"{row['live']:,}", f"{row['exact']:,}"
        shown.add_row(row["project"], str(row["day"]), name, live, exact, why or "equal")
    Console(width=160).print(shown)
