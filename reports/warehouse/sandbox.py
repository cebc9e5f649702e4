"""Runs a person's query in a process of its own: whatever it does to that process ends there.

DuckDB counts neither the strings nor the lists that a function makes, and looks at its clock only
between chunks: `REPEAT('x', 4000000000)` takes 4 GB and half a minute whatever it was told. Limits
of the operating system hold where those of the database do not.
"""

from __future__ import annotations

import logging
import math
import pickle
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

from reports.warehouse.execute import Answer, Failure, Job, execute

log = logging.getLogger(__name__)

_CHILD = "from reports.warehouse.sandbox import main; main()"
_ORPHAN_S = 5  # how much longer than allowed a query may go on when nobody is there to stop it


def run_apart(job: Job, timeout_s: float) -> Answer | Failure:
    """Run it; a process costs about 0.15 s. Never raises for what the query does."""
    command = [sys.executable, "-c", _CHILD, str(math.ceil(timeout_s) + _ORPHAN_S)]
    given = pickle.dumps(job)
    try:
        done = subprocess.run(
            command, input=given, stdout=subprocess.PIPE, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return Failure("time")
    if done.returncode:
        log.warning("a query's process ended with %d", done.returncode)
        # By a signal: memory that was refused to code that has no answer to that.
        return Failure("memory" if done.returncode < 0 else "crash")
    found: Answer | Failure = pickle.loads(done.stdout)
    return found


def main() -> None:
    """The child: a job on stdin, an answer or a failure on stdout."""
    # The parent's own limit is shorter, but a parent may be killed.
    signal.alarm(int(sys.argv[1]))
    job: Job = pickle.load(sys.stdin.buffer)
    _confine(job.memory_mb)
    try:
        found = pickle.dumps(execute(job))
    except MemoryError:
        found = pickle.dumps(Failure("memory"))
    sys.stdout.buffer.write(found)


def _confine(memory_mb: int) -> None:
    """No core dump, no byte into any file, and only so much memory on top of what is in use."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    status = Path("/proc/self/status")  # Linux only; elsewhere the database's own limit must do
    used = re.search(r"VmData:\s+(\d+) kB", status.read_text()) if status.exists() else None
    if used:
        limit = (int(used[1]) << 10) + (memory_mb << 20)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
