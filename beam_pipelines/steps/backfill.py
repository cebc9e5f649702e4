"""Beam twin of transforms.rework: days of the archive -> the same days, their rows derived anew."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import apache_beam as beam
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.pvalue import PCollection

from beam_pipelines.connectors.maintenance import SupersededError, files_by_day, local, swap
from beam_pipelines.connectors.segments import Blocks, Place
from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.counters import count
from beam_pipelines.progress import note
from schemas_avro import derive, load
from schemas_avro.tables import EVENTS
from transforms.rework import Scope, restored, rework

_BATCH_ROWS = 1 << 16
_ZSTD_LEVEL = 9  # as compaction writes: see connectors.maintenance
_TRIES = 5
_RECORD = load(EVENTS.record)
_SCHEMA = derive.arrow(_RECORD)
_TIMES = [f.name for f in _RECORD.fields if f.kind == "timestamp"]


@dataclass(frozen=True)
class Work:
    """What is done. places: blocks whose rows are taken in place of the archive's, where it has
    them; clear: columns to empty before they are found anew
    """

    directory: str
    scope: Scope
    clear: tuple[str, ...] = ()
    places: Mapping[tuple[str, int], Place] = field(default_factory=dict)
    progress: str = ""


@dataclass
class ReworkDays(beam.PTransform):
    """UTC days -> the days that came out different. Bounded.

    Each day is replaced in one commit, which also names it for the next rollup; blocks held stay
    as they are. A day that comes out the same is left alone, so doing it twice is doing it once.
    """

    work: Work

    def expand(self, days: PCollection[date]) -> PCollection[date]:
        return days | "Spread" >> beam.Reshuffle() | "Rework" >> beam.ParDo(_ReworkDay(self.work))


class _ReworkDay(beam.DoFn):
    def __init__(self, work: Work) -> None:
        self._work = work

    def setup(self) -> None:
        self._warehouse = Warehouse(self._work.directory)
        self._blocks = Blocks(self._work.places)

    def process(self, day: date) -> Iterator[date]:
        for attempt in range(_TRIES):
            try:
                if self._replace(day):
                    yield day
            except SupersededError:  # compaction was faster: look again
                if attempt == _TRIES - 1:
                    raise
            else:
                return

    def _replace(self, day: date) -> bool:
        old, new, projects, done = [], [], set[str](), 0
        for file in files_by_day(self._warehouse, EVENTS).get(day, []):
            rewriter = _Rewriter(local(file.path), self._work, self._blocks)
            for rows in rewriter.write():
                done += rows
                note(self._work.progress, day.isoformat(), done)
            if rewriter.is_changed:
                old.append(file.path)
                new.append(f"file://{rewriter.path}")
                projects |= rewriter.projects
            else:
                rewriter.path.unlink()
        if old:
            touched = {project: [day.isoformat()] for project in sorted(projects)}
            swap(self._warehouse, EVENTS, old, new, touched=json.dumps(touched))
            count("files_rewritten", len(old))
        return bool(old)


class _Rewriter:
    """Writes one file anew, batch by batch, beside the old one and not yet part of the table."""

    def __init__(self, path: str, work: Work, blocks: Blocks) -> None:
        self._source, self._work, self._blocks = path, work, blocks
        stem = Path(path).name[: len("YYYY-MM-DD")]
        self.path = Path(path).with_name(f"{stem}-{uuid.uuid4().hex}.parquet")
        self.is_changed = False
        self.projects: set[str] = set()

    def write(self) -> Iterator[int]:
        """Rows done, again and again."""
        with (
            pq.ParquetFile(self._source) as opened,
            pq.ParquetWriter(
                self.path, _SCHEMA, compression="zstd", compression_level=_ZSTD_LEVEL
            ) as writer,
        ):
            for batch in opened.iter_batches(batch_size=_BATCH_ROWS):
                before = _wire(batch)
                after = self._reworked(before)
                writer.write_table(after.select(_SCHEMA.names).to_arrow().cast(_SCHEMA))
                yield batch.num_rows

    def _reworked(self, before: pl.DataFrame) -> pl.DataFrame:
        scope = self._work.scope
        rows = before
        if self._work.places:
            originals = self._blocks.rows_for(before)
            rows = before if originals is None else restored(before, originals, scope)
        after = rework(rows, scope, self._work.clear)
        if not after.equals(before):
            self.is_changed = True
            inside = after.filter(scope.expression())
            self.projects |= set(inside["project"].unique())
        return after


def _wire(batch: pa.RecordBatch) -> pl.DataFrame:
    """With every column of the record, times in us: a file may be older than a column."""
    rows = pl.DataFrame(pl.from_arrow(batch))
    types = derive.wire(_RECORD)
    missing = [pl.lit(None, types[n]).alias(n) for n in types if n not in rows.columns]
    times = pl.col([n for n in _TIMES if n in rows.columns]).dt.timestamp("us")
    return rows.with_columns(times, *missing).select(list(types))
