"""Starts child processes, shows their output, restarts what ends, stops all in order."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import IO

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_SETTLED_S = 60.0  # a child that lived this long starts again with a short pause
_COLOURS = (36, 33, 35, 32, 34)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Child:
    """A process to keep running. Stopped in the order of the list."""

    name: str
    command: Sequence[str]


@dataclass(frozen=True)
class Patience:
    """How long to wait for what, in seconds.

    first_pause, longest_pause: before a child is started again; doubles from one to the other
    stop: what a child has for a clean end after SIGTERM before it is killed
    """

    first_pause: float = 1.0
    longest_pause: float = 30.0
    stop: float = 20.0


@dataclass
class _Running:
    child: Child
    pause_s: float
    process: subprocess.Popen[str] | None = None
    reader: threading.Thread | None = None
    started_at: float = 0.0
    due_at: float = field(default_factory=time.monotonic)


class Supervisor:
    """Keeps children running until `stop` is called from a signal handler or another thread.

    Each child leads a process group of its own: Ctrl-C reaches only us, and we pass it on in
    order. What a child leaves behind in its group is killed when it has ended.

    keep_open: file descriptors that every child inherits, such as a lock on the data directory
    """

    def __init__(
        self,
        children: Sequence[Child],
        environ: Mapping[str, str],
        out: IO[str],
        *,
        keep_open: Sequence[int] = (),
        patience: Patience | None = None,
    ) -> None:
        self._patience = patience or Patience()
        self._children = [_Running(child, self._patience.first_pause) for child in children]
        self._environ = {**environ, "PYTHONUNBUFFERED": "1"}
        self._out, self._keep_open = out, tuple(keep_open)
        names = ["headwater", *(child.name for child in children)]
        self._colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}
        self._width = max(map(len, names))
        self._stopping = threading.Event()
        self._printing = threading.Lock()

    def run(self, on_tick: Callable[[], None] = lambda: None) -> None:
        """Until `stop`. Call from the main thread; `on_tick` is called a few times a second."""
        try:
            while not self._stopping.is_set():
                for running in self._children:
                    self._look_after(running)
                on_tick()
                self._stopping.wait(0.2)
        finally:
            for running in self._children:
                self._end(running)

    def stop(self) -> None:
        """End `run`."""
        self._stopping.set()

    def youngest_s(self) -> float:
        """For how long all children have been alive; 0.0 while one is not."""
        if any(r.process is None or r.process.poll() is not None for r in self._children):
            return 0.0
        return time.monotonic() - max(r.started_at for r in self._children)

    def say(self, name: str, line: str) -> None:
        """One line of combined output: time, process, text."""
        tag = f"{name:<{self._width}}"
        if self._out.isatty():
            tag = f"\x1b[{self._colours[name]}m{tag}\x1b[0m"
        # What a child quotes must not move the cursor or recolour the terminal.
        self.print(f"{datetime.now():%H:%M:%S} {tag} | {_CONTROL.sub('?', line)}")

    def print(self, text: str) -> None:
        """Text as it is. A terminal that has gone away is no reason to stop counting events."""
        with self._printing, contextlib.suppress(OSError):
            print(text, file=self._out, flush=True)

    def _look_after(self, running: _Running) -> None:
        process = running.process
        if process is None:
            if time.monotonic() >= running.due_at:
                self._start(running)
        elif (code := process.poll()) is not None:
            # First of all its ports and locks, which a worker left behind may still hold.
            _kill_group(process.pid)
            if time.monotonic() - running.started_at > _SETTLED_S:
                running.pause_s = self._patience.first_pause
            self._again(running, _how_it_ended(code))

    def _again(self, running: _Running, what: str) -> None:
        self.say(running.child.name, f"{what}; starts again in {running.pause_s:g} s")
        running.process = None
        running.due_at = time.monotonic() + running.pause_s
        running.pause_s = min(running.pause_s * 2, self._patience.longest_pause)

    def _start(self, running: _Running) -> None:
        try:
            process = subprocess.Popen(
                running.child.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=self._environ,
                pass_fds=self._keep_open,
                start_new_session=True,
                preexec_fn=partial(_die_with, os.getpid()),
            )
        except OSError as error:
            self._again(running, f"cannot be started: {error}")
            return
        running.process, running.started_at = process, time.monotonic()
        running.reader = threading.Thread(target=self._copy, args=(running.child.name, process))
        running.reader.daemon = True
        running.reader.start()

    def _copy(self, name: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self.say(name, line.rstrip("\n"))

    def _end(self, running: _Running) -> None:
        process, name = running.process, running.child.name
        if process is None:
            return
        # Only the leader is told: it knows in which order its own workers have to stop.
        process.terminate()
        try:
            process.wait(self._patience.stop)
        except subprocess.TimeoutExpired:
            self.say(name, f"did not stop within {self._patience.stop:g} s; killed")
        _kill_group(process.pid)
        process.wait()
        if running.reader is not None:
            running.reader.join(1.0)  # its last lines


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _die_with(parent: int) -> None:
    """Runs in the child before its program: it shall get SIGTERM when its parent dies.

    A supervisor killed with -9 can stop nobody. Its children would go on unwatched, hold the
    ports and write beside those of the next start. SIGTERM and not SIGKILL, because a child has
    workers of its own to stop. Linux only; elsewhere the lock that the children hold says so.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)
