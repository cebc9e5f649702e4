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
from catalog.users import Users

_THREADS = 96  # most of them wait: each open page of live numbers takes one


@click.command(help=__doc__)
def main() -> None:
    """Migrate the catalogue, then serve until SIGTERM."""
    try:
        settings = settings_table.read(os.environ)
    except SettingError as error:
        sys.exit(f"reports: {error}")
    catalog = Catalog(settings.catalog_url)
    catalog.migrate()
    if not _is_loopback(settings.reports_host) and not Users(catalog).exist():
        sys.exit(
            f"reports: HEADWATER_REPORTS_HOST={settings.reports_host} can be reached from outside, "
            "but there are no users yet; make the first: "
            "python -m catalog add-user you@example.org --admin"
        )
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
