"""A progress bar for jobs that read a file: the reader writes down how far it is, we look."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

_LOOK_S = 0.2


@contextmanager
def progress_bar(path: str) -> Iterator[str]:
    """Show how much of `path` was read, until the block ends. Yields the file to write it to.

    A file, because the reader may be another process; all runners of one machine share it.
    """
    ended = threading.Event()
    with tempfile.TemporaryDirectory() as directory:
        note = Path(directory, "bytes")
        note.write_text("0")
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=Console(file=sys.stderr),
        )
        with bar:
            task = bar.add_task(os.path.basename(path), total=os.path.getsize(path))

            def look() -> None:
                while not ended.wait(_LOOK_S):
                    bar.update(task, completed=int(note.read_text() or 0))

            watcher = threading.Thread(target=look, daemon=True)
            watcher.start()
            try:
                yield str(note)
                bar.update(task, completed=int(note.read_text() or 0))
            finally:
                ended.set()
                watcher.join()
