"""Small files of the archive -> large ones; forgets snapshots and removes unneeded files. Bounded.

Reads     options.archive   tables `events` and `dead_letters`: days that have several small files,
                            and files of `events` that `repeats` says something new of
Writes    options.archive   the same rows in files of 64 to 256 MB, sorted by type and time, copies
                            of events in files of their own; one commit a day, that keeps the blocks
                            held and touches no day for rollup
Failures  none of its own   files that ingest or another run replaced meanwhile are left alone
Restart   a crash before a commit leaves the old files; what was half done is removed later
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime

import apache_beam as beam

from beam_pipelines import counters, runners
from beam_pipelines.connectors import sweep
from beam_pipelines.connectors.maintenance import files_by_day
from beam_pipelines.connectors.marks import stale_files
from beam_pipelines.connectors.uri import path_of
from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.options import CompactOptions
from beam_pipelines.progress import progress_bar
from beam_pipelines.steps.compact import CompactDays, Task, tasks_of
from catalog.settings import Settings
from schemas_avro.tables import DEAD_LETTERS, EVENTS

# A reader has looked up its snapshot by then; files have the grace period besides.
SNAPSHOTS_S = 3600
MANY_FILES = 200


def start(options: CompactOptions, flags: list[str], config: Settings) -> None:
    """Merge what is small, then clear away."""
    directory = path_of(options.archive, "iceberg", "archive")
    tasks = plan(Warehouse(directory))
    if options.dry_run:
        for task in tasks:
            print(f"would merge {task}")
        print(clear(directory, options.grace_h, dry_run=True))
        return
    if tasks:
        with progress_bar("compact", sum(task.rows for task in tasks), "rows") as progress:
            result = runners.run(
                options.runner,
                lambda root: build(root, options, tasks, progress),
                flags,
                streaming=False,
            )
        done = counters.totals(result)
        print(
            f"{done['files_replaced']:,} files became {done['files_written']:,}, with "
            f"{done['rows_rewritten']:,} rows; {done['rows_doubled']:,} doubled rows left out; "
            f"{done['tasks_superseded']:,} days left to the next run"
        )
    print(clear(directory, options.grace_h))


def plan(warehouse: Warehouse) -> list[Task]:
    """What there is to merge, and to part anew, the oldest days first."""
    days = {table: files_by_day(warehouse, table) for table in (EVENTS, DEAD_LETTERS)}
    stale = stale_files(warehouse, days[EVENTS], _today())
    return [
        task
        for table, found in days.items()
        for day in found.values()
        for task in tasks_of(table, day, stale)
    ]


def _today() -> date:
    return datetime.fromtimestamp(time.time(), UTC).date()


def is_due(options: CompactOptions) -> bool:
    """Has a day that is over small files, has today many, or is there much to clear away?"""
    directory = path_of(options.archive, "iceberg", "archive")
    now_us = time.time_ns() // 1000
    today = _today()
    tasks = plan(Warehouse(directory))
    return (
        any(task.files[0].day < today or len(task.files) >= MANY_FILES for task in tasks)
        or sweep.old_snapshots(Warehouse(directory), now_us - SNAPSHOTS_S * 1_000_000) > MANY_FILES
        or sweep.is_due(directory, int(options.grace_h * 3_600_000_000), now_us)
    )


def build(root: beam.Pipeline, options: CompactOptions, tasks: list[Task], progress: str) -> None:
    """Wire the job."""
    directory = path_of(options.archive, "iceberg", "archive")
    (
        root
        | "Tasks" >> beam.Create(tasks)
        | "Days" >> CompactDays(directory, options.memory_mb, progress)
    )


def clear(directory: str, grace_h: float, *, dry_run: bool = False) -> str:
    """Forget old snapshots, remove what nobody needs, and say what became of it."""
    warehouse, now_us = Warehouse(directory), time.time_ns() // 1000
    expired = 0 if dry_run else sweep.expire(warehouse, now_us - SNAPSHOTS_S * 1_000_000)
    done = sweep.sweep(warehouse, int(grace_h * 3_600_000_000), now_us, dry_run=dry_run)
    return (
        f"{expired:,} snapshots forgotten; {done.removed:,} files of {done.removed_bytes:,} bytes "
        f"removed; {done.waiting:,} of {done.waiting_bytes:,} bytes wait out their grace period"
    )
