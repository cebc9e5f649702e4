"""One file per job: a table of ends in the docstring and one chain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from beam_pipelines import options
from beam_pipelines.jobs import (
    backfill,
    compact,
    export,
    identity,
    import_file,
    ingest,
    parity,
    reconcile,
    replay,
    retention,
    rollup,
    schedule,
    sessions,
    warehouse_copy,
)
from catalog.settings import Settings


@dataclass(frozen=True)
class Job:
    """A job's options and what starts it: (options, flags for Beam, settings)."""

    options: type[Any]
    start: Callable[[Any, list[str], Settings], None]


JOBS = {
    "ingest": Job(options.IngestOptions, ingest.start),
    "rollup": Job(options.RollupOptions, rollup.start),
    "sessions": Job(options.SessionsOptions, sessions.start),
    "identity": Job(options.IdentityOptions, identity.start),
    "import": Job(options.ImportOptions, import_file.start),
    "replay": Job(options.ReplayOptions, replay.start),
    "export": Job(options.ExportOptions, export.start),
    "backfill": Job(options.BackfillOptions, backfill.start),
    "compact": Job(options.CompactOptions, compact.start),
    "retention": Job(options.RetentionOptions, retention.start),
    "reconcile": Job(options.ReconcileOptions, reconcile.start),
    "parity": Job(options.ParityOptions, parity.start),
    "copy": Job(options.WarehouseCopyOptions, warehouse_copy.start),
    "schedule": Job(options.ScheduleOptions, schedule.start),
}
