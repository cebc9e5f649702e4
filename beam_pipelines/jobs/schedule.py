"""Which jobs run by themselves, and how often. A deployment makes scheduled jobs of this table."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.blocking import BlockingScheduler

from beam_pipelines.jobs import (
    compact,
    identity,
    parity,
    retention,
    rollup,
    sessions,
    warehouse_copy,
)
from beam_pipelines.options import (
    CompactOptions,
    IdentityOptions,
    ParityOptions,
    RetentionOptions,
    RollupOptions,
    ScheduleOptions,
    SessionsOptions,
    WarehouseCopyOptions,
    parse,
)
from catalog.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One line of the schedule.

    due:   a cheap look: is there anything to do?
    flags: of the job
    looks: the job is looked at each so many of `every_s`
    """

    job: str
    due: Callable[[Settings], bool]
    flags: tuple[str, ...] = ()
    looks: int = 1


_SHORT, _LONG = "--grains=hour,day", "--grains=week,month"


def _new_arrivals(grains: str) -> Callable[[Settings], bool]:
    return lambda config: rollup.is_due(parse(RollupOptions, "rollup", [grains], config)[0])


def _sessions(config: Settings) -> bool:
    return sessions.is_due(parse(SessionsOptions, "sessions", [], config)[0])


def _identity(config: Settings) -> bool:
    return identity.is_due(parse(IdentityOptions, "identity", [], config)[0])


def _copy(config: Settings) -> bool:
    return warehouse_copy.is_due(parse(WarehouseCopyOptions, "copy", [], config)[0])


def _compact(config: Settings) -> bool:
    return compact.is_due(parse(CompactOptions, "compact", [], config)[0])


def _retention(config: Settings) -> bool:
    return retention.is_due(parse(RetentionOptions, "retention", [], config)[0])


def _has_spool(config: Settings) -> bool:
    return config.events_uri.startswith("spool:")


def _parity(config: Settings) -> bool:
    return parity.is_due(parse(ParityOptions, "parity", [], config)[0])


# What reads a month for an event of today has time: with 30 s, an hour or 20 minutes.
SCHEDULE = (
    Entry("rollup", _new_arrivals(_SHORT), (_SHORT,)),
    Entry("rollup", _new_arrivals(_LONG), (_LONG,), looks=120),
    Entry("sessions", _sessions, looks=40),
    Entry("identity", _identity, looks=120),
    # Each load changes a table, which BigQuery takes 1,500 times a day.
    Entry("copy", _copy, looks=10),
    Entry("reconcile", _has_spool, looks=10),
    # Each looks every hour whether a day has become due.
    Entry("compact", _compact, looks=120),
    Entry("retention", _retention, looks=120),
    Entry("parity", _parity, looks=120),
)


def start(options: ScheduleOptions, flags: list[str], config: Settings) -> None:
    """Look every `options.every_s` seconds until stopped; one job at a time."""
    scheduler = BlockingScheduler(timezone="UTC", executors={"default": ThreadPoolExecutor(1)})
    for entry in SCHEDULE:
        scheduler.add_job(
            _run_if_due,
            "interval",
            [entry, flags, config],
            seconds=options.every_s * entry.looks,
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,  # whoever had to wait for another job still runs
        )
    scheduler.start()


def _run_if_due(entry: Entry, flags: list[str], config: Settings) -> None:
    if not entry.due(config):
        return
    # A process of its own: the same command a person would type, and its memory goes with it.
    command = [sys.executable, "-m", "beam_pipelines.run", entry.job, *entry.flags, *flags]
    finished = subprocess.run(command, check=False)
    if finished.returncode:
        log.error("%s ended with exit code %s; tried again", entry.job, finished.returncode)
