"""Runs a person's query in a process of its own: whatever it does to that process ends there.

DuckDB counts neither the strings nor the lists that a function makes, and looks at its clock only
between chunks: `REPEAT('x', 4000000000)` takes 4 GB and half a minute whatever it was told. Limits
of the operating system hold where those of the database do not.
"""

from __future__ import annotations

import atexit
import logging
import math
import pickle
import re
import resource
import signal
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

from reports.warehouse.execute import Answer, Failure, Job, Meter, execute

log = logging.getLogger(__name__)

_CHILD = "from reports.warehouse.sandbox import main; main()"
_ORPHAN_S = 5  # how much longer than allowed a query may go on when nobody is there to stop it
_TELL_S = 0.2  # between two words of the child on how far it is
# What the child says: how far it is, part and rows, as often as it likes; then once what it found.
_PROGRESS, _FOUND = b"P", b"F"
_HOW_FAR = struct.Struct("<dq")


# A process costs a tenth of a second before it can do anything; so one waits, started, for the
# next query. It reads its job from a pipe and ends where that is closed: with us, at the latest.
_ready: list[subprocess.Popen[bytes]] = []
_ready_lock = threading.Lock()


def _child() -> subprocess.Popen[bytes]:
    """A process for a query: the one that waits, or a new one."""
    with _ready_lock:
        while _ready:
            child = _ready.pop()
            if child.poll() is None:
                return child
    return _start()


def _start() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _CHILD]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _have_one_ready() -> None:
    with _ready_lock:
        if not _ready:
            _ready.append(_start())


@atexit.register
def _let_go() -> None:
    with _ready_lock:
        while _ready:
            child = _ready.pop()
            child.communicate(b"")


class Apart:
    """A query that runs in a process of its own. Use as a context manager: it ends with it.

    pid:  of that process
    part: done so far, 0 to 1; None where the engine does not know
    rows: of the answer so far
    """

    def __init__(self, job: Job, timeout_s: float) -> None:
        self._process = _child()
        self.pid = self._process.pid
        self.part: float | None = None
        self.rows = 0
        self._until = time.monotonic() + timeout_s
        self._said = b""
        self._ended: Failure | None = None
        given = pickle.dumps((math.ceil(timeout_s) + _ORPHAN_S, job))
        self._listener = threading.Thread(target=self._talk, args=(given,), daemon=True)
        self._listener.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._listener.join()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        _have_one_ready()

    def wait(self, seconds: float) -> bool:
        """Wait for its end, at most so long; True when it has one, for want of time also."""
        self._listener.join(min(seconds, max(0.0, self._until - time.monotonic())))
        if self._listener.is_alive() and time.monotonic() >= self._until:
            self._end(Failure("time"))
        return not self._listener.is_alive()

    def cancel(self) -> None:
        """End it now."""
        self._end(Failure("cancelled"))

    def found(self) -> Answer | Failure:
        """What came of it; waits until there is something."""
        while not self.wait(3600):
            pass
        code = self._process.wait()
        if self._ended is not None:
            return self._ended
        if code:
            log.warning("a query's process ended with %d", code)
            # By a signal: memory that was refused to code that has no answer to that.
            return Failure("memory" if code < 0 else "crash")
        found: Answer | Failure = pickle.loads(self._said)
        return found

    def _end(self, why: Failure) -> None:
        if self._ended is None and self._process.poll() is None:
            self._ended = why
        self._process.kill()
        self._listener.join()

    def _talk(self, job: bytes) -> None:
        """In a thread: give the child its job, hear what it says."""
        given, said = self._process.stdin, self._process.stdout
        assert given is not None
        assert said is not None
        with suppress(BrokenPipeError):
            given.write(job)
            given.close()
        while (kind := said.read(1)) == _PROGRESS:
            how_far = said.read(_HOW_FAR.size)
            if len(how_far) == _HOW_FAR.size:
                part, self.rows = _HOW_FAR.unpack(how_far)
                self.part = part if part >= 0 else None
        if kind == _FOUND:
            self._said = said.read()


def run_apart(job: Job, timeout_s: float) -> Answer | Failure:
    """Run it. Never raises for what the query does."""
    with Apart(job, timeout_s) as apart:
        return apart.found()


def main() -> None:
    """The child: a job on stdin, how far it is and then an answer or a failure on stdout."""
    given = sys.stdin.buffer.read()
    if not given:  # the parent has ended and never had a query for us
        return
    limit_s, job = pickle.loads(given)
    # The parent's own limit is shorter, but a parent may be killed.
    signal.alarm(limit_s)
    meter, done = Meter(), threading.Event()
    teller = threading.Thread(target=_tell, args=(meter, done, sys.stdout.buffer))
    teller.start()  # first: its stack is none of the query's memory
    _confine(job.memory_mb)
    try:
        found = pickle.dumps(execute(job, meter))
    except MemoryError:
        found = pickle.dumps(Failure("memory"))
    done.set()
    teller.join()
    sys.stdout.buffer.write(_FOUND + found)


def _tell(meter: Meter, done: threading.Event, out: IO[bytes]) -> None:
    while not done.wait(_TELL_S):
        try:
            part = meter.part
        except Exception:  # the connection is just closed
            part = None
        with suppress(BrokenPipeError):
            out.write(_PROGRESS + _HOW_FAR.pack(-1.0 if part is None else part, meter.rows))
            out.flush()


def _confine(memory_mb: int) -> None:
    """No core dump, no byte into any file, and only so much memory on top of what is in use."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    status = Path("/proc/self/status")  # Linux only; elsewhere the database's own limit must do
    used = re.search(r"VmData:\s+(\d+) kB", status.read_text()) if status.exists() else None
    if used:
        limit = (int(used[1]) << 10) + (memory_mb << 20)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
