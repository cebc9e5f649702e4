"""Raw archive -> table of sessions, for the days that new arrivals touched.

Reads     options.archive   table `events`: what was added since the last run, whatever its age,
                            and what lies around it; of orders also the 32 days on both sides
Writes    options.archive   table `sessions`: the sessions that start on those days replaced whole,
                            with the snapshot of `events` they were computed from
Failures  none of its own   a crash leaves the table as it was
Restart   from the mark     the next run does the same days; the same archive gives the same bytes
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import apache_beam as beam

from beam_pipelines.connectors.exact_tables import computed_from, days_filter, replace_rows
from beam_pipelines.connectors.uri import path_of
from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.jobs.reading import (
    Reading,
    is_behind,
    plan_reading,
    run_on_archive,
    touched_days,
)
from beam_pipelines.options import SessionsOptions
from beam_pipelines.steps.counted import CountedEvents, shards_for
from beam_pipelines.steps.sessions import SessionFiles
from catalog.settings import Settings
from catalog.store import Catalog
from schemas_avro.tables import EVENTS, SESSIONS
from transforms.due import CHANGED_SESSIONS, periods_of
from transforms.sessions import NEEDS


@dataclass(frozen=True)
class Plan:
    """What one run does. days: (project, local day) on which the sessions start."""

    reading: Reading
    days: frozenset[tuple[str, date]]
    zones: dict[str, str]


def start(options: SessionsOptions, flags: list[str], config: Settings) -> None:
    """Compute what is due; with nothing new it ends at once."""
    directory = path_of(options.archive, "iceberg", "archive")
    zones = Catalog(options.catalog).time_zones()
    plan = make_plan(Warehouse(directory), options, zones)
    if plan is None:
        return
    shown = ", ".join(f"{project} {day}" for project, day in sorted(plan.days))
    if options.dry_run:
        print(f"would read {len(plan.reading.files)} files and replace sessions of: {shown}")
        return
    run_on_archive(
        "sessions",
        options,
        flags,
        plan.reading.steps,
        lambda root, work: build(root, options, plan, work),
    )
    print(f"sessions from {len(plan.reading.files)} files: {len(plan.days)} days replaced: {shown}")


def is_due(options: SessionsOptions) -> bool:
    """Did anything reach the archive that the table does not know? A cheap look."""
    return is_behind(options, SESSIONS)


def make_plan(warehouse: Warehouse, options: SessionsOptions, zones: dict[str, str]) -> Plan | None:
    """The days that are due, and what must be read; None: nothing new."""
    since = None if options.all_days else computed_from(warehouse, SESSIONS)
    changes = warehouse.changes(since)
    if changes.snapshot is None or changes.snapshot == since:
        return None
    changed = touched_days(
        warehouse, changes, zones, everything=since is None, reach=CHANGED_SESSIONS
    )
    retired = warehouse.retired(EVENTS)
    periods = periods_of(changed, ["day"])
    days = frozenset(one for one in periods["day"] if not retired.is_final(*one))
    reading = plan_reading(warehouse, changes.snapshot, {"day": days}, zones, days_after=1)
    return Plan(reading, days, zones)


def build(root: beam.Pipeline, options: SessionsOptions, plan: Plan, work: str) -> None:
    """Wire the job."""
    directory = path_of(options.archive, "iceberg", "archive")
    reading = plan.reading
    events = CountedEvents(
        NEEDS, reading.spans, reading.order_spans, work, shards_for(reading.rows)
    )
    files = (
        root
        | "Files" >> beam.Create(reading.files)
        | "Sessions" >> SessionFiles(events, plan.days, plan.zones, reading.stamp, directory)
    )
    # Started by one element, not by the files: days that have become empty are replaced as well.
    (
        root
        | "Once" >> beam.Create([directory])
        | "Replace" >> beam.Map(_replace, beam.pvalue.AsList(files), plan.days, reading.based_on)
    )


def _replace(
    directory: str, files: list[str], days: frozenset[tuple[str, date]], based_on: int
) -> None:
    where = days_filter(days)
    replace_rows(Warehouse(directory), SESSIONS, sorted(files), where, {"": based_on})
