"""`python -m reports.exports.due`: makes the scheduled exports that are due, and ends.

The schedule of jobs starts it when one is. One process at a time does it on a machine.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
from flask import Flask

from catalog import settings as settings_table
from catalog.documents import Document, Documents
from catalog.settings import Settings
from catalog.store import Catalog, CatalogError
from reports.exports import schedules
from reports.exports.asked import Asked
from reports.exports.work import made

log = logging.getLogger(__name__)


def main() -> int:
    """0 where all that was due is made, 1 where one failed."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    settings = settings_table.read(os.environ)
    directory = settings.path("exports")
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".schedules.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        return run_due(settings, time.time_ns() // 1000)


def run_due(settings: Settings, now_us: int) -> int:
    """Make what is due at a time. 1 where one failed, else 0."""
    from reports.app import serve  # here: most of the time nothing is due

    catalog = Catalog(settings.catalog_url)
    documents, zones = Documents(catalog), catalog.time_zones()
    app, failed = None, 0
    for listed in documents.every(schedules.KIND):
        if listed.body["next_at"] > now_us:
            continue
        # Those before it took their time.
        document = documents.get(listed.project, schedules.KIND, listed.id)
        if document is None:
            continue
        app = app or serve()
        make = partial(_made, document.project, settings, app)
        kept = schedules.run(document, settings, zones[document.project], now_us, make)
        if kept is None:
            continue
        if kept.last_state == "failed" and kept.last_at == now_us:
            failed = 1
            log.error("%s %r: %s", document.project, document.name, kept.last_said)
        _put(documents, document, kept)
    return failed


def _put(documents: Documents, started: Document, kept: schedules.Kept) -> None:
    """Write down how a run went. It takes its time: what was changed meanwhile stays changed."""
    now = documents.get(started.project, schedules.KIND, started.id)
    if now is None:  # removed meanwhile
        return
    body = msgspec.to_builtins(schedules.after_run(started, now, kept))
    with suppress(CatalogError):  # removed just now
        documents.put(now.project, schedules.KIND, now.name, body, known=now.id)


def _made(project: str, settings: Settings, app: Flask, asked: Asked, draft: Path) -> None:
    made(project, asked, settings, app, draft)


if __name__ == "__main__":
    sys.exit(main())
