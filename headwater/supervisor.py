"""Starts child processes, shows their output line by line, restarts what ends, stops all in order."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO

_PR_SET_PDEATHSIG = 1
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
_SETTLED_S = 60.0  # a child that lived this long starts again with a short pause
_COLOURS = ("36", "33", "35", "32")


@dataclass(frozen=True)
class Child:
    """A process to keep running. Stopped in the order of the list."""

    name: str
    command: Sequence[str]


@dataclass
class _Running:
    child: Child
    process: subprocess.Popen[str] | None = None
    started_at: float = 0.0
    pause_s: float = _FIRST_PAUSE_S
    due_at: float = field(default_factory=time.monotonic)


class Supervisor:
    """Keeps children running until `stop` is called from a signal handler or another thread.

    say:    takes each line of combined output
    stop_s: how long a child has for a clean stop before it is killed
    """

    def __init__(
        self,
        children: Sequence[Child],
        environ: Mapping[str, str],
        *,
        out: IO[str] = sys.stdout,
        stop_s: float = 20.0,
    ) -> None:
        self._children = [_Running(child) for child in children]
        self._environ = {**environ, "PYTHONUNBUFFERED": "1"}
        self._out, self._stop_s = out, stop_s
        self._width = max(len(child.name) for child in children)
        self._stopping = threading.Event()
        self._printing = threading.Lock()

    def run(self, on_tick: Callable[[], None] = lambda: None) -> None:
        """Until `stop`. `on_tick` is called a few times a second."""
        try:
            while not self._stopping.is_set():
                for running in self._children:
                    self._look_after(running)
                on_tick()
                self._stopping.wait(0.2)
        finally:
            self._stop_all()

    def stop(self) -> None:
        """End `run`."""
        self._stopping.set()

    def say(self, name: str, line: str) -> None:
        """One line of combined output: time, process, text."""
        colour = _COLOURS[sum(map(ord, name)) % len(_COLOURS)]
        tag = f"{name:<{self._width}}"
        if self._out.isatty():
            tag = f"\x1b[{colour}m{tag}\x1b[0m"
        with self._printing:
            print(f"{datetime.now():%H:%M:%S} {tag} | {line}", file=self._out, flush=True)

    def _look_after(self, running: _Running) -> None:
        now = time.monotonic()
        process = running.process
        if process is None:
            if now >= running.due_at:
                self._start(running)
            return
        code = process.poll()
        if code is None:
            return
        if now - running.started_at > _SETTLED_S:
            running.pause_s = _FIRST_PAUSE_S
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        self.say(running.child.name, f"{how}; starts again in {running.pause_s:.0f} s")
        running.process = None
        running.due_at = now + running.pause_s
        running.pause_s = min(running.pause_s * 2, _LONGEST_PAUSE_S)

    def _start(self, running: _Running) -> None:
        process = subprocess.Popen(
            running.child.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=self._environ,
            start_new_session=True,  # Ctrl-C is ours to pass on, in order
            preexec_fn=_die_with_parent,
        )
        running.process, running.started_at = process, time.monotonic()
        threading.Thread(target=self._copy, args=(running.child.name, process), daemon=True).start()

    def _copy(self, name: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.say(name, line.rstrip("\n"))

    def _stop_all(self) -> None:
        for running in self._children:
            process = running.process
            if process is None or process.poll() is not None:
                continue
            process.terminate()
            try:
                process.wait(self._stop_s)
            except subprocess.TimeoutExpired:
                self.say(running.child.name, f"did not stop within {self._stop_s:.0f} s; killed")
            _kill_group(process.pid)  # what it may have left behind
            process.wait()


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _die_with_parent() -> None:
    # kill -9 of the supervisor must not leave processes that hold ports and locks.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
