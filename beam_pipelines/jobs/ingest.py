"""Bus -> live numbers and raw archive. Unbounded.

Reads     options.events        blocks of accepted events
          options.dead_letters  blocks of what was refused
Writes    options.live          upsert on (project, statistic, dimensions, minute): panes replace;
                                of several stores each by itself
          options.archive       tables `events` and `dead_letters`, each block once
Failures  damaged blocks        dead letters with step `decode`; the rest goes on
Restart   exact: blocks not archived are read again; live minutes from one horizon before the
          last final one are rebuilt whole, from the spool or, where Pub/Sub is the bus, from the
          archive and what Pub/Sub still has; older ones are left as they are
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import apache_beam as beam

from beam_pipelines import runners
from beam_pipelines.connectors import bus
from beam_pipelines.connectors.archived import Snapshot
from beam_pipelines.connectors.bus import ReadBus, WithArchived
from beam_pipelines.connectors.definitions import Admitted, OwnMetrics
from beam_pipelines.connectors.live import open_store, split_uris
from beam_pipelines.connectors.spool import Start
from beam_pipelines.connectors.uri import path_of
from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.options import IngestOptions
from beam_pipelines.steps.archive import Archive
from beam_pipelines.steps.live import MeasureLive
from beam_pipelines.steps.panes import LiveSink, WriteLive
from beam_pipelines.windowing import LivePolicy
from catalog.settings import Settings
from schemas_avro.tables import DEAD_LETTERS, EVENTS
from transforms.grid import MINUTE_US
from transforms.positions import Positions


@dataclass(frozen=True)
class Resume:
    """Where a run takes over from the one before it.

    live:       the stores of live numbers, and from where on their minutes are rebuilt
    run:        start of this run, us
    """

    live: tuple[LiveSink, ...]
    events: Snapshot
    dead_letters: Positions
    run: int


def resume(options: IngestOptions) -> Resume:
    """Read from the sinks how far they are. No event is needed that they have for good."""
    warehouse = Warehouse(path_of(options.archive, "iceberg", "archive"))
    run = time.time_ns() // 1000
    return Resume(
        live=tuple(_sink(uri, options.horizon_s, run) for uri in split_uris(options.live)),
        events=Snapshot.newest(warehouse.directory),
        dead_letters=warehouse.positions(DEAD_LETTERS),
        run=run,
    )


def _sink(uri: str, horizon_s: int, run: int) -> LiveSink:
    store = open_store(uri)
    try:
        token, final = store.begin(run), store.complete_until()
    finally:
        store.close()
    if final is None:  # a new store gets all there is
        return LiveSink(uri, token)
    # Minutes final at `final` saw all that was received until then. Whatever is received later
    # and still counts happened within one horizon before it; a minute more for panes on the way.
    since = final - horizon_s * 1_000_000 - MINUTE_US
    return LiveSink(
        uri, token, since // MINUTE_US * MINUTE_US, held_us=final // MINUTE_US * MINUTE_US
    )


def start(options: IngestOptions, flags: list[str], config: Settings) -> None:
    """Run until stopped."""
    if options.prepare:
        bus.prepare(options.events, "events")
        bus.prepare(options.dead_letters, "dead_letters")
        return
    runners.run(
        options.runner,
        lambda root: build(root, options),
        flags,
        streaming=True,
    )


def build(root: beam.Pipeline, options: IngestOptions) -> None:
    """Wire the job."""
    at = resume(options)
    archive = path_of(options.archive, "iceberg", "archive")
    every_s = options.archive_every_s
    # The store that is furthest behind decides what is read again; the others pass it over. In a
    # new one the live part needs the whole log, whatever the archive holds already.
    since_us = min(sink.from_us for sink in at.live)
    # No event happens after it is received: minutes that no store holds are made of blocks that
    # came since, so these come first. A horizon of older ones may take a minute to read.
    newest_us = max(sink.held_us for sink in at.live) or None
    start = Start(at.events.positions, since_us, newest_us)
    events = root | "Events" >> ReadBus(
        options.events, "events", start, archive, EVENTS, options.runner
    )
    (
        events
        | "WithArchived" >> WithArchived(options.events, archive, at.events, since_us)
        | "Live"
        >> MeasureLive(
            LivePolicy(horizon_s=options.horizon_s),
            live_from_us=since_us,
            own=OwnMetrics(options.catalog),
            admitted=Admitted(options.catalog),
        )
        | "WriteLive" >> WriteLive(at.live, at.run)
    )
    events | "Archive" >> Archive(archive, EVENTS, at.events.positions, every_s)
    refused = Start(at.dead_letters)
    (
        root
        | "DeadLetters"
        >> ReadBus(
            options.dead_letters, "dead_letters", refused, archive, DEAD_LETTERS, options.runner
        )
        | "ArchiveDeadLetters" >> Archive(archive, DEAD_LETTERS, at.dead_letters, every_s)
    )
