"""Files of an export: written in parts, each whole or not there; the manifest comes last."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import polars as pl
import pyarrow.parquet as pq

from transforms.exports import csv_text, jsonl_text

MANIFEST = "manifest.json"
WORK = ".export"  # what a run that was cut off has done; removed when the manifest is there
Format = Literal["csv", "jsonl", "parquet"]
FORMATS: tuple[Format, ...] = ("csv", "jsonl", "parquet")


@dataclass(frozen=True)
class Written:
    """One file. sha256: of its bytes, hexadecimal."""

    name: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Receipt:
    """What a part wrote, and how many rows it left out for which reason."""

    files: tuple[Written, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)


class PartWriter:
    """Writes a part's rows to files `STEM-001.EXT`, …, a new one at `file_bytes`."""

    def __init__(
        self, directory: str, stem: str, format_: Format, json_fields: list[str], file_bytes: int
    ) -> None:
        self._directory, self._stem, self._format = Path(directory), stem, format_
        self._json, self._file_bytes = json_fields, file_bytes
        self._file: BinaryIO | None = None
        self._parquet: Any = None
        self._rows = 0
        self._written: list[Written] = []

    def write(self, rows: pl.DataFrame) -> None:
        """Append rows."""
        if rows.is_empty():
            return
        is_new = self._file is None
        file = self._file = self._file or self._draft.open("wb")
        match self._format:
            case "csv":
                file.write(csv_text(rows, header=is_new))
            case "jsonl":
                file.write(jsonl_text(rows, self._json))
            case "parquet":
                table = rows.to_arrow()
                if is_new:
                    self._parquet = pq.ParquetWriter(file, table.schema, compression="zstd")
                self._parquet.write_table(table)
        self._rows += rows.height
        if file.tell() >= self._file_bytes:
            self._end()

    def close(self) -> tuple[Written, ...]:
        """All files, on the disk and under their names."""
        self._end()
        return tuple(self._written)

    @property
    def _draft(self) -> Path:
        return self._directory / WORK / f"{self._stem}-{len(self._written) + 1:03d}"

    def _end(self) -> None:
        if self._file is None:
            return
        draft = self._draft
        if self._parquet is not None:
            self._parquet.close()
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())
        with draft.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        path = self._directory / f"{draft.name}.{self._format}"
        size = draft.stat().st_size
        draft.replace(path)
        self._written.append(Written(path.name, self._rows, size, digest))
        self._file = self._parquet = None
        self._rows = 0


def receipt_of(directory: str, stem: str) -> Receipt | None:
    """The receipt of a part whose files are all there, in their size; else None."""
    try:
        found = json.loads(Path(directory, WORK, f"{stem}.json").read_text())
        files = tuple(Written(**one) for one in found["files"])
        if any(Path(directory, f.name).stat().st_size != f.bytes for f in files):
            return None
        return Receipt(files, found["left_out"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep_receipt(directory: str, stem: str, receipt: Receipt) -> None:
    """The part is whole."""
    put_json(Path(directory, WORK, f"{stem}.json"), asdict(receipt))


def put_json(path: Path, value: Any) -> None:
    """Write the file whole or not at all."""
    draft = path.with_name(f"{path.name}.draft")
    with draft.open("w") as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def clear_work(directory: str) -> None:
    """Remove what only a run under way needs."""
    for path in sorted(_below(Path(directory, WORK)), reverse=True):
        with suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()


def _below(path: Path) -> Iterator[Path]:
    yield path
    yield from path.rglob("*")
