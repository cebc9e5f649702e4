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
from transforms.candidates import Candidate, Candidates
from transforms.failures import Rejection
from transforms.judge import Origin, dead_letter_row, judge
from transforms.mapping import RowMapping
from transforms.rows import NumberedRow
from transforms.suppression import suppress

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
    suppressed: frozenset[bytes] = frozenset()

    def expand(self, chunks: PCollection[Chunk]) -> Blocks:
        made = chunks | beam.ParDo(
            _ToBlocks(self.file_name, self.producer, self.rows, self.origin, self.suppressed)
        ).with_outputs(_DEAD, main="events")
        return Blocks(made.events, made[_DEAD])


class _ToBlocks(beam.DoFn):
    def __init__(
        self,
        file_name: str,
        producer: str,
        rows: RowMapping,
        origin: Origin,
        suppressed: frozenset[bytes],
    ) -> None:
        self._file_name, self._producer = file_name, producer
        self._rows, self._origin, self._suppressed = rows, origin, suppressed

    def process(self, chunk: Chunk) -> Iterator[Any]:
        number, rows = chunk
        originals = [_original(row) for row in rows]
        made = [self._candidate(*both) for both in zip(rows, originals, strict=True)]
        candidates = suppress(
            Candidates.of(made, originals), self._origin.project, self._suppressed
        )
        judged = judge([(candidates, self._origin)])
        refused = candidates.refusals(judged.refused)
        dead = [
            dead_letter_row(
                rejection,
                self._origin,
                step="import",
                dead_letter_id=f"{self._origin.source}:{self._file_name}:{rows[at].number}",
            )
            for at, rejection in sorted(refused.items())
        ]
        count("rows_read", len(rows))
        count("rows_accepted", judged.rows.height)
        count("rows_rejected", len(dead))
        count("rows_suppressed", len(candidates.suppressed))
        if judged.rows.height:
            yield self._block("event", number, judged.rows, len(dead))
        if dead:
            types = derive.wire(load("dead_letter"))
            letters = pl.DataFrame(dead, schema=types, orient="row")
            yield TaggedOutput(_DEAD, self._block("dead_letter", number, letters, 0))

    def _candidate(self, row: NumberedRow, original: bytes) -> Candidate | Rejection:
        if isinstance(row.content, Rejection):
            return row.content
        candidate = self._rows.candidate(row.content, original)
        if isinstance(candidate, Candidate) and candidate.event_id is None:
            candidate.event_id = f"{self._file_name}:{row.number}"[-100:]
        return candidate

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


def _original(row: NumberedRow) -> bytes:
    if isinstance(row.content, Rejection):
        return row.content.original
    return json.dumps(row.content, ensure_ascii=False).encode()
