"""What must be free before anything is started: the data directory and the ports."""

from __future__ import annotations

import errno
import fcntl
import socket
import subprocess
import sys
from pathlib import Path
from typing import IO

from catalog.settings import PREFIX, Settings

SERVERS = ("collector", "reports")


class Occupied(RuntimeError):
    """Something that is needed is taken; the message names the setting and the remedy."""


def lock(directory: Path) -> IO[bytes]:
    """Hold the data directory, made if it is not there, for as long as the file stays open.

    Processes that inherit the open file hold it too: after a `kill -9` of the supervisor the
    directory is free only when the last of its children has ended, so that two pipelines never
    write one archive. Raises Occupied.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = (directory / "lock").open("ab")
    except OSError as error:
        raise Occupied(
            f"{PREFIX}DATA_DIR={str(directory)!r} cannot be written ({error.strerror}); "
            "set it to a directory that can"
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise Occupied(
            f"another headwater runs on {str(directory)!r}, or is still stopping; stop it or "
            f"wait, or set {PREFIX}DATA_DIR to another directory"
        ) from None
    return file


def check_bus(settings: Settings) -> None:
    """Make Pub/Sub's subscriptions where they are missing. Raises Occupied.

    Before anything is started: what a collector sends to a topic without one reaches nobody.
    """
    if settings.bus.startswith("spool:"):
        return
    command = [sys.executable, "-m", "beam_pipelines.run", "ingest", "--prepare"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().rpartition("\n")[2]
        raise Occupied(f"{PREFIX}BUS={settings.bus!r}: {said}")


def check_ports(settings: Settings) -> None:
    """Each server can listen where it shall. Raises Occupied."""
    if settings.collector_port == settings.reports_port:
        raise Occupied(
            f"{PREFIX}COLLECTOR_PORT and {PREFIX}REPORTS_PORT are both "
            f"{settings.reports_port}; they must differ"
        )
    for server in SERVERS:
        _check(*address(settings, server), f"{PREFIX}{server.upper()}")


def free_port() -> int:
    """A TCP port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def address(settings: Settings, server: str) -> tuple[str, int]:
    """Host and port that a server listens on."""
    return getattr(settings, f"{server}_host"), getattr(settings, f"{server}_port")


def _check(host: str, port: int, variable: str) -> None:
    try:
        family, kind, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise Occupied(
            f"{variable}_HOST={host!r} is no address ({error.strerror}); "
            "set it to one of this machine, such as 127.0.0.1"
        ) from error
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            probe.bind(where)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Occupied(
                    f"port {port} on {host} is in use; stop what listens there "
                    f"or set {variable}_PORT to another port"
                ) from error
            raise Occupied(
                f"{variable}_HOST={host!r} with {variable}_PORT={port} cannot be listened on "
                f"({error.strerror}); set them to what this machine and user may use"
            ) from error
