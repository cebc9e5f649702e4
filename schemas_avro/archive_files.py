"""What pipelines and reports both read of single files of the archive, which never change."""

from __future__ import annotations

from functools import lru_cache

import polars as pl
import pyarrow.parquet as pq

from schemas_avro.tables import MARK


@lru_cache(maxsize=20_000)
def mark_in(path: str) -> bytes | None:
    """MARK in the metadata of a Parquet file; None where it has none."""
    return (pq.read_metadata(path).metadata or {}).get(MARK.encode())


@lru_cache(maxsize=256)
def places_in(path: str, kind: str) -> pl.DataFrame:
    """Places of a file of `repeats` that are of a kind: project, producer, seq, row."""
    place = ["project", "producer", "seq", "row"]
    rows = pl.read_parquet(path, columns=[*place, "kind"], hive_partitioning=False)
    return rows.filter(pl.col("kind") == kind).select(place)
