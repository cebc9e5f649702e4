"""`headwater up`: the whole system on this machine, from nothing or from where it stopped."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import click

from catalog import settings as settings_table
from catalog.settings import Settings
from catalog.store import Catalog
from headwater.supervisor import Child, Supervisor

FIRST_PROJECT, FIRST_SOURCE = "demo", "web"


@click.group(help=__doc__)
def main() -> None:
    """Commands of the system on one machine."""


@main.command()
def up() -> None:
    """Start collector, pipeline, schedule and reports; Ctrl-C stops them all.

    Settings are HEADWATER_… variables, see docs/reference.md.
    """
    try:
        settings = settings_table.read(os.environ)
    except settings_table.SettingError as error:
        sys.exit(f"headwater: {error}")
    for process in ("collector", "reports"):
        _check_port(settings, process)
    settings.path().mkdir(parents=True, exist_ok=True)
    lock = _lock(settings.path("lock"))
    catalog = Catalog(settings.catalog_url)
    catalog.migrate()
    project, key = _first_key(catalog)
    supervisor = Supervisor(_children(), os.environ)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: supervisor.stop())
    supervisor.run(_Greeter(settings, project, key, supervisor.say))
    lock.close()
    click.echo("stopped; `headwater up` goes on from here")


def _children() -> list[Child]:
    def python(*module: str) -> tuple[str, ...]:
        return (sys.executable, "-m", *module)

    return [  # the order of stopping: no new events, then what works on them, then who looks
        Child("collector", python("collector")),
        Child("ingest", python("beam_pipelines.run", "ingest")),
        Child("schedule", python("beam_pipelines.run", "schedule")),
        Child("reports", python("reports")),
    ]


def _check_port(settings: Settings, process: str) -> None:
    host, port = getattr(settings, f"{process}_host"), getattr(settings, f"{process}_port")
    variable = f"{settings_table.PREFIX}{process.upper()}"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                sys.exit(f"headwater: cannot listen on {variable}_HOST={host}: {error}")
            sys.exit(
                f"headwater: port {port} on {host} is in use; "
                f"stop what listens there or set {variable}_PORT to another"
            )


def _lock(path: Path) -> TextIO:
    """Held for as long as the file stays open: two systems must not share a data directory."""
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(
            f"headwater: another one runs on {path.parent}; "
            "stop it or set HEADWATER_DATA_DIR to another directory"
        )
    return file


def _first_key(catalog: Catalog) -> tuple[str, str]:
    """A project and a write key to try: the first there is, made in an empty catalogue."""
    if not catalog.time_zones():
        catalog.add_project(FIRST_PROJECT, name="Demo")
    for key, owner in catalog.keys().items():
        return owner.project, key
    project = next(iter(catalog.time_zones()))
    return project, catalog.add_key(project, FIRST_SOURCE)


class _Greeter:
    """Says once where everything is, as soon as collector and reports answer."""

    def __init__(
        self, settings: Settings, project: str, key: str, say: Callable[[str, str], None]
    ) -> None:
        self._settings, self._project, self._key, self._say = settings, project, key, say
        self._greeted = False
        self._next_look = 0.0

    def __call__(self) -> None:
        if self._greeted or time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + 0.5
        at = self._settings
        collector = f"http://{at.collector_host}:{at.collector_port}"
        reports = f"http://{at.reports_host}:{at.reports_port}"
        if not (_answers(f"{collector}/health") and _answers(f"{reports}/health")):
            return
        self._greeted = True
        body = '{"userId":"u1","event":"Signed Up"}'
        for line in (
            "",
            f"Reports    {reports}/p/{self._project}/",
            f"Collector  {collector}",
            f"Write key  {self._key}",
            f"Data       {self._settings.path()}",
            f"Try        curl -u {self._key}: -d '{body}' {collector}/v1/track",
            "",
        ):
            self._say("headwater", line)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except OSError:
        return False
