"""Archive files -> files for other programs, part by part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import apache_beam as beam
import duckdb
import polars as pl
import pyarrow.parquet as pq
from apache_beam.pvalue import PCollection

from beam_pipelines.connectors.exports import (
    WORK,
    Format,
    PartWriter,
    Receipt,
    keep_receipt,
    receipt_of,
)
from beam_pipelines.counters import count
from beam_pipelines.progress import note
from schemas_avro import derive, load
from schemas_avro.tables import EVENTS, Table
from transforms import dedup
from transforms.suppression import is_named

_BATCH_ROWS = 1 << 15
_MEMORY_MB = 512
_POSITION = "_position"
REPEATS = "repeats.parquet"


class Part(NamedTuple):
    """Some files of the archive, which become one or more files of the export."""

    number: int
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Export:
    """What is exported and how. within: days as [first, last] ISO, or us as [start, end)."""

    output: str
    table: Table
    project: str
    since: int
    until: int
    columns: tuple[str, ...]
    format: Format
    file_bytes: int
    drop_repeats: bool
    suppressed: Mapping[str, frozenset[bytes]] = field(default_factory=dict)
    progress: str = ""

    def stem(self, part: Part) -> str:
        """What the names of the part's files begin with."""
        return f"{self.table.name}-{part.number:05d}"


@dataclass
class WriteParts(beam.PTransform):
    """Parts -> receipts. Bounded. A part whose receipt is there already is not written again."""

    export: Export

    def expand(self, parts: PCollection[Part]) -> PCollection[Receipt]:
        return parts | "Spread" >> beam.Reshuffle() | "Write" >> beam.ParDo(_Write(self.export))


class _Write(beam.DoFn):
    def __init__(self, export: Export) -> None:
        self._export = export

    def process(self, part: Part) -> Iterator[Receipt]:
        export, stem = self._export, self._export.stem(part)
        receipt = receipt_of(export.output, stem)
        if receipt is None:
            receipt = self._written(part, stem)
            keep_receipt(export.output, stem, receipt)
        count("rows_written", sum(file.rows for file in receipt.files))
        yield receipt

    def _written(self, part: Part, stem: str) -> Receipt:
        export = self._export
        record = load(export.table.record)
        json_fields = [f.name for f in record.fields if f.json and f.name in export.columns]
        writer = PartWriter(export.output, stem, export.format, json_fields, export.file_bytes)
        left_out = {"repeats": 0, "erased": 0}
        done = 0
        for path in part.paths:
            repeats = _repeats(export, path)
            for rows in _batches(path, export.table):
                wanted = rows.filter(_within(export))
                kept = wanted.filter(~pl.col(_POSITION).is_in(repeats.implode()))
                left_out["repeats"] += wanted.height - kept.height
                alive = _without_erased(kept, export)
                left_out["erased"] += kept.height - alive.height
                writer.write(alive.select(export.columns))
                done += rows.height
                note(export.progress, stem, done)
        return Receipt(writer.close(), left_out)


def _batches(path: str, table: Table) -> Iterator[pl.DataFrame]:
    """Rows of a file with every column of the table, and where in the file they lie."""
    schema = derive.arrow(load(table.record))
    empty = pl.DataFrame(pl.from_arrow(schema.empty_table()))
    start = 0
    with pq.ParquetFile(path) as opened:
        for batch in opened.iter_batches(batch_size=_BATCH_ROWS):
            rows = pl.DataFrame(pl.from_arrow(batch))
            whole = pl.concat([empty, rows], how="diagonal_relaxed").select(schema.names)
            yield whole.with_row_index(_POSITION, offset=start)
            start += rows.height


def _within(export: Export) -> pl.Expr:
    at = pl.col(export.table.day_of).cast(pl.Datetime("us")).dt.timestamp("us")
    within = at.is_between(export.since, export.until, closed="left")
    return within & (pl.col("project") == export.project)


def _without_erased(rows: pl.DataFrame, export: Export) -> pl.DataFrame:
    if export.table != EVENTS or not export.suppressed:
        return rows
    return rows.filter(~pl.Series(is_named(rows, export.suppressed), dtype=pl.Boolean))


def _repeats(export: Export, path: str) -> pl.Series:
    """Places of the file's rows that repeat an event of this file or another one."""
    found = Path(export.output, WORK, REPEATS)
    if not export.drop_repeats or not found.exists():
        return pl.Series(_POSITION, [], pl.UInt32)
    return (
        pl.scan_parquet(found)
        .filter(pl.col("path") == path)
        .select(pl.col("position").cast(pl.UInt32))
        .collect()
        .to_series()
    )


def find_repeats(export: Export, paths: list[str], since: int, until: int) -> None:
    """Write down which rows repeat others, as the exact tables see it: of equal keys the first.

    [since, until): event times in us of the copies that are looked at. DuckDB sorts within
    512 MB of memory and the rest on disk, and only what tells copies apart.
    """
    work = Path(export.output, WORK)
    draft = work / f"{REPEATS}.draft"
    order = ", ".join(f"{name} NULLS FIRST" for name in dedup.ORDER)
    query = f"""
        COPY (
            SELECT filename AS path, file_row_number AS position FROM read_parquet(
                $paths, filename = true, file_row_number = true, hive_partitioning = false,
                union_by_name = true
            ) WHERE project = $project AND epoch_us(event_time) >= $since
                AND epoch_us(event_time) < $until
            QUALIFY row_number() OVER (PARTITION BY {", ".join(dedup.KEY)} ORDER BY {order}) > 1
        ) TO '{str(draft).replace("'", "''")}' (FORMAT parquet)
    """
    with duckdb.connect(config={"memory_limit": f"{_MEMORY_MB}MB", "threads": 2}) as database:
        database.execute("SET temp_directory = ?", [str(work)])
        given = {"paths": paths, "project": export.project, "since": since, "until": until}
        database.execute(query, given)
    draft.replace(work / REPEATS)
