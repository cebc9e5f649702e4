"""What a query would read of one project's own rows, where files hold those of several.

Of files the project's rows are counted, and what they take is judged by some of them that are
written anew, alone. So whatever others have in the same files, the answer is the same.
"""

from __future__ import annotations

import io
from functools import lru_cache

import polars as pl
import pyarrow.parquet as pq

from reports.warehouse.days import Days, parts_within
from reports.warehouse.estimate import ALWAYS, Read, column_bytes
from reports.warehouse.files import Files
from reports.warehouse.views import TABLES

_SAMPLE_ROWS = 10_000


def own_read_of(
    table: str, files: Files, days: Days, columns: frozenset[str] | None, project: str
) -> Read:
    """Rows of the project in files that have such days; bytes: about what they take alone.

    Raises FileNotFoundError where the files were replaced meanwhile.
    """
    rows: dict[str, int] = {}
    for path in parts_within(TABLES[table], files.days, days):
        if files.projects.get(path, project) == project and (own := _own_rows(path, project)):
            rows[path] = own
    if not rows:
        return Read(table, 0, 0, 0, 0)
    most = max(sorted(rows), key=rows.__getitem__)
    judged, sizes = _own_bytes(most, project)
    read = sizes if columns is None else (columns | ALWAYS) & sizes.keys()
    total = sum(rows.values())
    size = total * sum(sizes[column] for column in read) // judged
    return Read(table, total, size, len(rows), len(rows))


@lru_cache(maxsize=20_000)
def _own_rows(path: str, project: str) -> int:
    """Of a file, which never changes: one small column is read."""
    return int(_own(path, project).select(pl.len()).collect().item())


@lru_cache(maxsize=20_000)
def _own_bytes(path: str, project: str) -> tuple[int, dict[str, int]]:
    """How many of the project's rows were looked at, and the bytes of their columns."""
    rows, out = _own(path, project).head(_SAMPLE_ROWS).collect(), io.BytesIO()
    rows.write_parquet(out, compression="zstd")
    return rows.height, column_bytes(pq.read_metadata(out))


def _own(path: str, project: str) -> pl.LazyFrame:
    return pl.scan_parquet(path, hive_partitioning=False).filter(pl.col("project") == project)
