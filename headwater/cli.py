"""Headwater on one machine."""

from __future__ import annotations

import os
import signal
import sys

import click

from catalog import settings as settings_table
from catalog.settings import PREFIX, Settings
from catalog.store import Catalog
from headwater import ground
from headwater.export import export
from headwater.greeting import Greeter, banner
from headwater.query import query
from headwater.supervisor import Child, Supervisor

FIRST_PROJECT, FIRST_SOURCE = "demo", "web"


@click.group(help=__doc__)
def main() -> None:
    """Commands of the system on one machine."""


@main.command()
def up() -> None:
    """Start collector, pipeline, schedule and reports; Ctrl-C stops them all.

    What there is to set, as HEADWATER_… variables, is in docs/reference.md.
    """
    try:
        settings = settings_table.read(os.environ)
        with ground.lock(settings.path()) as held:
            ground.check_bus(settings)
            ground.check_ports(settings)
            _run(settings, held.fileno())
    except (settings_table.SettingError, ground.Occupied) as error:
        raise click.ClickException(str(error)) from None


main.add_command(query)
main.add_command(export)


def _run(settings: Settings, held: int) -> None:
    catalog = Catalog(settings.catalog_url)
    catalog.migrate()
    text = banner(settings, *first_key(catalog))
    environ = {**os.environ}
    if not settings.pipeline_port:  # pages ask the pipeline how it is: any port will do
        environ[f"{PREFIX}PIPELINE_PORT"] = str(ground.free_port())
    # The children hold the lock with us: see ground.lock.
    supervisor = Supervisor(children(), environ, sys.stdout, keep_open=[held])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: supervisor.stop())
    supervisor.run(Greeter(settings, text, supervisor.youngest_s, supervisor.print))
    supervisor.say("headwater", "stopped; `headwater up` goes on from here")


def children() -> list[Child]:
    """In the order of stopping: no new events first, then who works on them, then who looks."""

    def python(*module: str) -> tuple[str, ...]:
        return (sys.executable, "-m", *module)

    return [
        Child("collector", python("collector")),
        Child("ingest", python("beam_pipelines.run", "ingest", "--runner=prism")),
        Child("schedule", python("beam_pipelines.run", "schedule")),
        Child("reports", python("reports")),
    ]


def first_key(catalog: Catalog) -> tuple[str, str]:
    """(project, write key) to try: the first there is, made in an empty catalogue."""
    if not catalog.time_zones():
        catalog.add_project(FIRST_PROJECT, name="Demo")
    project = next(iter(catalog.time_zones()))
    for key, owner in catalog.keys().items():
        if owner.project == project:
            return project, key
    return project, catalog.add_key(project, FIRST_SOURCE)
