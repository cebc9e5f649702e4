"""Beam twin of transforms.replay: dead letters -> blocks of events, and what became of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import polars as pl
import pyarrow.parquet as pq
from apache_beam.pvalue import AsList, PCollection, TaggedOutput

from beam_pipelines.connectors.frames import Frame
from beam_pipelines.connectors.letters import KEY, LetterFile
from beam_pipelines.connectors.warehouse import Added, Warehouse
from beam_pipelines.counters import Counter, count
from beam_pipelines.progress import note
from beam_pipelines.steps.columns import unpack
from schemas_avro import block, derive, load
from schemas_avro.tables import REPLAYS
from transforms.positions import Positions
from transforms.replay import Fix, Gate, Result, replay

BATCH_LETTERS = 500
_MARKS = "marks"
_PER_FILE = 1_000_000  # numbers of blocks that belong to one file


class Tried(NamedTuple):
    """Some letters, what became of each, and the rows of those that are events now."""

    letters: list[dict[str, Any]]
    results: list[Result]
    rows: pl.DataFrame


@dataclass(frozen=True)
class Run:
    """One run. name: producer of its blocks; began: us."""

    name: str
    began: int
    fix: Fix
    gate: Gate
    progress: str


def tried(file: LetterFile, fix: Fix, gate: Gate) -> Iterator[Tried]:
    """The chosen letters of a file, some at a time."""
    chosen = unpack(file.chosen)
    record = load("dead_letter")
    with pq.ParquetFile(file.path) as opened:
        there = [name for name in record.field_names if name in opened.schema_arrow.names]
        for batch in opened.iter_batches(batch_size=BATCH_LETTERS, columns=there):
            rows = pl.DataFrame(pl.from_arrow(batch)).drop("reason", "message")
            rows = rows.join(chosen, on=KEY, nulls_equal=True, maintain_order="left")
            if rows.is_empty():
                continue
            times = pl.col("received_time").dt.timestamp("us")
            letters = rows.with_columns(times).to_dicts()
            made, results = replay(letters, fix, gate)
            yield Tried(letters, results, made)


@dataclass
class ReplayLetters(beam.PTransform):
    """Files of letters -> blocks of the events that they are now. Bounded.

    What became of each letter is committed to the table `replays` before any block is handed on.
    """

    directory: str
    run: Run

    def expand(self, files: PCollection[LetterFile]) -> PCollection[Frame]:
        made = (
            files
            | "Spread" >> beam.Reshuffle()
            | "Try" >> beam.ParDo(_Try(self.run)).with_outputs(_MARKS, main="frames")
        )
        marked = (
            made[_MARKS]
            | "AllMarks" >> beam.WithKeys(0)
            | "Collect" >> beam.GroupByKey()
            | "Mark" >> beam.ParDo(_Mark(self.directory))
        )
        return made.frames | "AfterMarks" >> beam.Map(_first, AsList(marked))


def _first(frame: Frame, marked: list[int]) -> Frame:
    return frame


class _Try(beam.DoFn):
    def __init__(self, run: Run) -> None:
        self._run = run

    def process(self, file: LetterFile) -> Iterator[Any]:
        run, done = self._run, 0
        for number, found in enumerate(tried(file, run.fix, run.gate)):
            seq = file.number * _PER_FILE + number
            marks = [_mark(*one, run) for one in zip(found.letters, found.results, strict=True)]
            yield TaggedOutput(_MARKS, [mark for mark in marks if mark is not None])
            count("letters_read", len(found.letters))
            for result in found.results:
                count(_COUNTERS[result.outcome])
            if found.rows.height:
                meta = block.new_meta(found.rows, producer=run.name, seq=seq, first_row=0)
                payload = block.encode(load("event"), found.rows, meta)
                yield Frame(run.name, seq, seq, payload)
            done += len(found.letters)
            note(run.progress, str(file.number), done)


_COUNTERS: dict[str, Counter] = {
    "returned": "letters_returned",
    "refused": "letters_refused",
    "suppressed": "letters_suppressed",
}


def _mark(letter: dict[str, Any], result: Result, run: Run) -> dict[str, Any] | None:
    """Row of `replay.avsc`; None where nothing is new."""
    if result.outcome == "refused" and (result.reason, result.message) == (
        letter["reason"],
        letter["message"],
    ):
        return None
    return {
        "dead_letter_id": letter["dead_letter_id"],
        "replay_id": run.name,
        "project": letter["project"],
        **result._asdict(),
        "received_time": letter["received_time"],
        "replayed_time": run.began,
    }


class _Mark(beam.DoFn):
    def __init__(self, directory: str) -> None:
        self._directory = directory

    def process(self, element: tuple[int, Iterable[list[dict[str, Any]]]]) -> Iterator[int]:
        marks = [mark for some in element[1] for mark in some]
        if marks:
            types = derive.wire(load(REPLAYS.record))
            warehouse = Warehouse(self._directory)
            files = warehouse.write_files(REPLAYS, pl.DataFrame(marks, schema=types, orient="row"))
            warehouse.add(REPLAYS, Added(files, Positions(), {}, 0))
        yield len(marks)
