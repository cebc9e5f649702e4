"""Rows of a file -> blocks of events and of dead letters, as the collector makes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import polars as pl
from apache_beam.pvalue import PCollection, TaggedOutput

from beam_pipelines.connectors.frames import Frame
from beam_pipelines.connectors.rows import CHUNK_ROWS, Chunk
from beam_pipelines.counters import count
from schemas_avro import block, derive, load
from transforms.failures import Rejection
from transforms.intake import Origin, accept, dead_letter_row, to_frame
from transforms.mapping import RowMapping
from transforms.rows import NumberedRow

_DEAD = "dead_letters"


class Blocks(NamedTuple):
    """What an intake step returns: blocks of values, blocks of failures."""

    events: PCollection[Frame]
    dead_letters: PCollection[Frame]


@dataclass
class RowsToBlocks(beam.PTransform):
    """Chunks of rows -> one block of events and one of dead letters each, numbered by chunk.

    Deterministic but for the received time: the same file gives the same block numbers and ids.
    """

    file_name: str
    producer: str
    rows: RowMapping
    origin: Origin

    def expand(self, chunks: PCollection[Chunk]) -> Blocks:
        made = chunks | beam.ParDo(
            _ToBlocks(self.file_name, self.producer, self.rows, self.origin)
        ).with_outputs(_DEAD, main="events")
        return Blocks(made.events, made[_DEAD])


class _ToBlocks(beam.DoFn):
    def __init__(self, file_name: str, producer: str, rows: RowMapping, origin: Origin) -> None:
        self._file_name, self._producer = file_name, producer
        self._rows, self._origin = rows, origin

    def process(self, chunk: Chunk) -> Iterator[Any]:
        number, rows = chunk
        accepted, dead = [], []
        for row in rows:
            result = self._take(row)
            if isinstance(result, Rejection):
                letter_id = f"{self._origin.source}:{self._file_name}:{row.number}"
                dead.append(
                    dead_letter_row(result, self._origin, step="import", dead_letter_id=letter_id)
                )
            else:
                accepted.append(result)
        count("rows_read", len(rows))
        count("rows_accepted", len(accepted))
        count("rows_rejected", len(dead))
        if accepted:
            yield self._block("event", number, to_frame(accepted), len(dead))
        if dead:
            types = derive.wire(load("dead_letter"))
            letters = pl.DataFrame(dead, schema=types, orient="row")
            yield TaggedOutput(_DEAD, self._block("dead_letter", number, letters, 0))

    def _take(self, row: NumberedRow) -> dict[str, Any] | Rejection:
        content = row.content
        if isinstance(content, Rejection):
            return content
        original = json.dumps(content, ensure_ascii=False).encode()
        candidate = self._rows.candidate(content, original)
        if isinstance(candidate, Rejection):
            return candidate
        if candidate.event_id is None:
            candidate.event_id = f"{self._file_name}:{row.number}"[-100:]
        return accept(candidate, self._origin, original)

    def _block(self, record: str, number: int, rows: pl.DataFrame, rejected: int) -> Frame:
        meta = block.new_meta(
            rows,
            producer=self._producer,
            seq=number,
            first_row=number * CHUNK_ROWS,
            rejected=rejected,
        )
        payload = block.encode(load(record), rows, meta)
        return Frame(self._producer, number, number, payload)
