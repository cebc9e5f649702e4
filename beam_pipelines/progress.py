"""A progress bar for jobs: whoever works writes down how far it is, we look and add up."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

_LOOK_S = 0.2
# Where whoever started the job wants to read how far it is, as {"title", "done", "total"}.
FILE_VARIABLE = "PROGRESS_FILE"


@contextmanager
def progress_bar(title: str, total: int, unit: str = "bytes") -> Iterator[str]:
    """Show how much of `total` is done until the block ends; yields the directory to write it to.

    Each worker writes a number into a file of its own there: files, because it may be another
    process; all runners of one machine share them. On a terminal only; elsewhere nothing is shown,
    but written to the file that the environment names in PROGRESS_FILE.
    """
    ended = threading.Event()
    amount = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
    with tempfile.TemporaryDirectory() as directory:
        bar = Progress(*columns, console=Console(file=sys.stderr))
        with bar:
            task = bar.add_task(title, total=total)

            def show() -> None:
                done = _sum(directory)
                bar.update(task, completed=done)
                _write(title, done, total)

            def look() -> None:
                while not ended.wait(_LOOK_S):
                    show()

            watcher = threading.Thread(target=look, daemon=True)
            watcher.start()
            try:
                yield directory
            finally:
                ended.set()
                watcher.join()
            show()


def note(directory: str, worker: str, done: int) -> None:
    """Say how far a worker is; nothing happens once nobody looks any more."""
    with suppress(FileNotFoundError):
        Path(directory, worker).write_text(str(done))


def _sum(directory: str) -> int:
    total = 0
    for path in Path(directory).iterdir():
        with suppress(ValueError, FileNotFoundError):  # just being written
            total += int(path.read_text())
    return total


def _write(title: str, done: int, total: int) -> None:
    if path := os.environ.get(FILE_VARIABLE):
        fresh = Path(f"{path}.new")
        fresh.write_text(json.dumps({"title": title, "done": done, "total": total}))
        fresh.replace(path)
