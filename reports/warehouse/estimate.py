"""What a query would read: the files of its tables whose days it asks for, the columns it names.

Only what the text of the query says is used, never its rows; so it is told before the query runs,
and is an upper bound: the engine may skip more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import sqlglot
from sqlglot import exp

from reports.warehouse.days import Days, days_of, parts_within
from reports.warehouse.files import Files
from reports.warehouse.relations import MADE, made_of, tables_of
from reports.warehouse.views import TABLES
from schemas_avro import load

# Every read of a table needs these, to tell projects apart and to leave repeats out.
ALWAYS = {"project", "producer", "seq", "row"}


@dataclass(frozen=True)
class Read:
    """What is read of one table. files: how many of `of_files`; bytes: as compressed on disk."""

    table: str
    rows: int
    bytes: int
    files: int
    of_files: int


def days_and_columns(
    sql: str, used: Iterable[str], typed: Mapping[str, str], parameters: Mapping[str, Any]
) -> dict[str, tuple[Days, frozenset[str] | None]]:
    """Of each table that is read its days, and its columns; None: all of them.

    sql: as admitted, in DuckDB's dialect
    """
    query = sqlglot.parse_one(sql, dialect="duckdb")
    named = frozenset(column.name.lower() for column in query.find_all(exp.Column))
    starred = any(not isinstance(s.parent, exp.Count) for s in query.find_all(exp.Star))
    found: dict[str, tuple[Days, frozenset[str] | None]] = {}
    for name in set(used):
        own = TABLES[name].day_of if name in TABLES else "event_time"
        asked = days_of(query, name, own, parameters)
        for table in tables_of([name], typed):
            days = Days() if name in MADE else asked
            columns = _columns(name, table, None if starred else named)
            if table in found:
                before, others = found[table]
                days = days.around(before)
                columns = (
                    None if None in (columns, others) else (columns or named) | (others or named)
                )
            found[table] = days, columns
    return found


def _columns(name: str, table: str, named: frozenset[str] | None) -> frozenset[str] | None:
    if name in MADE:
        return made_of(name)[1]
    if name == table or named is None:
        return named
    own = {f.name for f in load("event").fields}
    return frozenset({"type", "name", *(named & own), *(() if named <= own else ("properties",))})


def read_of(
    table: str,
    files: Files,
    days: Days,
    columns: frozenset[str] | None = None,
    sizes_only: bool = False,
) -> Read:
    """What is read of a table. columns: None: all; sizes_only: of whole files, not looked into.

    Raises FileNotFoundError where the files were replaced meanwhile.
    """
    paths = parts_within(TABLES[table], files.days, days)
    if sizes_only:
        size = sum(Path(path).stat().st_size for path in paths)
        return Read(table, 0, size, len(paths), len(files.days))
    rows = size = 0
    for path in paths:
        count, sizes = _inside(path)
        rows += count
        read = sizes if columns is None else (columns | ALWAYS) & sizes.keys()
        size += sum(sizes[column] for column in read)
    return Read(table, rows, size, len(paths), len(files.days))


@lru_cache(maxsize=20_000)
def _inside(path: str) -> tuple[int, dict[str, int]]:
    """Rows of a file, which never changes, and the compressed bytes of its columns."""
    found = pq.read_metadata(path)
    return found.num_rows, column_bytes(found)


def column_bytes(found: pq.FileMetaData) -> dict[str, int]:
    """Compressed bytes of a file's columns, by name."""
    sizes: dict[str, int] = {}
    for group in range(found.num_row_groups):
        for at in range(found.num_columns):
            column = found.row_group(group).column(at)
            name = column.path_in_schema.partition(".")[0]
            sizes[name] = sizes.get(name, 0) + column.total_compressed_size
    return sizes
