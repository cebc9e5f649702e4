"""Which jobs run by themselves, and how often. A deployment makes scheduled jobs of this table."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from apscheduler.schedulers.blocking import BlockingScheduler

from beam_pipelines.jobs import rollup
from beam_pipelines.options import RollupOptions, ScheduleOptions, parse
from catalog.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One line of the schedule. `due` is a cheap look: is there anything to do?"""

    job: str
    due: Callable[[Settings], bool]


def _new_arrivals(config: Settings) -> bool:
    options, _ = parse(RollupOptions, "rollup", [], config)
    return rollup.is_due(options)


SCHEDULE = (Entry("rollup", _new_arrivals),)


def start(options: ScheduleOptions, flags: list[str], config: Settings) -> None:
    """Look every `options.every_s` seconds until stopped; one job at a time."""
    scheduler = BlockingScheduler(timezone="UTC")
    for entry in SCHEDULE:
        scheduler.add_job(
            _run_if_due,
            "interval",
            [entry, flags, config],
            seconds=options.every_s,
            max_instances=1,
            coalesce=True,
        )
    scheduler.start()


def _run_if_due(entry: Entry, flags: list[str], config: Settings) -> None:
    if not entry.due(config):
        return
    # A process of its own: the same command a person would type, and its memory goes with it.
    command = [sys.executable, "-m", "beam_pipelines.run", entry.job, *flags]
    finished = subprocess.run(command, check=False)
    if finished.returncode:
        log.error("%s ended with exit code %s; tried again", entry.job, finished.returncode)
