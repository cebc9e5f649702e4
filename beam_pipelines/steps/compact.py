"""Small files of a day -> few large ones. The rewriting itself is connectors.maintenance."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Set
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.pvalue import PCollection

from beam_pipelines.connectors.maintenance import (
    BATCH_ROWS,
    SMALL_BYTES,
    DataFile,
    SupersededError,
    local,
    rewrite,
    swap,
)
from beam_pipelines.connectors.marks import copies_of
from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.counters import count
from beam_pipelines.progress import note
from schemas_avro.tables import Table

TASK_BYTES = 1 << 30  # what is sorted at once: about ten times this is needed on disk meanwhile
_NOTE_ROWS = 1 << 16


@dataclass(frozen=True)
class Task:
    """Files of one day of a table that become fewer, in one commit."""

    table: Table
    files: tuple[DataFile, ...]

    @property
    def rows(self) -> int:
        """Rows to be read."""
        return sum(f.rows for f in self.files)

    def __str__(self) -> str:
        size = sum(f.bytes for f in self.files)
        return f"{self.table.name} {self.files[0].day}: {len(self.files)} files of {size:,} bytes"


def tasks_of(table: Table, day: list[DataFile], stale: Set[str] = frozenset()) -> list[Task]:
    """The small files of a day, and those to be parted anew, in portions.

    A small file is left as it is where it is the only one of its kind: copies make small files by
    their nature.
    """
    portions: list[list[DataFile]] = [[]]
    for file in day:
        if file.bytes >= SMALL_BYTES and file.path not in stale:
            continue
        if sum(f.bytes for f in portions[-1]) + file.bytes > TASK_BYTES:
            portions.append([])
        portions[-1].append(file)
    return [
        Task(table, tuple(files))
        for files in portions
        if len({file.holds_copies for file in files}) < len(files)
        or any(file.path in stale for file in files)
    ]


@dataclass
class CompactDays(beam.PTransform):
    """Tasks -> nothing; each is one commit. Bounded. A repeat finds its files gone, and ends.

    memory_mb: for sorting, of each worker
    progress:  where to note the rows done, see `progress_bar`
    """

    directory: str
    memory_mb: int
    progress: str = ""

    def expand(self, tasks: PCollection[Task]) -> PCollection[None]:
        return (
            tasks
            | "Spread" >> beam.Reshuffle()
            | "Compact" >> beam.Map(compact, self.directory, self.memory_mb, self.progress)
        )


def compact(task: Task, directory: str, memory_mb: int, progress: str = "") -> None:
    """Do one task. Until its commit, and if another process was first, the old files stay."""
    warehouse = Warehouse(directory)

    def show(rows: int) -> None:
        if progress and (rows % _NOTE_ROWS < BATCH_ROWS or rows == task.rows):
            note(progress, str(zlib.crc32(task.files[0].path.encode())), rows)

    day = task.files[0].day
    made = rewrite(
        warehouse, task.table, task.files, repeats=copies_of(warehouse, task.table, day),
        memory_mb=memory_mb, progress=show,
    )  # fmt: skip
    # Only where a row was there twice does a number change: that day is computed anew.
    touched = json.dumps({project: [day.isoformat()] for project in made.doubled})
    try:
        swap(warehouse, task.table, [f.path for f in task.files], made.files, touched=touched)
    except SupersededError:
        count("tasks_superseded")
        for path in made.files:
            os.unlink(local(path))
        return
    count("files_replaced", len(task.files))
    count("files_written", len(made.files))
    count("rows_rewritten", made.rows)
    count("rows_doubled", sum(made.doubled.values()))
