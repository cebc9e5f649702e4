"""Reads CSV, JSON lines, Parquet and access logs as numbered rows, in chunks."""

from __future__ import annotations

import codecs
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from io import TextIOWrapper
from typing import IO, Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.pvalue import PBegin, PCollection

from beam_pipelines.connectors.files import DAMAGED, unpacked
from beam_pipelines.progress import note
from transforms.access_logs import Visitors, access_log_rows
from transforms.failures import Reason, Rejection
from transforms.rows import NumberedRow, csv_rows, jsonl_rows

# One block: rows or bytes, whichever is full first; fixed, so that a second import numbers its
# blocks the same way.
CHUNK_ROWS = 2000
_CHUNK_BYTES = 16 << 20
_LONGEST_LINE = 8 << 20  # characters; what is longer comes in pieces, each of them no row


@dataclass(frozen=True)
class RowFile:
    """One file of an import. producer: number its blocks under this name."""

    path: str
    name: str
    producer: str


class Chunk(NamedTuple):
    """Rows of a file that become one block, the `number`th."""

    name: str
    producer: str
    number: int
    rows: list[NumberedRow]


@dataclass
class ReadRows(beam.PTransform):
    """Files -> chunks. Bounded. One worker reads a file: a quoted field may span lines.

    Bytes that are not of the encoding become U+FFFD, which a person can see and search for. Where
    a file is cut off or damaged, one rejected row says so in place of what follows.
    progress: a directory in which each reader writes how many bytes it has read.
    """

    files: tuple[RowFile, ...]
    format: str
    encoding: str
    visitors: Visitors
    progress: str

    def expand(self, root: PBegin) -> PCollection[Chunk]:
        read = _Rows(self.format, self.encoding, self.visitors, self.progress)
        return (
            root
            | "Files" >> beam.Create(list(self.files))
            | "OneEach" >> beam.Reshuffle()
            | "Rows" >> beam.ParDo(read)
            | "Spread" >> beam.Reshuffle()
        )


class _Rows(beam.DoFn):
    def __init__(self, format_: str, encoding: str, visitors: Visitors, progress: str) -> None:
        # Spreadsheets begin UTF-8 with a byte order mark, which belongs to no column's name.
        is_utf8 = codecs.lookup(encoding).name == "utf-8"
        self._format, self._encoding = format_, "utf-8-sig" if is_utf8 else encoding
        self._visitors, self._progress = visitors, progress

    def process(self, file: RowFile) -> Iterator[Chunk]:
        with unpacked(file.path) as (plain, raw):
            rows = _until_damaged(self._rows(plain))
            for number, chunk in enumerate(_chunks(rows)):
                yield Chunk(file.name, file.producer, number, chunk)
                note(self._progress, file.producer, raw.tell())

    def _rows(self, plain: IO[bytes]) -> Iterator[NumberedRow]:
        if self._format == "parquet":
            yield from parquet_rows(plain)
            return
        # newline="": fields may hold line breaks, and files with bare CRs exist.
        text = TextIOWrapper(plain, self._encoding, errors="replace", newline="")
        lines = iter(partial(text.readline, _LONGEST_LINE), "")
        try:
            match self._format:
                case "access_log":
                    yield from access_log_rows(lines, self._visitors)
                case "csv":
                    yield from csv_rows(lines)
                case _:
                    yield from jsonl_rows(lines)
        finally:
            text.detach()  # it would close the file, which is asked how far it was read


def parquet_rows(file: IO[bytes]) -> Iterator[NumberedRow]:
    """Rows of a Parquet file as JSON knows values: times as ISO 8601, decimals as text."""
    number = 0
    try:
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(batch_size=CHUNK_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield NumberedRow(number, {name: _plain(v) for name, v in row.items()})
    except (pa.ArrowException, OSError) as error:
        yield _end(number, f"not readable as Parquet: {error}")


def _plain(value: Any) -> Any:
    match value:
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Decimal():
            return str(value)
        case bytes():
            return value.decode(errors="replace")
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {str(name): _plain(one) for name, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
    return value


def _until_damaged(rows: Iterable[NumberedRow]) -> Iterator[NumberedRow]:
    number = 0
    try:
        for row in rows:
            number = row.number
            yield row
    except DAMAGED as error:
        yield _end(number, str(error))


def _end(number: int, why: str) -> NumberedRow:
    text = f"nothing after row {number} could be read: {why}; import the whole file again"
    return NumberedRow(number + 1, Rejection(Reason.UNREADABLE, text, b""))


def _chunks(rows: Iterable[NumberedRow]) -> Iterator[list[NumberedRow]]:
    taken: list[NumberedRow] = []
    size = 0
    for row in rows:
        taken.append(row)
        size += _size(row)
        if len(taken) == CHUNK_ROWS or size >= _CHUNK_BYTES:
            yield taken
            taken, size = [], 0
    if taken:
        yield taken


def _size(row: NumberedRow) -> int:
    if isinstance(row.content, Rejection):
        return len(row.content.original)
    return sum(len(value) if isinstance(value, str) else 8 for value in row.content.values())
