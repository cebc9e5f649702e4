"""`python -m reports`: serve the report pages on granian. Settings come from the environment."""

from __future__ import annotations

import ipaddress
import os
import sys

import click
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server import Server

from catalog import settings as settings_table
from catalog.settings import SettingError
from catalog.store import Catalog

_THREADS = 16


@click.command(help=__doc__)
def main() -> None:
    """Migrate the catalogue, then serve until SIGTERM."""
    try:
        settings = settings_table.read(os.environ)
    except SettingError as error:
        sys.exit(f"reports: {error}")
    if not _is_loopback(settings.reports_host):
        sys.exit(
            f"reports: HEADWATER_REPORTS_HOST={settings.reports_host} can be reached from outside, "
            "but the pages have no log-in yet; use 127.0.0.1 and a proxy that asks who is there"
        )
    Catalog(settings.catalog_url).migrate()
    Server(
        "reports.app:serve",
        factory=True,
        interface=Interfaces.WSGI,
        address=settings.reports_host,
        port=settings.reports_port,
        workers=settings.reports_workers,
        blocking_threads=_THREADS,
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=5,
        log_level=LogLevels.error,
    ).serve()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


if __name__ == "__main__":
    main()
