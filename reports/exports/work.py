"""The process that works on exports: `python -m reports.exports.work`, started by whoever sees one.

It takes the oldest job that waits, one after the other, and ends when none is left. As many run as
HEADWATER_EXPORTS_AT_ONCE says; one more ends at once.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import msgspec
from flask import Flask

from catalog import policies
from catalog import settings as settings_table
from catalog.settings import PREFIX, SETTINGS, Settings
from catalog.store import Catalog
from reports.exports.asked import Asked
from reports.exports.making import Cancelled, FilesGone, Maker
from reports.exports.shelf import MOST_ATTEMPTS, Job, Shelf
from reports.insights.question import QuestionError
from reports.insights.routes import source_of
from reports.warehouse.admit import NotAdmitted
from reports.warehouse.engine import QueryFailed
from reports.warehouse.slots import NoRoom, Slots

log = logging.getLogger(__name__)

_PUT_S = 0.25  # between two writes of how far a job is
_DAY_S = 86_400
_HAS_PLACE = "--has-place"  # whoever started the process has taken a place for it
_started: list[subprocess.Popen[bytes]] = []  # by this process, and maybe still at work


def shelf_of(settings: Settings) -> Shelf:
    """The exports of this machine."""
    return Shelf(settings.path("exports"), settings.export_keep_days * _DAY_S)


def slots_of(settings: Settings) -> Slots:
    """Places for processes that work on them."""
    return Slots(settings.path("exports", ".slots"), settings.exports_at_once, 1)


def see_to_it(settings: Settings) -> None:
    """Start a process if a job waits and there is room; cheap where none does."""
    if not shelf_of(settings).open_jobs():
        return
    try:
        slot = slots_of(settings).take(None, 0)
    except NoRoom:
        return  # who is there goes on until none is left
    # The place is taken from now on, however long the process needs to begin: it inherits the lock.
    process = subprocess.Popen(
        [sys.executable, "-m", "reports.exports.work", _HAS_PLACE],
        env=environment(settings),
        stdin=subprocess.DEVNULL,
        pass_fds=slot.files,
    )
    slot.give_back()
    threading.Thread(target=process.wait, daemon=True).start()  # so that it leaves nothing behind


def environment(settings: Settings) -> dict[str, str]:
    """Of a process that has these settings."""
    ours = {s.variable: str(getattr(settings, s.name)) for s in SETTINGS}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    assert len(ours) == len(fields(settings))
    # An export has the time of an export, whatever a page would wait for.
    ours[f"{PREFIX}INSIGHT_TIMEOUT_S"] = str(settings.export_timeout_s)
    return kept | ours


def main(argv: Sequence[str]) -> None:
    """Work until no job is left."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    settings = settings_table.read(os.environ)
    shelf = shelf_of(settings)
    try:
        slot = None if _HAS_PLACE in argv else slots_of(settings).take(None, 0)
    except NoRoom:
        return
    if shelf.open_jobs():
        from reports.app import serve  # here: what is not needed is not loaded

        app = serve()
        while job := next(iter(shelf.open_jobs()), None):
            work_on(job, shelf, settings, app)
    if slot is not None:
        slot.give_back()


def work_on(job: Job, shelf: Shelf, settings: Settings, app: Flask) -> None:
    """Do one job if it is nobody else's; it is done, failed or cancelled then."""
    with shelf.locked(job) as ours:
        now = shelf.get(job.project, job.id)
        if not ours or now is None or now.state not in ("queued", "running"):
            return
        if shelf.is_cancelled(now):
            shelf.put(replace(now, state="cancelled", ended_at=_now()))
            return
        if now.attempts >= MOST_ATTEMPTS:
            said = f"its process ended {MOST_ATTEMPTS} times before it was done; try less at once"
            shelf.put(replace(now, state="failed", message=said, ended_at=_now()))
            return
        running = replace(
            now, state="running", attempts=now.attempts + 1, started_at=_now(), rows=0, bytes=0,
            share=None,
        )  # fmt: skip
        shelf.put(running)
        shelf.put(_ended(running, shelf, settings, app))


def _ended(job: Job, shelf: Shelf, settings: Settings, app: Flask) -> Job:
    """Make the files; how the job stands then."""
    draft = shelf.path(job) / ".files"
    shutil.rmtree(draft, ignore_errors=True)
    teller = _Teller(job, shelf)
    try:
        draft.mkdir()
        manifest = made(
            job.project,
            msgspec.convert(job.asked, Asked),
            settings,
            app,
            draft,
            teller.tell,
            lambda: shelf.is_cancelled(job),
        )
    except FilesGone:
        shutil.rmtree(draft, ignore_errors=True)
        if job.attempts < MOST_ATTEMPTS:  # by the next one who looks: the tables have changed
            return replace(teller.job, state="queued")
        return _failed(teller.job, "the tables changed while it ran, again and again; try later")
    except Cancelled:
        shutil.rmtree(draft, ignore_errors=True)
        return replace(teller.job, state="cancelled", ended_at=_now())
    except (QueryFailed, QuestionError, NotAdmitted) as error:
        shutil.rmtree(draft, ignore_errors=True)
        return _failed(teller.job, str(error))
    except Exception as error:
        log.exception("export %s failed", job.id)
        shutil.rmtree(draft, ignore_errors=True)
        said = "no room on the disk" if _is_full(error) else "that is our fault; see the log"
        return _failed(teller.job, said)
    draft.rename(shelf.files(job))
    return replace(
        teller.job, state="done", rows=manifest["rows"], bytes=manifest["bytes"], share=1.0,
        ended_at=_now(),
    )  # fmt: skip


def made(
    project: str,
    asked: Asked,
    settings: Settings,
    app: Flask,
    directory: Path,
    tell: Callable[[int, int, float | None], None] = lambda rows, size, share: None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """The manifest of what is asked, made in an empty directory. Raises as Maker.make does."""
    suppressed = policies.suppressed(Catalog(settings.catalog_url)).by_project
    with app.app_context():
        people = suppressed.get(project, frozenset())
        source = source_of(project)
        maker = Maker(asked, project, source, settings, people, tell, is_cancelled)
        return maker.make(directory)


class _Teller:
    """Writes down how far a job is, not too often."""

    def __init__(self, job: Job, shelf: Shelf) -> None:
        self.job, self._shelf = job, shelf
        self._next = 0.0
        self._lock = threading.Lock()

    def tell(self, rows: int, size: int, share: float | None) -> None:
        """Rows and bytes so far (below nought: not known), and the share that is done."""
        with self._lock:
            known = {n: v for n, v in (("rows", rows), ("bytes", size), ("share", share))
                     if v is not None and v >= 0}  # fmt: skip
            self.job = replace(self.job, **known)  # type: ignore[arg-type]
            if time.monotonic() >= self._next:
                self._next = time.monotonic() + _PUT_S
                self._shelf.put(self.job)


def _failed(job: Job, message: str) -> Job:
    return replace(job, state="failed", message=message, ended_at=_now())


def _is_full(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno == 28


def _now() -> int:
    return time.time_ns() // 1000


if __name__ == "__main__":
    main(sys.argv[1:])
