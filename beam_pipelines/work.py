"""A job's working directory: what does not fit into memory lies there while the job runs.

It is beside the tables, so that every worker that can write them can reach it. A job that was
killed leaves its directory; the next one sees by the lock that nobody works there, and removes it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

_LOOK_S = 0.2
_LOCK, _DONE = "lock", "done"


@contextmanager
def work_directory(beside: str) -> Iterator[str]:
    """A new empty directory below `beside`/work; removed at the end, as are abandoned ones."""
    above = Path(beside, "work")
    made = above / uuid.uuid4().hex
    made.mkdir(parents=True)
    with (made / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _sweep(above)
        try:
            yield str(made)
        finally:
            shutil.rmtree(made, ignore_errors=True)


def _sweep(above: Path) -> None:
    for path in above.iterdir():
        with suppress(OSError), (path / _LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)


def spill(directory: str, rows: pl.DataFrame) -> str:
    """Write rows to a new file; returns its path."""
    path = f"{directory}/{uuid.uuid4().hex}.arrow"
    rows.write_ipc(path, compression="lz4")
    return path


def taken_back(paths: list[str]) -> pl.DataFrame:
    """The rows of some such files, together."""
    return pl.concat([pl.read_ipc(path) for path in paths])


def steps_of(rows: int) -> int:
    """So many steps are rows worth on the progress bar."""
    return rows // 1000 + 1


def tell_done(directory: str, rows: int) -> None:
    """Note that so many more rows were read, for the progress bar."""
    descriptor = os.open(f"{directory}/{_DONE}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, b"." * steps_of(rows))  # appends of different processes do not mix
    finally:
        os.close(descriptor)


@contextmanager
def progress_of(directory: str, what: str, steps: int) -> Iterator[None]:
    """Show how many of `steps` are done until the block ends; on a terminal only."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, TimeElapsedColumn(), console=Console(file=sys.stderr))
    note = Path(directory, _DONE)
    ended = threading.Event()
    bar.disable = not bar.console.is_terminal

    with bar:
        task = bar.add_task(what, total=steps)

        def look() -> None:
            with suppress(OSError):
                bar.update(task, completed=min(steps, note.stat().st_size))

        def watch() -> None:
            while not ended.wait(_LOOK_S):
                look()

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
            look()
        finally:
            ended.set()
            watcher.join()
