"""Raw archive -> exact numbers of the hours, days, weeks and months that new arrivals touched.

Reads     options.archive   table `events`: what was added since the last run, whatever its age,
                            and what lies around it; of orders also the 32 days on both sides
Writes    options.archive   tables `period_aggregates`, `repeats` of the days, and then
                            `daily_aggregates`: those periods replaced whole, with the snapshot of
                            `events` they were computed from
Failures  none of its own   a crash leaves each table as it was
Restart   from the mark     the next run does the same periods; the same archive gives the same rows
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import apache_beam as beam
import polars as pl

from beam_pipelines.connectors.exact_tables import (
    computed_from,
    days_filter,
    replace_rows,
    write_rows,
)
from beam_pipelines.connectors.uri import UriError, path_of
from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.counters import count
from beam_pipelines.jobs.reading import Reading, plan_reading, run_on_archive, touched_days
from beam_pipelines.options import RollupOptions
from beam_pipelines.steps.columns import unpack
from beam_pipelines.steps.counted import CountedEvents, shards_for
from beam_pipelines.steps.rollup import COLUMNS, RollUp
from catalog.settings import Settings
from catalog.store import Catalog
from schemas_avro import derive, load
from schemas_avro.tables import DAILY, EVENTS, PERIODS, REPEATS
from transforms.due import periods_of
from transforms.exact import Periods
from transforms.grid import GRAINS, Grain


@dataclass(frozen=True)
class Plan:
    """What one run does."""

    reading: Reading
    periods: Periods
    zones: dict[str, str]


def start(options: RollupOptions, flags: list[str], config: Settings) -> None:
    """Compute what is due; with nothing new it ends at once."""
    directory = path_of(options.archive, "iceberg", "archive")
    zones = Catalog(options.catalog).time_zones()
    plan = make_plan(Warehouse(directory), options, zones)
    if plan is None:
        return
    shown = _shown(plan.periods)
    if options.dry_run:
        print(f"would read {len(plan.reading.files)} files: {shown}")
        return
    run_on_archive(
        "rollup",
        options,
        flags,
        plan.reading.steps,
        lambda root, work: build(root, options, plan, work),
    )
    print(f"exact tables from {len(plan.reading.files)} files: {shown}")


def grains_of(options: RollupOptions) -> tuple[Grain, ...]:
    """The grains asked for. Raises UriError for another."""
    asked = options.grains.split(",")
    if wrong := [one for one in asked if one not in GRAINS]:
        raise UriError(f"--grains={options.grains!r}: {wrong[0]!r} is none of {', '.join(GRAINS)}")
    return tuple(grain for grain in GRAINS if grain in asked)


def is_due(options: RollupOptions) -> bool:
    """Did anything reach the archive that the tables do not know? A cheap look."""
    warehouse = Warehouse(path_of(options.archive, "iceberg", "archive"))
    return any(
        warehouse.changes(since).touched for since in set(_marks(warehouse, grains_of(options)))
    )


def _marks(warehouse: Warehouse, grains: Iterable[Grain]) -> list[int | None]:
    return [
        computed_from(warehouse, DAILY)
        if grain == "day"
        else computed_from(warehouse, PERIODS, grain)
        for grain in grains
    ]


def make_plan(warehouse: Warehouse, options: RollupOptions, zones: dict[str, str]) -> Plan | None:
    """The periods that are due, and what must be read; None: nothing new."""
    grains = grains_of(options)
    marks = [None] * len(grains) if options.all_days else _marks(warehouse, grains)
    periods: dict[Grain, frozenset[tuple[str, date]]] = {}
    current = None
    for grain, since in zip(grains, marks, strict=True):
        changes = warehouse.changes(since)
        current = changes.snapshot
        if current is None or current == since:
            continue
        days = touched_days(warehouse, changes, zones, everything=since is None)
        retired = warehouse.retired(EVENTS)
        wanted = periods_of(days, [grain])[grain]
        periods[grain] = frozenset(one for one in wanted if not retired.is_final(*one))
    if current is None or not periods:
        return None
    return Plan(plan_reading(warehouse, current, periods, zones), periods, zones)


def build(root: beam.Pipeline, options: RollupOptions, plan: Plan, work: str) -> None:
    """Wire the job."""
    reading = plan.reading
    events = CountedEvents(
        COLUMNS, reading.spans, reading.order_spans, work, shards_for(reading.rows)
    )
    directory = path_of(options.archive, "iceberg", "archive")
    rolled = (
        root
        | "Files" >> beam.Create(reading.files)
        | "RollUp" >> RollUp(events, plan.periods, plan.zones, reading.stamp, directory)
    )
    # Started by one element, not by the rows: what has become empty is replaced as well.
    (
        root
        | "Once" >> beam.Create([directory])
        | "Replace"
        >> beam.Map(
            _replace,
            beam.pvalue.AsList(rolled.rows),
            beam.pvalue.AsList(rolled.repeats),
            plan.periods,
            reading.based_on,
        )
    )


def _replace(
    directory: str, packed: list[bytes], repeats: list[str], periods: Periods, based_on: int
) -> None:
    """Days last: pages and checks look at their mark."""
    warehouse = Warehouse(directory)
    schema = derive.wire(load(PERIODS.record))
    empty = pl.DataFrame(schema=schema)
    rows = pl.concat([empty, *(unpack(part).select(*schema) for part in packed)])
    longer = {grain: wanted for grain, wanted in periods.items() if grain != "day"}
    if longer:
        files = write_rows(warehouse, PERIODS, rows.filter(pl.col("grain") != "day"))
        where = [days_filter(w, f" and grain = '{g}'") for g, w in longer.items()]
        marks: dict[str, int] = dict.fromkeys(longer, based_on)
        replace_rows(warehouse, PERIODS, files, " or ".join(where), marks)
    if "day" in periods:
        of_days = days_filter(periods["day"])
        replace_rows(warehouse, REPEATS, sorted(repeats), of_days, {"": based_on})
        days = rows.filter(pl.col("grain") == "day").select(*derive.wire(load(DAILY.record)))
        files = write_rows(warehouse, DAILY, days)
        replace_rows(warehouse, DAILY, files, of_days, {"": based_on})
        count("days_computed", len(periods["day"]))


def _shown(periods: Periods) -> str:
    """Days by project and name; of other periods how many."""
    counted = [f"{len(periods[g])} {g}s replaced" for g in periods if g != "hour"]
    listed = [f"{project} {day}" for project, day in sorted(periods.get("day", ()))]
    return ", ".join([*counted, *listed])
