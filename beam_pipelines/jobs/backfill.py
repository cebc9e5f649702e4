"""Raw archive -> raw archive, through today's ingest code; the days are computed anew. Bounded.

Reads     options.archive   table `events`, the days from --from to --to
          options.blocks    segments of a spool or single blocks, where they are given: rows are
                            taken from them as they were on the bus
Writes    options.archive   table `events`: each day that comes out different is replaced in one
                            commit, which tells the next rollup; blocks that the archive does not
                            hold are added whole, as ingest adds them
Failures  none of its own   bytes that are no block are counted and passed over
Restart   days done stay done and come out the same; the one under way is as it was
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from functools import partial

import apache_beam as beam
import polars as pl

from beam_pipelines import counters, runners
from beam_pipelines.connectors import files, segments
from beam_pipelines.connectors.frames import Frame
from beam_pipelines.connectors.maintenance import files_by_day
from beam_pipelines.connectors.segments import Index, Place
from beam_pipelines.connectors.uri import UriError, path_of
from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.options import BackfillOptions
from beam_pipelines.progress import progress_bar
from beam_pipelines.spans import days, span_us
from beam_pipelines.steps.archive import Archive
from beam_pipelines.steps.backfill import ReworkDays, Work
from catalog import policies
from catalog.settings import Settings
from catalog.store import Catalog
from schemas_avro import block, load
from schemas_avro.tables import EVENTS
from transforms.rework import CLEARABLE, Scope
from transforms.suppression import is_named


def start(options: BackfillOptions, flags: list[str], config: Settings) -> None:
    """Derive the rows anew and say which days came out different."""
    directory = path_of(options.archive, "iceberg", "archive")
    scope = Scope(options.project, *span_us(options.from_, options.to))
    clear = _clear(options.clear)
    found = segments.index(files.find(options.blocks, "blocks")) if options.blocks else Index({}, 0)
    warehouse = Warehouse(directory)
    held = warehouse.positions(EVENTS)
    missing = {key: place for key, place in found.places.items() if not held.holds(*key)}
    planned = _days(warehouse, options)
    rows = sum(planned.values())
    if options.dry_run:
        print(f"would read {rows:,} events of {len(planned)} days and replace those that differ")
        print(f"would add {len(missing):,} blocks that the archive does not hold")
        print("\n".join(f"  {day}: {number:,} events" for day, number in planned.items()))
        return
    with progress_bar("backfill", rows, "events") as progress:
        work = Work(directory, scope, clear, found.places, progress)
        added = partial(_frames, catalog=options.catalog, places=missing)
        result = runners.run(
            options.runner,
            lambda root: build(root, list(planned), work, added() if missing else []),
            flags,
            streaming=False,
        )
    done = counters.totals(result)
    print(
        f"{rows:,} events of {len(planned)} days read, {done['files_rewritten']:,} files replaced, "
        f"{done['events_archived']:,} events of {len(missing):,} missing blocks added"
        + (f"; {found.damaged:,} places in the files are no block" if found.damaged else "")
    )


def build(root: beam.Pipeline, planned: list[date], work: Work, missing: list[Frame]) -> None:
    """Wire the job."""
    root | "Days" >> beam.Create(planned) | "Rework" >> ReworkDays(work)
    if missing:
        held = Warehouse(work.directory).positions(EVENTS)
        root | "Missing" >> beam.Create(missing) | "Add" >> Archive(work.directory, EVENTS, held)


def _days(warehouse: Warehouse, options: BackfillOptions) -> dict[date, int]:
    first, last = days(options.from_, options.to)
    return {
        day: sum(file.rows for file in found)
        for day, found in files_by_day(warehouse, EVENTS).items()
        if (first is None or day >= first) and (last is None or day <= last)
    }


def _clear(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in CLEARABLE:
            raise UriError(f"--clear={name!r} cannot be found anew; known: {', '.join(CLEARABLE)}")
    return names


def _frames(catalog: str, places: dict[tuple[str, int], Place]) -> list[Frame]:
    """The blocks without the rows of erased people."""
    people = policies.suppressed(Catalog(catalog)).by_project
    frames = []
    for (producer, seq), place in sorted(places.items()):
        payload = segments.payload_of(place)
        if people:
            meta, rows = block.decode(load("event"), payload)
            named = pl.Series(is_named(rows, people))
            if named.all():
                continue
            if named.any():
                kept = rows.filter(~named)
                payload = block.encode(load("event"), kept, replace(meta, count=kept.height))
        frames.append(Frame(producer, seq, seq, payload))
    return frames
