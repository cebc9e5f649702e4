"""One file per job: a table of ends in the docstring and one chain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from beam_pipelines import options
from beam_pipelines.jobs import import_file, ingest, rollup, schedule
from catalog.settings import Settings


@dataclass(frozen=True)
class Job:
    """A job's options and what starts it: (options, flags for Beam, settings)."""

    options: type[Any]
    start: Callable[[Any, list[str], Settings], None]


JOBS = {
    "ingest": Job(options.IngestOptions, ingest.start),
    "rollup": Job(options.RollupOptions, rollup.start),
    "import": Job(options.ImportOptions, import_file.start),
    "schedule": Job(options.ScheduleOptions, schedule.start),
}
