"""An emulator of a Google service as a real process: starts, hangs, goes on, dies."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn, Self

import pytest

from tests.system import free_port, wait_for


def missing(what: str) -> NoReturn:
    """In CI a missing emulator is an error, elsewhere the test is left out."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


class Emulator:
    """Use as a context manager. What it held dies with it.

    command: of two free ports; the second is for emulators with a second protocol
    port:    the first, where it has to be a certain one
    """

    def __init__(
        self,
        command: Callable[[int, int], list[str]],
        environ: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> None:
        self.port, self.other_port = port or free_port(), free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.other_host = f"127.0.0.1:{self.other_port}"
        self._command = command(self.port, self.other_port)
        self._environ = {**os.environ, **(environ or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 closed by stop
        self._process = subprocess.Popen(
            self._command,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        wait_for(self._listens, seconds=60, what=f"{self._command[0]} on port {self.port}")

    def _listens(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            self._log.seek(0)
            raise AssertionError(f"it ended: {self._log.read()[-2000:]!r}")
        with socket.create_connection(("127.0.0.1", self.port), 1):
            return True

    def stop(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)
            self._process = None
            self._log.close()

    def hang(self) -> None:
        assert self._process is not None
        group = self._process.pid
        os.killpg(group, signal.SIGSTOP)
        # On a busy machine threads go on for a moment after the signal, and answer.
        wait_for(lambda: all(state == "T" for state in _states(group)), seconds=10, what="the stop")

    def go_on(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)


def _states(group: int) -> list[str]:
    """Of every thread of a process group, as /proc names them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/task/[0-9]*/stat"):
        try:
            state, _, of = path.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(of) == group:
            found.append(state)
    return found
