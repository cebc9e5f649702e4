"""Blocks -> the raw archive: a few large files per table, committed once."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import apache_beam as beam
import polars as pl
from apache_beam.pvalue import PCollection

from beam_pipelines.connectors.frames import Frame
from beam_pipelines.connectors.warehouse import Added, Warehouse
from beam_pipelines.counters import count
from beam_pipelines.windowing import gather
from schemas_avro import block, derive, load
from schemas_avro.tables import DEAD_LETTERS, EVENTS, Table
from transforms.contract import read_rows
from transforms.enrich import enrich
from transforms.failures import Reason
from transforms.positions import Positions

_PIECE_BYTES = 128 << 20  # decoded rows that go into a file: some three times as much is in use


@dataclass
class Archive(beam.PTransform):
    """Frames -> rows of `table` in the warehouse at `directory`, each block's rows exactly once.

    Streams gather blocks for `every_s`, then one worker per shard writes Parquet and a single
    keyed committer adds the files in one snapshot that also records the blocks. Blocks in `held`
    are passed over. Without `every_s`, for bounded input, all is gathered first. Damaged
    blocks become dead letters first, then count as held. Emits the number of rows of every commit.
    """

    directory: str
    table: Table
    held: Positions
    every_s: int | None = None
    shards: int = 1

    def expand(self, frames: PCollection[Frame]) -> PCollection[int]:
        return (
            frames
            | "New" >> beam.Filter(_is_new, self.held)
            | "Shard" >> beam.WithKeys(_shard, self.shards)
            | "Gather" >> gather(self.every_s)
            | "Group" >> beam.GroupByKey()
            | "Write" >> beam.ParDo(_WriteFiles(self.directory, self.table))
            | "OneCommitter" >> beam.WithKeys(0)
            | "AtOnce" >> gather(None if self.every_s is None else 0)
            | "Collect" >> beam.GroupByKey()
            | "Commit" >> beam.ParDo(_Commit(self.directory, self.table))
        )


def _shard(frame: Frame, shards: int) -> int:
    return zlib.crc32(frame.producer.encode()) % shards


def _is_new(frame: Frame, held: Positions) -> bool:
    # Of damage between two blocks, which cost none, nobody knows: its letter may be written again.
    known = frame.last >= frame.seq and held.holds(frame.producer, frame.seq, frame.last)
    if known:
        count("blocks_held")
    return not known


class _WriteFiles(beam.DoFn):
    def __init__(self, directory: str, table: Table) -> None:
        self._directory, self._table = directory, table

    def setup(self) -> None:
        self._warehouse = Warehouse(self._directory)
        self._types = derive.wire(load(self._table.record))

    def process(self, element: tuple[int, Iterable[Frame]]) -> Iterator[Added]:
        record, damaged = load(self._table.record), list[dict[str, Any]]()
        spans, decoded, size = list[tuple[str, int, int]](), list[pl.DataFrame](), 0
        for frame in element[1]:
            rows = _decode(record, frame)
            if isinstance(rows, pl.DataFrame):
                decoded.append(rows)
                size += int(rows.estimated_size())
            else:
                damaged.append(rows)
            if frame.last >= frame.seq:
                spans.append((frame.producer, frame.seq, frame.last))
            if size > _PIECE_BYTES:
                yield self._write(decoded, damaged, spans)
                spans, decoded, damaged, size = [], [], [], 0
        if spans or damaged:
            yield self._write(decoded, damaged, spans)

    def _write(
        self,
        decoded: list[pl.DataFrame],
        damaged: list[dict[str, Any]],
        spans: list[tuple[str, int, int]],
    ) -> Added:
        """Some blocks, as files; what is no block is kept first."""
        if damaged:
            self._keep_damaged(damaged)
        rows = pl.concat(decoded) if decoded else pl.DataFrame(schema=self._types)
        if self._table == EVENTS:  # many blocks at once: dozens of operations, a fixed cost each
            rows = enrich(rows)
        count("events_archived", rows.height)
        return _added(self._warehouse.write_files(self._table, rows), self._table, spans, rows)

    def _keep_damaged(self, letters: list[dict[str, Any]]) -> None:
        # Before the blocks count as held: a crash in between repeats the letter, under its id.
        count("blocks_damaged", len(letters))
        rows = pl.DataFrame(letters, schema=derive.wire(load(DEAD_LETTERS.record)), orient="row")
        files = self._warehouse.write_files(DEAD_LETTERS, rows)
        self._warehouse.add(DEAD_LETTERS, _added(files, DEAD_LETTERS, [], rows))


def _decode(record: Any, frame: Frame) -> pl.DataFrame | dict[str, Any]:
    """The rows of a frame, or the dead letter that stands for them."""
    message, exception = f"bytes in place of blocks {frame.seq} to {frame.last} are no block", ""
    if not frame.damaged:
        try:
            return read_rows(record, frame.payload)
        except block.BlockError as error:
            message, exception = f"block {frame.seq}: {error}", type(error).__name__
    digest = hashlib.sha256(frame.payload).hexdigest()[:16]
    return {
        "dead_letter_id": f"{frame.producer}:{frame.seq}:{digest}",
        "project": "",
        "source": frame.producer,
        "step": "decode",
        "reason": Reason.DAMAGED_BLOCK.value,
        "message": message,
        "exception": exception,
        "original": frame.payload,
        "received_time": 0,  # when it was taken in is part of what was damaged
        "producer": frame.producer,
        "seq": frame.seq,
    }


def _added(
    files: tuple[str, ...], table: Table, spans: list[tuple[str, int, int]], rows: pl.DataFrame
) -> Added:
    day = pl.from_epoch(pl.col(table.day_of), time_unit="us").dt.date().cast(pl.String)
    touched = rows.select("project", day=day).unique().sort("project", "day")
    by_project = touched.group_by("project", maintain_order=True).agg("day")
    until = rows["received_time"].max()
    return Added(
        files,
        Positions.of(spans),
        {project: tuple(days) for project, days in by_project.iter_rows()},
        until if isinstance(until, int) else 0,
    )


class _Commit(beam.DoFn):
    def __init__(self, directory: str, table: Table) -> None:
        self._directory, self._table = directory, table

    def process(self, element: tuple[int, Iterable[Added]]) -> Iterator[int]:
        merged = reduce(add, element[1])
        Warehouse(self._directory).add(self._table, merged)
        yield len(merged.files)
