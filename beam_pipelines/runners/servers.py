"""A job server as a process of our own, for as long as the job runs."""

from __future__ import annotations

import ctypes
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from beam_pipelines.runners.errors import RunnerError

_PR_SET_PDEATHSIG = 1
_STOP_S = 10


@contextmanager
def job_server(
    name: str, command: Callable[[int], Sequence[str]], *, start_s: float
) -> Iterator[str]:
    """Run `command(port)` until the block ends; yields HOST:PORT once it listens.

    It cannot outlive us: its state is worth nothing without us. Raises RunnerError where it ends
    or does not listen within `start_s` seconds.
    """
    port = _free_port()
    process = subprocess.Popen(command(port), preexec_fn=_die_with_parent)
    try:
        _wait_for(name, port, process, start_s)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(endpoint: str) -> bool:
    """Does anybody listen at HOST:PORT? False for what is no such address."""
    host, _, port = endpoint.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=5):
            return True
    except (OSError, ValueError, OverflowError):
        return False


def _die_with_parent() -> None:
    if sys.platform == "linux":  # elsewhere a server left behind ends when its worker is gone
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_for(name: str, port: int, process: subprocess.Popen[bytes], start_s: float) -> None:
    deadline = time.monotonic() + start_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RunnerError(f"{name} ended at start with exit code {process.returncode}")
        if answers(f"127.0.0.1:{port}"):
            return
        time.sleep(0.1)
    raise RunnerError(f"{name} did not listen on port {port} within {start_s:.0f} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
