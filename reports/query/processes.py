"""Processes by id, without mistaking a later one with the same number for them."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

_STARTED = 19  # of the fields after the name in /proc/PID/stat: when it was started, in ticks
_GONE = {"Z", "X"}


def started(pid: int) -> int | None:
    """When it was started, in a unit of the system's; None where there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *fields = text.rpartition(")")[2].split()
    return None if state in _GONE else int(fields[_STARTED - 1])


def is_alive(pid: int, since: int) -> bool:
    """Is it there still, and the one that was started then?"""
    return started(pid) == since


def end(pid: int, since: int) -> bool:
    """Kill it, if it is the one that was started then; False where it is gone."""
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)  # from here on the number cannot become another's
        try:
            if is_alive(pid, since):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                return True
        finally:
            os.close(handle)
    return False
