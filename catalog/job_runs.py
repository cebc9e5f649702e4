"""What became of scheduled jobs: a line of JSON for each run, and when the schedule last looked.

Small files in the data directory, written by the one schedule there is, read by the pages. A line
is appended whole; a reader that meets half of one at the end leaves it out.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

MOST = 5_000  # runs kept, after twice as many were written
_MOST_MESSAGE = 500  # characters

_writing = threading.Lock()

Outcome = Literal["ok", "failed"]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a job. Times in us.

    message: the last line that it printed
    """

    job: str
    flags: tuple[str, ...]
    started_at: int
    ended_at: int
    outcome: Outcome
    exit_code: int
    message: str = ""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """A sign of life. at: us; running: the job that is waited for, "" for none."""

    at: int
    running: str = ""


class RunBook:
    """The runs of one data directory. Threads of one process write, any process may read."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._runs = directory, directory / "runs.jsonl"

    def look(self, at: int, running: str = "", lane: str = "default") -> None:
        """Say that one lane of the schedule is alive; lanes run beside one another."""
        _replace(
            self._directory / f"{lane}.look", msgspec.json.encode(Look(at=at, running=running))
        )

    def last_looks(self) -> dict[str, Look]:
        """Each lane's newest one; a damaged file is none."""
        found = {}
        for path in sorted(self._directory.glob("*.look")):
            with suppress(OSError, msgspec.DecodeError):
                found[path.stem] = msgspec.json.decode(path.read_bytes(), type=Look)
        return found

    def add(self, run: Run) -> None:
        """Note a run that ended."""
        run = msgspec.structs.replace(run, message=run.message[:_MOST_MESSAGE])
        self._directory.mkdir(parents=True, exist_ok=True)
        with _writing:
            with self._runs.open("ab") as file:
                if file.tell() and not _ends_whole(self._runs):
                    file.write(b"\n")  # what a crash left half
                file.write(msgspec.json.encode(run) + b"\n")
            lines = self._runs.read_bytes().splitlines(keepends=True)
            if len(lines) > 2 * MOST:
                _replace(self._runs, b"".join(lines[-MOST:]))

    def runs(self, most: int = MOST) -> list[Run]:
        """The newest runs, newest first."""
        try:
            lines = self._runs.read_bytes().splitlines()
        except OSError:
            return []
        found: list[Run] = []
        for run in _decoded(reversed(lines)):
            if len(found) == most:
                break
            found.append(run)
        return found


def _decoded(lines: Iterator[bytes]) -> Iterator[Run]:
    for line in lines:
        try:
            yield msgspec.json.decode(line, type=Run)
        except msgspec.DecodeError:
            continue


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _replace(path: Path, data: bytes) -> None:
    """Readers see the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(data)
    fresh.replace(path)
