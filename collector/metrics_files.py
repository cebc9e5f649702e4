"""Where worker processes share their counts. Knows nothing of the client library.

That library decides when it is first imported whether counts are shared, so the parent of the
workers names the directory before any of them imports it, and never imports it itself.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # the client library's own
_PREFIX = "headwater-metrics-"
_SHARED_MEMORY = Path("/dev/shm")


def prepare() -> Path:
    """An empty directory for the workers that this process is going to start, gone at its end.

    In memory where there is such a place: the counts are mapped files, and a mapped file on a
    full disk kills the process that writes to it.
    """
    base = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    _sweep(base)
    made = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=base))
    owner = os.getpid()
    atexit.register(lambda: shutil.rmtree(made, ignore_errors=True) if os.getpid() == owner else 0)
    os.environ[VARIABLE] = str(made)
    return made


def _sweep(base: Path) -> None:
    """Away with what killed parents left behind."""
    for left in base.glob(f"{_PREFIX}*"):
        pid = left.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not is_alive(int(pid)) and left.stat().st_uid == os.getuid():
            shutil.rmtree(left, ignore_errors=True)


def is_alive(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
