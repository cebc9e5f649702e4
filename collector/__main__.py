"""`python -m collector`: serve the collector on granian. Settings come from the environment."""

from __future__ import annotations

import os
import sys

import click
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server import Server

from catalog import settings as settings_table
from catalog.settings import SettingError
from catalog.store import Catalog
from collector import metrics_files
from collector.bus.opened import check_bus

MOST_CONNECTIONS = 4_096  # of a worker; more than may wait, so that the rest can be refused
_GRACE_S = 15  # for requests under way when a stop is asked for


@click.command(help=__doc__)
def main() -> None:
    """Migrate the catalogue, then serve until SIGTERM."""
    try:
        settings = settings_table.read(os.environ)
        check_bus(settings)
    except SettingError as error:
        sys.exit(f"collector: {error}")
    Catalog(settings.catalog_url).migrate()
    metrics_files.prepare()
    Server(
        "collector.app:serve",
        factory=True,
        interface=Interfaces.RSGI,
        address=settings.collector_host,
        port=settings.collector_port,
        workers=settings.collector_workers,
        backpressure=MOST_CONNECTIONS,
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=_GRACE_S,
        log_level=LogLevels.error,
    ).serve()


if __name__ == "__main__":
    main()
