"""Reads a CSV or JSON-lines file as numbered rows, in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import islice
from pathlib import Path

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection

from transforms.rows import NumberedRow, csv_rows, jsonl_rows

CHUNK_ROWS = 2000  # one block; fixed, so that a second import numbers its blocks the same way
Chunk = tuple[int, list[NumberedRow]]


@dataclass
class ReadRows(beam.PTransform):
    """File -> (chunk number, rows). Bounded. A quoted field may span lines, so one worker reads.

    Bytes that are not of the encoding become U+FFFD, which a person can see and search for.
    progress: a file that is told how many bytes were read, see `progress_bar`.
    """

    path: str
    format: str
    encoding: str
    progress: str

    def expand(self, root: PBegin) -> PCollection[Chunk]:
        return (
            root
            | "File" >> beam.Create([self.path])
            | "Rows" >> beam.ParDo(_Rows(self.format, self.encoding, self.progress))
            | "Spread" >> beam.Reshuffle()
        )


class _Rows(beam.DoFn):
    def __init__(self, format_: str, encoding: str, progress: str) -> None:
        self._format, self._encoding, self._progress = format_, encoding, progress

    def process(self, path: str) -> Iterator[Chunk]:
        read = csv_rows if self._format == "csv" else jsonl_rows
        with open(path, "rb") as raw:
            # newline="": fields may hold line breaks, and files with bare CRs exist.
            text = TextIOWrapper(raw, self._encoding, errors="replace", newline="")
            rows = read(text)
            number = 0
            while chunk := list(islice(rows, CHUNK_ROWS)):
                yield number, chunk
                number += 1
                Path(self._progress).write_text(str(raw.tell()))
