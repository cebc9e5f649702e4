"""Rows of a relation -> files of one format, in parts, with their SHA-256."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import duckdb
import pyarrow as pa

from reports.exports.asked import Format
from reports.exports.cells import Column, csv_select, json_select
from reports.warehouse.execute import quoted

_BATCH_ROWS = 32_768
# Lines as RFC 4180 has them: CRLF, quotes doubled; nothing for null, "" for an empty text.
_CSV = r"HEADER, NEW_LINE '\r\n', TIMESTAMPFORMAT '%Y-%m-%dT%H:%M:%S.%fZ'"
PARTS = ".parts"  # where the engine writes, until its files get their names
_FIRST, _BETWEEN, _LAST = b"[\n", b",\n", b"\n]\n"  # of a file that is one JSON list

Tell = Callable[[int, int], None]  # rows and bytes so far


@dataclass(frozen=True)
class Written:
    """One file. sha256: of its bytes, hexadecimal."""

    name: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Shape:
    """How rows are written.

    embedded: columns of JSON text that JSON files hold as JSON
    """

    format: Format
    stem: str
    part_bytes: int
    raw: bool = False
    embedded: Collection[str] = ()


class _Part:
    """A file that is being written: its bytes are hashed on their way."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows, self.size = path, 0, 0
        self._file, self._digest = path.open("wb"), hashlib.sha256()

    def write(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._digest.update(data)
        self.size += len(data)

    def drop(self) -> None:
        """Give the file up."""
        self._file.close()

    def close(self) -> Written:
        """The file, on the disk."""
        with self._file as file:
            file.flush()
            os.fsync(file.fileno())
        return Written(self.path.name, self.rows, self.size, self._digest.hexdigest())


def columns_of(connection: duckdb.DuckDBPyConnection, relation: str) -> list[Column]:
    """Names and types of a relation."""
    found = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
    return [Column(row[0], row[1]) for row in found]


def write(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    columns: list[Column],
    directory: Path,
    shape: Shape,
    tell: Tell,
) -> list[Written]:
    """All rows of a relation of the connection; one file, also where there are no rows.

    Several files STEM-001.EXT, … where there are more than about `part_bytes`, else STEM.EXT.
    """
    if shape.format == "parquet":
        written = _copied(connection, f"SELECT * FROM {relation}", "COMPRESSION zstd",
                          directory, shape)  # fmt: skip
    elif shape.format == "csv":
        select = csv_select(columns, relation, shape.raw)
        written = _copied(connection, select, _CSV, directory, shape)
    else:
        written = list(_texts(connection, relation, columns, directory, shape, tell))
    if len(written) > 1:
        return written
    (only,) = written
    name = f"{shape.stem}.{shape.format}"
    (directory / only.name).rename(directory / name)
    return [Written(name, only.rows, only.bytes, only.sha256)]


def _texts(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    columns: list[Column],
    directory: Path,
    shape: Shape,
    tell: Tell,
) -> Iterator[Written]:
    first, between, last = _FIRST, _BETWEEN, _LAST
    if shape.format == "jsonl":
        first, between, last = b"", b"", b""
    after = "" if between else "\n"
    sql = json_select(columns, relation, shape.embedded, between.decode(), after)
    part, number, rows, done = _begin(directory, shape, 1, first), 1, 0, 0
    try:
        with connection.sql(sql).to_arrow_reader(_BATCH_ROWS) as reader:
            for batch in reader:
                if not batch.num_rows:
                    continue
                if part.size >= shape.part_bytes:
                    yield _ended(part, last)
                    done += part.size
                    number += 1
                    part = _begin(directory, shape, number, first)
                data = _lines(batch)
                part.write(data if part.rows or not between else data[len(between) :])
                part.rows += batch.num_rows
                rows += batch.num_rows
                tell(rows, done + part.size)
        yield _ended(part, last)
    finally:
        part.drop()


def _begin(directory: Path, shape: Shape, number: int, first: bytes) -> _Part:
    part = _Part(directory / f"{shape.stem}-{number:03d}.{shape.format}")
    part.write(first)
    return part


def _ended(part: _Part, last: bytes) -> Written:
    if last:
        part.write(last if part.rows else last.lstrip())
    return part.close()


def _lines(batch: pa.RecordBatch) -> memoryview:
    """The texts of a batch's only column, one after the other as they lie in memory."""
    column = batch.column(0)
    _, offsets, data = column.buffers()
    if data is None or offsets is None:
        return memoryview(b"")
    wide = pa.types.is_large_string(column.type)
    ends = memoryview(offsets).cast("q" if wide else "i")
    return memoryview(data)[ends[column.offset] : ends[column.offset + len(column)]]


def _copied(
    connection: duckdb.DuckDBPyConnection,
    select: str,
    options: str,
    directory: Path,
    shape: Shape,
) -> list[Written]:
    """Files that the engine writes by itself, which is fastest."""
    parts, form = directory / PARTS, f"FORMAT {shape.format}, {options}"
    said = f"FILE_SIZE_BYTES {shape.part_bytes}, FILENAME_PATTERN 'part_{{i}}'"
    copied = connection.execute(f"COPY ({select}) TO {quoted(str(parts))} ({form}, {said})")
    rows = int(copied.fetchall()[0][0])
    if not rows:  # an empty relation has no part, but a schema
        parts.mkdir(exist_ok=True)
        for path in parts.iterdir():
            path.unlink()
        path = parts / f"part_0.{shape.format}"
        connection.execute(f"COPY ({select} LIMIT 0) TO {quoted(str(path))} ({form})")
    paths = sorted(parts.iterdir(), key=lambda path: int(path.stem.rpartition("_")[2]))
    counts = [_counted(connection, path) for path in paths] if len(paths) > 1 else [rows]
    if sum(counts) != rows:
        raise OSError(f"{sum(counts):,} rows are in the files of {rows:,} that were written")
    written = []
    for number, (path, count) in enumerate(zip(paths, counts, strict=True), 1):
        named = path.rename(directory / f"{shape.stem}-{number:03d}.{shape.format}")
        written.append(_seen(named, count))
    parts.rmdir()
    return written


def _counted(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    """Rows of a file, read back."""
    file = quoted(str(path))
    if path.suffix == ".csv":
        given = "header = true, all_varchar = true, delim = ',', quote = '\"', escape = '\"'"
        file = f"read_csv({file}, {given})"
    found: Any = connection.execute(f"SELECT count(*) FROM {file}").fetchone()
    return int(found[0])


def _seen(path: Path, rows: int) -> Written:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(cast(IO[bytes], file), "sha256").hexdigest()  # type: ignore[arg-type]
    return Written(path.name, rows, path.stat().st_size, digest)
