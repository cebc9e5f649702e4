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
from beam_pipelines.connectors.rows import Chunk
from beam_pipelines.counters import count
from schemas_avro import block, derive, load
from transforms.candidates import Candidate, Candidates, refuse_large
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


@dataclass(frozen=True)
class Intake:
    """What the rows are held to.

    suppressed:      digests of the project's erased people
    max_event_bytes: largest row, as JSON; a larger one is a dead letter
    """

    rows: RowMapping
    origin: Origin
    suppressed: frozenset[bytes] = frozenset()
    max_event_bytes: int = 128 << 10


@dataclass
class RowsToBlocks(beam.PTransform):
    """Chunks of rows -> one block of events and one of dead letters each, numbered by chunk.

    Deterministic but for the received time: the same file gives the same block numbers and ids.
    """

    intake: Intake

    def expand(self, chunks: PCollection[Chunk]) -> Blocks:
        made = chunks | beam.ParDo(_ToBlocks(self.intake)).with_outputs(_DEAD, main="events")
        return Blocks(made.events, made[_DEAD])


class _ToBlocks(beam.DoFn):
    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def process(self, chunk: Chunk) -> Iterator[Any]:
        intake, rows = self._intake, chunk.rows
        candidates = self._candidates(chunk)
        judged = judge([(candidates, intake.origin)])
        refused = candidates.refusals(judged.refused)
        dead = [
            dead_letter_row(
                rejection,
                intake.origin,
                step="import",
                dead_letter_id=f"{intake.origin.source}:{chunk.name}:{rows[at].number}",
            )
            for at, rejection in sorted(refused.items())
        ]
        count("rows_read", len(rows))
        count("rows_accepted", judged.rows.height)
        count("rows_rejected", len(dead))
        count("rows_suppressed", len(candidates.suppressed))
        if judged.rows.height:
            yield _block("event", chunk, judged.rows, len(dead))
        if dead:
            types = derive.wire(load("dead_letter"))
            letters = pl.DataFrame(dead, schema=types, orient="row")
            yield TaggedOutput(_DEAD, _block("dead_letter", chunk, letters, 0))

    def _candidates(self, chunk: Chunk) -> Candidates:
        intake = self._intake
        originals = [_original(row) for row in chunk.rows]
        both = zip(chunk.rows, originals, strict=True)
        made = Candidates.of([self._candidate(chunk.name, *one) for one in both], originals)
        kept = suppress(made, intake.origin.project, intake.suppressed)
        return refuse_large(kept, intake.max_event_bytes)

    def _candidate(self, name: str, row: NumberedRow, original: bytes) -> Candidate | Rejection:
        if isinstance(row.content, Rejection):
            return row.content
        candidate = self._intake.rows.candidate(row.content, original)
        if isinstance(candidate, Candidate) and candidate.event_id is None:
            candidate.event_id = f"{name}:{row.number}"[-100:]
        return candidate


def _block(record: str, chunk: Chunk, rows: pl.DataFrame, rejected: int) -> Frame:
    meta = block.new_meta(
        rows,
        producer=chunk.producer,
        seq=chunk.number,
        first_row=chunk.rows[0].number - 1,
        rejected=rejected,
    )
    payload = block.encode(load(record), rows, meta)
    return Frame(chunk.producer, chunk.number, chunk.number, payload)


def _original(row: NumberedRow) -> bytes:
    if isinstance(row.content, Rejection):
        return row.content.original
    return json.dumps(row.content, ensure_ascii=False).encode(errors="replace")
