"""Bus and archive -> the ledger: per minute and source, what became of all that came. Bounded.

Reads     options.events, options.dead_letters   blocks on the spool, since the oldest open minute
          options.archive   tables `events` and `dead_letters`, and the blocks they say they hold
Writes    options.archive   table `ledger`: the minutes covered are replaced whole, in one commit
Failures  a line that does not add up names its blocks, on stderr; the exit code is 1
Restart   a crash leaves the ledger as it was; the next run covers the same minutes and more
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime

import apache_beam as beam
import polars as pl

from beam_pipelines import runners
from beam_pipelines.connectors import ledger_table
from beam_pipelines.connectors.uri import path_of
from beam_pipelines.connectors.warehouse import Warehouse, iso
from beam_pipelines.options import ReconcileOptions
from beam_pipelines.progress import progress_bar
from beam_pipelines.steps.columns import unpack
from beam_pipelines.steps.reconcile import Reconcile, Scope
from catalog import policies
from catalog.settings import Settings
from catalog.store import Catalog
from schemas_avro.tables import DEAD_LETTERS, EVENTS
from transforms import ledger
from transforms.grid import MINUTE_US
from transforms.repeats import EVENT_REACH_US


def start(options: ReconcileOptions, flags: list[str], config: Settings) -> None:
    """Draw up the books of the open minutes. Raises SystemExit(1) if they do not balance."""
    warehouse = Warehouse(path_of(options.archive, "iceberg", "archive"))
    scope = make_scope(options, warehouse, time.time_ns() // 1000)
    if options.dry_run:
        print(
            f"would read {len(scope.producers)} producers and {len(scope.files)} files, look for "
            f"earlier copies in {len(scope.earlier)}, and replace the ledger from "
            f"{iso(scope.from_us)} on"
        )
        return
    with progress_bar("reconcile", _rows_to_read(scope), "rows") as progress:
        runners.run(
            options.runner,
            lambda root: build(root, options, scope, progress),
            flags,
            streaming=False,
        )
    lines = ledger_table.lines(warehouse, scope.from_us)
    print(_summary(lines))
    wrong = lines.filter(pl.col("problems").is_not_null()).sort(ledger.LINE)
    for minute, project, source, problems in wrong.select(*ledger.LINE, "problems").iter_rows():
        at = datetime.fromtimestamp(minute / 1e6, UTC).isoformat()
        print(f"ALARM ledger {at} {project or '?'}/{source}: {problems}", file=sys.stderr)
    if wrong.height:
        raise SystemExit(1)


def make_scope(options: ReconcileOptions, warehouse: Warehouse, now_us: int) -> Scope:
    """What to read: from where the ledger is settled up to, but for all there is at first."""
    settled = 0 if options.all_minutes else ledger_table.covered_until(warehouse) or 0
    from_us = min(settled, now_us - options.window_s * 1_000_000) // MINUTE_US * MINUTE_US
    # The archive first: a block that comes meanwhile is under way, and never missing.
    recent = {
        ledger.EVENTS: ledger_table.held(warehouse, EVENTS, from_us),
        ledger.DEAD_LETTERS: ledger_table.held(warehouse, DEAD_LETTERS, from_us),
    }
    events = recent[ledger.EVENTS]
    catalog = Catalog(options.catalog)
    catalog.migrate()
    return Scope(
        from_us=from_us,
        now_us=now_us,
        patience_us=options.patience_s * 1_000_000,
        producers=(
            *_producers(ledger.EVENTS, options.events, "events"),
            *_producers(ledger.DEAD_LETTERS, options.dead_letters, "dead_letters"),
        ),
        files=tuple((topic, path) for topic, held in recent.items() for path in held.files),
        earlier=ledger_table.may_hold_copies(warehouse, events, from_us, EVENT_REACH_US),
        held={topic: held.positions for topic, held in recent.items()},
        erased=policies.suppressed(catalog).by_project,
    )


def build(root: beam.Pipeline, options: ReconcileOptions, scope: Scope, progress: str) -> None:
    """Wire the job."""
    directory = path_of(options.archive, "iceberg", "archive")
    (
        root
        | "Reconcile" >> Reconcile(scope, progress)
        | "Replace" >> beam.Map(_replace, directory, scope.from_us)
    )


def _replace(lines: bytes, directory: str, from_us: int) -> None:
    ledger_table.replace_lines(Warehouse(directory), unpack(lines), from_us)


def _producers(topic: str, uri: str, option: str) -> list[tuple[str, str]]:
    directory = path_of(uri, "spool", option)
    there = sorted(os.scandir(directory), key=lambda e: e.name) if os.path.isdir(directory) else []
    return [(topic, entry.path) for entry in there if entry.is_dir()]


def _rows_to_read(scope: Scope) -> int:
    return sum(int(pl.scan_parquet(p).select(pl.len()).collect().item()) for _, p in scope.files)


def _summary(lines: pl.DataFrame) -> str:
    found = lines.select(pl.col(ledger.NUMBERS).sum()).row(0, named=True)
    parts = ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in found.items())
    return f"ledger: {lines.height:,} lines of {lines['minute'].n_unique():,} minutes: {parts}"
