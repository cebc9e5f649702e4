"""Bus -> live numbers and raw archive. Unbounded.

Reads     options.events        blocks of accepted events
          options.dead_letters  blocks of what was refused
Writes    options.live          upsert on (project, statistic, dimensions, minute): panes replace
          options.archive       tables `events` and `dead_letters`, each block once
Failures  damaged blocks        dead letters with step `decode`; the rest goes on
Restart   exact: blocks not archived are read again; live minutes from one horizon before the
          last final one are rebuilt whole from the bus, older ones are left as they are
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import apache_beam as beam

from beam_pipelines import runners
from beam_pipelines.connectors import live_store
from beam_pipelines.connectors.spool import ReadSpool, Start
from beam_pipelines.connectors.uri import path_of
from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.options import IngestOptions
from beam_pipelines.steps.archive import Archive
from beam_pipelines.steps.live import MeasureLive
from beam_pipelines.windowing import LivePolicy
from catalog.settings import Settings
from schemas_avro.tables import DEAD_LETTERS, EVENTS
from transforms.grid import MINUTE_US
from transforms.positions import Positions


@dataclass(frozen=True)
class Resume:
    """Where a run takes over from the one before it.

    live_from_us: live minutes from here on are rebuilt; None in a new store: all of them
    run:          start of this run, us
    """

    live_from_us: int | None
    events: Positions
    dead_letters: Positions
    run: int


def resume(options: IngestOptions) -> Resume:
    """Read from the sinks how far they are. No event is needed that they have for good."""
    warehouse = Warehouse(path_of(options.archive, "iceberg", "archive"))
    final = live_store.complete_until(path_of(options.live, "sqlite", "live"))
    # Minutes final at `final` saw all that was received until then. Whatever is received later
    # and still counts happened within one horizon before it; a minute more for panes on the way.
    since = None if final is None else final - options.horizon_s * 1_000_000 - MINUTE_US
    return Resume(
        live_from_us=None if since is None else since // MINUTE_US * MINUTE_US,
        events=warehouse.positions(EVENTS),
        dead_letters=warehouse.positions(DEAD_LETTERS),
        run=time.time_ns() // 1000,
    )


def start(options: IngestOptions, flags: list[str], config: Settings) -> None:
    """Run until stopped."""
    runners.run(
        options.runner,
        lambda root: build(root, options),
        flags,
        streaming=True,
        prism=config.prism_location,
    )


def build(root: beam.Pipeline, options: IngestOptions) -> None:
    """Wire the job."""
    at = resume(options)
    archive = path_of(options.archive, "iceberg", "archive")
    live = path_of(options.live, "sqlite", "live")
    every_s = options.archive_every_s
    # In a new store the live part needs the whole log, whatever the archive holds already.
    events = root | "Events" >> ReadSpool(
        path_of(options.events, "spool", "events"), Start(at.events, at.live_from_us or 0)
    )
    (
        events
        | "Live"
        >> MeasureLive(LivePolicy(horizon_s=options.horizon_s), live_from_us=at.live_from_us or 0)
        | "UpsertLive" >> beam.ParDo(live_store.UpsertLive(live, at.run))
    )
    events | "Archive" >> Archive(archive, EVENTS, at.events, every_s)
    (
        root
        | "DeadLetters"
        >> ReadSpool(path_of(options.dead_letters, "spool", "dead_letters"), Start(at.dead_letters))
        | "ArchiveDeadLetters" >> Archive(archive, DEAD_LETTERS, at.dead_letters, every_s)
    )
