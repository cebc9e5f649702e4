"""Reads events back from the archive, as frames, to make live numbers of them once more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
import polars as pl
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from beam_pipelines.connectors.frames import Frame
from beam_pipelines.connectors.warehouse import Warehouse
from schemas_avro import block, load
from schemas_avro.tables import BUS_PRODUCERS, EVENTS, POSITIONS
from transforms.positions import Positions

_CHUNK_ROWS = 20_000
_FOR_EVER_US = 253_402_300_799_000_000  # the last second of the year 9999
_EVENT = load("event")
_TIMES = [field.name for field in _EVENT.fields if field.kind == "timestamp"]
_LINEAGE = {"producer", "seq", "row"}  # a block says these once, for all its rows


@dataclass(frozen=True)
class Snapshot:
    """A state of `events` in the archive: its id, None while it is empty, and the blocks in it."""

    id: int | None
    positions: Positions

    @classmethod
    def newest(cls, archive: str) -> Snapshot:
        """The archive as it is now; id and blocks belong together."""
        snapshot = Warehouse(archive).table(EVENTS).current_snapshot()
        if snapshot is None:
            return cls(None, Positions())
        summary = snapshot.summary.additional_properties if snapshot.summary else {}
        return cls(snapshot.snapshot_id, Positions.from_json(summary.get(POSITIONS, "{}")))


@dataclass
class ReadArchived(beam.PTransform):
    """Events of a snapshot that came by the bus and happened at `since_us` or later. Bounded.

    Frames stand for no block of the bus: their events were archived already. What was imported
    never was part of live numbers and is left out.
    """

    archive: str
    snapshot: Snapshot
    since_us: int

    def expand(self, root: PBegin) -> PCollection[Frame]:
        return (
            root
            | "Files" >> beam.Create(self._files())
            | "Rows" >> beam.ParDo(_Rows(self.since_us)).with_output_types(Frame)
        )

    def _files(self) -> list[str]:
        if self.snapshot.id is None:
            return []
        spans = [(self.since_us, _FOR_EVER_US)]
        return Warehouse(self.archive).files(self.snapshot.id, spans)


class _Rows(beam.DoFn):
    def __init__(self, since_us: int) -> None:
        self._since_us = since_us

    def process(self, path: str) -> Iterator[TimestampedValue]:
        rows = read(path, self._since_us)
        for number, chunk in enumerate(rows.iter_slices(_CHUNK_ROWS)):
            meta = block.new_meta(chunk, producer=path, seq=number, first_row=0)
            payload = block.encode(_EVENT, chunk, meta)
            frame = Frame(path, number, number, payload)
            yield TimestampedValue(frame, Timestamp(micros=meta.first_received))


def read(path: str, since_us: int) -> pl.DataFrame:
    """Of a file of `events`, the rows that may be part of live numbers, as in a block; times in us.

    A file that is older than a column of the record does not have it.
    """
    file = pl.scan_parquet(path)
    there = file.collect_schema().names()
    times = [name for name in _TIMES if name in there]
    return (
        file.with_columns(pl.col(times).dt.timestamp("us"))
        .filter(pl.col("event_time") >= since_us, pl.col("producer").str.starts_with(BUS_PRODUCERS))
        .select(n for n in _EVENT.field_names if n in there and n not in _LINEAGE)
        .collect()
    )
