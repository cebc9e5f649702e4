"""Queries that run while nobody waits: each a directory that every process of the reports reads.

The process that was asked runs the query; any other can say how far it is, give its rows, and
cancel it. What it writes is replaced whole, so a reader never sees half of it.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from reports.query import processes
from reports.warehouse.engine import Made, QueryFailed, Result, Warehouse
from reports.warehouse.sandbox import Apart
from reports.warehouse.shown import bigquery_type, plain
from reports.warehouse.slots import Slot

log = logging.getLogger(__name__)

PAGE_ROWS = 1_000
KEPT_S = 3_600  # that a result can be fetched
KEPT = 50  # results of a project at most; the oldest go first
_LOOK_S = 0.1
_CANCEL_S = 5.0
_ID = re.compile(r"[\w-]{22}")

What = Literal["running", "done", "failed", "cancelled"]


class Job(msgspec.Struct, kw_only=True):
    """One query that was started.

    runner, child: (process id, when it was started) of who runs it, and of the query's own process
    began, ended:  seconds since 1970
    progress:      done so far, 0 to 1; None where the engine does not know
    rows:          of the answer, so far
    as_of, complete_until, answered_from: as in the engine's Result
    """

    id: str
    project: str
    user: str
    sql: str
    parameters: dict[str, Any]
    runner: tuple[int, int]
    began: float
    state: What = "running"
    child: tuple[int, int] | None = None
    ended: float | None = None
    progress: float | None = None
    rows: int = 0
    message: str | None = None
    line: int | None = None
    column: int | None = None
    columns: list[str] = []
    types: list[str] = []
    truncated: bool = False
    as_of: int | None = None
    status: str | None = None
    complete_until: int | None = None
    answered_from: str | None = None

    @property
    def seconds(self) -> float:
        """How long it has run, or ran."""
        return (self.ended or time.time()) - self.began

    @property
    def pages(self) -> int:
        """How many pages of rows there are; the last one may be shorter."""
        return -(-self.rows // PAGE_ROWS) if self.state == "done" else 0


class Jobs:
    """The jobs of all projects, below one directory."""

    def __init__(self, warehouse: Warehouse, directory: Path, timeout_s: float) -> None:
        self._warehouse, self._directory, self._timeout_s = warehouse, directory, timeout_s
        self._sweep()

    def start(
        self,
        project: str,
        user: str,
        sql: str,
        parameters: Mapping[str, Any],
        given: Mapping[str, Any],
        ended: Callable[[Job], None],
    ) -> Job:
        """Start a query. Raises NotAdmitted, TooLarge, Busy: then there is no job.

        parameters: their values; given: the same as they were sent; ended: told at its end
        """
        made = self._warehouse.prepare(project, sql, parameters)
        slot = self._warehouse.slot(user)
        try:
            self._sweep()
            here = os.getpid()
            job = Job(
                id=secrets.token_urlsafe(16),
                project=project,
                user=user,
                sql=sql,
                parameters=dict(given),
                runner=(here, processes.started(here) or 0),
                began=time.time(),
            )
            self._path(job).mkdir(parents=True)
            self._write(job)
            run = threading.Thread(
                target=self._run, args=(job, made, slot, ended), name=f"query {job.id}", daemon=True
            )
            run.start()
        except BaseException:
            slot.give_back()
            raise
        return job

    def get(self, project: str, user: str, name: str) -> Job | None:
        """A job of this person; None where there is none, or its result is gone."""
        if not _ID.fullmatch(name):
            return None
        path = self._directory / project / name
        try:
            job = msgspec.json.decode((path / "job.json").read_bytes(), type=Job)
        except FileNotFoundError:
            return None
        if job.user != user or self._is_over(job):
            return None
        if job.state == "running" and not processes.is_alive(*job.runner):
            job.state, job.ended = "failed", time.time()
            job.message = "the process that ran it ended; run it again"
            if job.child is not None:  # nobody waits for it any more
                processes.end(*job.child)
            self._write(job)
        return job

    def rows(self, job: Job, number: int) -> bytes:
        """One page of rows, from 0, as a JSON list. Raises FileNotFoundError."""
        return (self._path(job) / f"rows-{number}.json").read_bytes()

    def all_rows(self, job: Job) -> Iterator[list[Any]]:
        """All rows of a result."""
        for number in range(job.pages):
            yield from msgspec.json.decode(self.rows(job, number))

    def cancel(self, job: Job) -> Job | None:
        """End it if it runs, from whichever process; else forget it. None: forgotten."""
        path = self._path(job)
        if job.state != "running":
            shutil.rmtree(path, ignore_errors=True)
            return None
        (path / "cancel").touch()
        if job.child is not None:
            processes.end(*job.child)
        until = time.monotonic() + _CANCEL_S
        found: Job | None = job
        while found is not None and found.state == "running" and time.monotonic() < until:
            time.sleep(_LOOK_S / 2)
            found = self.get(job.project, job.user, job.id)
        return found

    def _run(self, job: Job, made: Made, slot: Slot, ended: Callable[[Job], None]) -> None:
        """In a thread of its own, to its end."""
        try:
            self._work(job, made)
        except Exception:
            log.exception("a query's thread failed")
            job.state, job.message = "failed", "this is our fault; the log says what happened"
        finally:
            slot.give_back()
        job.ended = time.time()
        try:
            ended(job)  # first: whoever sees that it is done finds it in the history
        except Exception:
            log.warning("the history has not got a query that ran", exc_info=True)
        try:
            self._write(job)
        except FileNotFoundError:
            log.info("a query ended whose directory is gone")

    def _work(self, job: Job, made: Made) -> None:
        cancelled = self._path(job) / "cancel"
        with Apart(made.job, self._timeout_s) as apart:
            job.child = (apart.pid, processes.started(apart.pid) or 0)
            self._write(job)
            while not apart.wait(_LOOK_S):
                if cancelled.exists():
                    apart.cancel()
                if (job.progress, job.rows) != (apart.part, apart.rows):
                    job.progress, job.rows = apart.part, apart.rows
                    self._write(job)
            answer = apart.found()
        if cancelled.exists():
            job.state, job.message = "cancelled", "cancelled"
            return
        try:
            self._keep(job, self._warehouse.result(made, answer, job.seconds))
        except QueryFailed as error:
            job.state, job.message = "failed", str(error)
            job.line, job.column = error.line, error.column

    def _keep(self, job: Job, result: Result) -> None:
        for number, first in enumerate(range(0, len(result.rows), PAGE_ROWS)):
            some = result.rows[first : first + PAGE_ROWS]
            rows = [[plain(value) for value in row] for row in some]
            (self._path(job) / f"rows-{number}.json").write_bytes(msgspec.json.encode(rows))
        job.state, job.progress, job.rows = "done", 1.0, len(result.rows)
        job.columns, job.types = result.columns, list(map(bigquery_type, result.types))
        job.truncated, job.as_of, job.status = result.truncated, result.as_of, result.status
        job.complete_until, job.answered_from = result.complete_until, result.answered_from

    def _path(self, job: Job) -> Path:
        return self._directory / job.project / job.id

    def _write(self, job: Job) -> None:
        path = self._path(job)
        new = path / f"{secrets.token_hex(4)}.new"
        new.write_bytes(msgspec.json.encode(job))
        new.replace(path / "job.json")

    @staticmethod
    def _is_over(job: Job) -> bool:
        return job.ended is not None and time.time() > job.ended + KEPT_S

    def _sweep(self) -> None:
        """Forget what is too old of all projects: of a quiet one nobody else would."""
        for project in self._directory.glob("*/"):
            self._sweep_project(project)

    def _sweep_project(self, directory: Path) -> None:
        """Forget results that are too old, and the oldest where there are too many."""
        found = []
        for path in directory.glob("*/job.json"):
            try:
                job = msgspec.json.decode(path.read_bytes(), type=Job)
            except (OSError, msgspec.DecodeError):  # somebody else sweeps as well
                continue
            if job.state != "running" or not processes.is_alive(*job.runner):
                found.append((job.ended or job.began, path.parent))
        found.sort(reverse=True)
        for place, (ended, path) in enumerate(found):
            if place >= KEPT or time.time() > ended + KEPT_S:
                shutil.rmtree(path, ignore_errors=True)
