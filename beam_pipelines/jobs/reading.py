"""Jobs over the archive: what they read, around the periods that they compute, and how they run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import apache_beam as beam

from beam_pipelines import runners
from beam_pipelines.connectors.exact_tables import (
    computed_from,
    order_times,
    parts,
    snapshot_time_us,
)
from beam_pipelines.connectors.uri import path_of
from beam_pipelines.connectors.warehouse import Changes, Warehouse
from beam_pipelines.steps.counted import File
from beam_pipelines.work import progress_of, steps_of, work_directory
from schemas_avro.tables import Table
from transforms.due import CHANGED, Days, Spans, changed_days, order_reads_of, reads_of
from transforms.exact import Periods, Stamp
from transforms.grid import add_local_day, day_span_us
from transforms.positions import merge


class OnArchive(Protocol):
    """Options of a job over the archive."""

    @property
    def archive(self) -> str: ...
    @property
    def runner(self) -> str: ...


@dataclass(frozen=True)
class Reading:
    """Files and spans of one run, at one snapshot of `events`.

    rows:  in the files whose events are read
    steps: of the progress bar
    """

    based_on: int
    spans: Spans
    order_spans: Spans
    files: tuple[File, ...]
    rows: int
    steps: int
    stamp: Stamp


def run_on_archive(
    job: str,
    options: OnArchive,
    flags: Sequence[str],
    steps: int,
    build: Callable[[beam.Pipeline, str], None],
) -> None:
    """Run what `build` wires, with a working directory beside the archive, which is passed on.

    steps: of the progress bar
    """
    directory = path_of(options.archive, "iceberg", "archive")
    with work_directory(directory) as work, progress_of(work, job, steps):
        runners.run(options.runner, lambda root: build(root, work), flags, streaming=False)


def is_behind(options: OnArchive, table: Table) -> bool:
    """Did anything reach the archive that `table` does not know? A cheap look."""
    warehouse = Warehouse(path_of(options.archive, "iceberg", "archive"))
    return bool(warehouse.changes(computed_from(warehouse, table)).touched)


def touched_days(
    warehouse: Warehouse,
    changes: Changes,
    zones: Mapping[str, str],
    *,
    everything: bool,
    reach: range = CHANGED,
) -> Days:
    """Local days whose numbers may have changed, by project.

    An order that arrived may be the one that counts in place of another: so the days of the other
    events of the same order are among them.
    """
    if everything or changes.snapshot is None:
        return changed_days(changes.touched, zones, changes.received_until, reach)
    touched = {
        project: merge(day_span_us(day, "UTC") for day in days)
        for project, days in changes.touched.items()
    }
    around = order_reads_of(touched)
    spans = [span for ranges in around.values() for span in ranges]
    paths = [p.path for p in parts(warehouse, changes.snapshot, spans, needs="order_id")]
    found = {project: set(days) for project, days in changes.touched.items()}
    if paths:
        arrived = order_times(paths, touched).select("project", "order_id").unique()
        others = order_times(paths, around).join(arrived, on=["project", "order_id"], how="semi")
        in_utc = dict.fromkeys(around, "UTC")
        days = add_local_day(others.collect(), in_utc).select("project", "day").unique()
        for project, day in days.iter_rows():
            found[project].add(day)
    return changed_days(found, zones, changes.received_until, reach)


def plan_reading(
    warehouse: Warehouse,
    snapshot: int,
    periods: Periods,
    zones: Mapping[str, str],
    days_after: int = 0,
) -> Reading:
    """What must be read to compute the periods, and the days after them, at a snapshot."""
    spans = reads_of(periods, zones, days_after)
    order_spans = order_reads_of(spans)
    whole = parts(warehouse, snapshot, [s for ranges in spans.values() for s in ranges])
    paths = {part.path for part in whole}
    for_orders = [span for ranges in order_spans.values() for span in ranges]
    others = [
        part
        for part in parts(warehouse, snapshot, for_orders, needs="order_id")
        if part.path not in paths
    ]
    listed = [(p.path, True) for p in whole] + [(p.path, False) for p in others]
    rows = sum(part.rows for part in whole)
    return Reading(
        based_on=snapshot,
        spans=spans,
        order_spans=order_spans,
        files=tuple(File(number, path, full) for number, (path, full) in enumerate(listed)),
        rows=rows,
        steps=2 * sum(steps_of(part.rows) for part in (*whole, *others)),
        stamp=Stamp(
            snapshot_time_us(warehouse, snapshot), warehouse.changes(snapshot).received_until
        ),
    )
