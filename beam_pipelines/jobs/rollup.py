"""Raw archive -> exact daily table, for the days that new arrivals touched. Bounded.

Reads     options.archive   table `events`: the days that blocks added since the last run touched,
                            whatever their age, and the days beside them
Writes    options.archive   table `daily_aggregates`: those days replaced whole, in one commit that
                            also records the snapshot of `events` it was computed from
Failures  none of its own   a crash leaves the table as it was; the next run does the same days
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import apache_beam as beam

from beam_pipelines import runners
from beam_pipelines.connectors.uri import path_of
from beam_pipelines.connectors.warehouse import Changes, Warehouse
from beam_pipelines.options import RollupOptions
from beam_pipelines.steps.rollup import DailyRows, Days, Spans
from catalog.settings import Settings
from catalog.store import Catalog
from transforms.daily import Stamp
from transforms.grid import day_span_us, local_days_of
from transforms.positions import merge


@dataclass(frozen=True)
class Plan:
    """What one run does."""

    based_on: int
    days: Days
    spans: Spans
    files: tuple[str, ...]
    zones: dict[str, str]
    stamp: Stamp


def start(options: RollupOptions, flags: list[str], config: Settings) -> None:
    """Compute what is due; with nothing new it ends at once."""
    warehouse = Warehouse(path_of(options.archive, "iceberg", "archive"))
    since = None if options.all_days else warehouse.computed_from()
    zones = Catalog(options.catalog).time_zones()
    plan = make_plan(warehouse, warehouse.changes(since), since, zones)
    if plan is None:
        return
    shown = ", ".join(f"{project} {day}" for project, day in sorted(plan.days))
    if options.dry_run:
        print(f"would read {len(plan.files)} files and replace: {shown}")
        return
    runners.run(
        options.runner,
        lambda root: build(root, options, plan),
        flags,
        streaming=False,
        prism=config.prism_location,
    )
    print(f"daily table: {len(plan.days)} days replaced from {len(plan.files)} files: {shown}")


def is_due(options: RollupOptions) -> bool:
    """Did anything reach the archive that the daily table does not know? A cheap look."""
    warehouse = Warehouse(path_of(options.archive, "iceberg", "archive"))
    return bool(warehouse.changes(warehouse.computed_from()).touched)


def make_plan(
    warehouse: Warehouse, changes: Changes, since: int | None, zones: dict[str, str]
) -> Plan | None:
    """The days touched since the snapshot `since`, and what must be read; None: nothing new."""
    if changes.snapshot is None or changes.snapshot == since:
        return None
    one = timedelta(days=1)
    days: set[tuple[str, date]] = set()
    spans: dict[str, tuple[tuple[int, int], ...]] = {}
    for project, utc_days in changes.touched.items():
        zone = zones.get(project, "UTC")
        touched = local_days_of(utc_days, zone)
        # A new event can end a session of the day after, and take the place of a later-received
        # copy of itself on either side: neighbours are computed too, and read one day further.
        wanted = {day + one * n for day in touched for n in (-1, 0, 1)}
        days |= {(project, day) for day in wanted}
        reads = (day_span_us(day + one * n, zone) for day in wanted for n in (-1, 0, 1))
        spans[project] = merge(reads)
    files = warehouse.files(changes.snapshot, {s for ranges in spans.values() for s in ranges})
    stamp = Stamp(time.time_ns() // 1000, changes.received_until)
    return Plan(changes.snapshot, frozenset(days), spans, tuple(files), zones, stamp)


def build(root: beam.Pipeline, options: RollupOptions, plan: Plan) -> None:
    """Wire the job."""
    rows = (
        root
        | "Files" >> beam.Create(plan.files)
        | "Spread" >> beam.Reshuffle()
        | "DailyRows" >> DailyRows(plan.days, plan.spans, plan.zones, plan.stamp)
    )
    directory = path_of(options.archive, "iceberg", "archive")
    # Started by one element, not by the rows: days that have become empty are replaced as well.
    (
        root
        | "Once" >> beam.Create([directory])
        | "Replace" >> beam.Map(_replace, beam.pvalue.AsList(rows), plan.days, plan.based_on)
    )


def _replace(directory: str, rows: list[dict[str, Any]], days: Days, based_on: int) -> None:
    Warehouse(directory).replace_days(rows, days, based_on)
