"""Small files of a day -> few large ones. The rewriting itself is connectors.maintenance."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import apache_beam as beam
from apache_beam.pvalue import PCollection

from beam_pipelines.connectors.exact_tables import computed_from
from beam_pipelines.connectors.maintenance import (
    BATCH_ROWS,
    SMALL_BYTES,
    DataFile,
    SupersededError,
    files_by_day,
    local,
    rewrite,
    swap,
)
from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.counters import count
from beam_pipelines.progress import note
from schemas_avro.tables import EVENTS, REPEATS, Table
from transforms.settled import AROUND_DAYS

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


def tasks_of(table: Table, day: list[DataFile]) -> list[Task]:
    """The small files of a day, in portions; a single one is left as it is.

    Files of copies are small by their nature: they are merged where others are.
    """
    portions: list[list[DataFile]] = [[]]
    small = [file for file in day if file.bytes < SMALL_BYTES]
    copies = [file for file in small if file.holds_copies]
    for file in small:
        if file in copies:
            continue
        if sum(f.bytes for f in portions[-1]) + file.bytes > TASK_BYTES:
            portions.append([])
        portions[-1].append(file)
    merged = [files for files in portions if len(files) > 1]
    if merged:
        merged[-1] += copies
    return [Task(table, tuple(files)) for files in merged]


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


def settled_by(warehouse: Warehouse, files: Sequence[DataFile]) -> list[str] | None:
    """The files of `repeats` that say which rows of files of `events`, of one day, do not count.

    None where rollup has not seen all of these rows.
    """
    based_on = computed_from(warehouse, REPEATS)
    if based_on is None or warehouse.table(EVENTS).snapshot_by_id(based_on) is None:
        return None
    seen = warehouse.table(EVENTS).scan(snapshot_id=based_on).plan_files()
    if not {file.path for file in files} <= {task.file.file_path for task in seen}:
        return None
    around = timedelta(AROUND_DAYS)
    day = files[0].day
    return [
        local(file.path)
        for of_day, found in files_by_day(warehouse, REPEATS).items()
        for file in found
        if day - around <= of_day <= day + around
    ]


def compact(task: Task, directory: str, memory_mb: int, progress: str = "") -> None:
    """Do one task. Until its commit, and if another process was first, the old files stay."""
    warehouse = Warehouse(directory)

    def show(rows: int) -> None:
        if progress and (rows % _NOTE_ROWS < BATCH_ROWS or rows == task.rows):
            note(progress, str(zlib.crc32(task.files[0].path.encode())), rows)

    repeats = settled_by(warehouse, task.files) if task.table == EVENTS else None
    made = rewrite(
        warehouse, task.table, task.files, repeats=repeats, memory_mb=memory_mb, progress=show
    )
    # Only where a row was there twice does a number change: that day is computed anew.
    day = task.files[0].day.isoformat()
    touched = json.dumps({project: [day] for project in made.doubled})
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
