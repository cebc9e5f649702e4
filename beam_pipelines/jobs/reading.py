"""What jobs over the archive read: the files around the periods that they compute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from beam_pipelines.connectors.exact_tables import order_times, parts, snapshot_time_us
from beam_pipelines.connectors.warehouse import Changes, Warehouse
from beam_pipelines.steps.counted import File
from beam_pipelines.work import steps_of
from transforms.due import CHANGED, Days, Spans, changed_days, order_reads_of, reads_of
from transforms.exact import Periods, Stamp
from transforms.grid import add_local_day, day_span_us
from transforms.positions import merge


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
