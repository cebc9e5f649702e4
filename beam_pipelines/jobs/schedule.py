"""Which jobs run by themselves, and how often. A deployment makes scheduled jobs of this table."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

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
from catalog.documents import Documents
from catalog.job_runs import Run, RunBook
from catalog.settings import Settings
from catalog.store import Catalog

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One line of the schedule.

    due:    a cheap look: is there anything to do?
    flags:  of the job
    looks:  the job is looked at each so many of `every_s`
    module: another module than that of the jobs, which takes no flags; the job is its name only
    lane:   jobs of different lanes run beside one another
    """

    job: str
    due: Callable[[Settings], bool]
    flags: tuple[str, ...] = ()
    looks: int = 1
    module: str = ""
    lane: Literal["default", "exports"] = "default"

    def command(self, flags: list[str]) -> list[str]:
        """The same that a person would type."""
        if self.module:
            return [sys.executable, "-m", self.module]
        return [sys.executable, "-m", "beam_pipelines.run", self.job, *self.flags, *flags]


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


def _exports(config: Settings) -> bool:
    """Is a scheduled export past its time?"""
    kept = Documents(Catalog(config.catalog_url)).every("export_schedule")
    return any(one.body["next_at"] <= time.time_ns() // 1000 for one in kept)


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
    # Takes as long as somebody's export takes: nothing else waits for it.
    Entry("exports", _exports, looks=2, module="reports.exports.due", lane="exports"),
)


def start(options: ScheduleOptions, flags: list[str], config: Settings) -> None:
    """Look every `options.every_s` seconds until stopped; one job at a time."""
    scheduler = BlockingScheduler(timezone="UTC", executors=_lanes())
    for entry in SCHEDULE:
        scheduler.add_job(
            _run_if_due,
            "interval",
            [entry, flags, config],
            seconds=options.every_s * entry.looks,
            executor=entry.lane,
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,  # whoever had to wait for another job still runs
        )
    _note(partial(RunBook(config.path("runs")).look, _now()))
    scheduler.start()


def _lanes() -> dict[str, ThreadPoolExecutor]:
    return {entry.lane: ThreadPoolExecutor(1) for entry in SCHEDULE}


def _run_if_due(entry: Entry, flags: list[str], config: Settings) -> None:
    book = RunBook(config.path("runs"))
    _note(partial(book.look, _now(), lane=entry.lane))
    if not entry.due(config):
        return
    # A process of its own: the same command a person would type, and its memory goes with it.
    given = (*entry.flags, *flags)
    _note(partial(book.look, _now(), running=entry.job, lane=entry.lane))
    started = _now()
    code, said = _run_shown(entry.command(flags))
    if code:
        log.error("%s ended with exit code %s; tried again", entry.job, code)
    run = Run(
        job=entry.job,
        flags=given,
        started_at=started,
        ended_at=_now(),
        outcome="failed" if code else "ok",
        exit_code=code,
        message=said,
    )
    _note(partial(book.add, run))
    _note(partial(book.look, _now(), lane=entry.lane))


def _note(write: Callable[[], None]) -> None:
    """A full disk must not stop the job that makes room on it."""
    try:
        write()
    except OSError as error:
        log.warning("the run is not noted for the pages: %s", error)


def _run_shown(command: list[str]) -> tuple[int, str]:
    """Run it, show what it prints as it comes; exit code and the last line that is not empty."""
    last = ""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    return process.returncode, last


def _now() -> int:
    return time.time_ns() // 1000
