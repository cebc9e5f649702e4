"""Repeats: the same (project, source, type, event_id) sent again. One copy counts."""

from __future__ import annotations

import polars as pl

KEY = ("project", "source", "type", "event_id")
# Whoever was received first counts; producer, seq and row break ties the same way every time.
ORDER = ("received_time", "producer", "seq", "row")


def key_hash(columns: tuple[str, ...] = KEY) -> pl.Expr:
    """64-bit hash of the key columns; two keys collide with probability 5e-20.

    Stable within one version of polars: for shuffling and for state, never for storage.
    """
    return pl.concat_str([pl.col(c).fill_null("") for c in columns], separator="\x1f").hash(11)


def keep_first(batch: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(first copy of every key, the repeats). Whatever the order of the rows, the same result."""
    ordered = batch.sort(ORDER)
    first = ordered.select(pl.struct(KEY).is_first_distinct()).to_series()
    return ordered.filter(first), ordered.filter(~first)


def shards(batch: pl.DataFrame, by: pl.Expr, count: int) -> list[tuple[int, pl.DataFrame]]:
    """Split by hash: rows with equal `by` come into the same shard, 0 <= shard < count."""
    marked = batch.with_columns(_shard=(by % count).cast(pl.Int32))
    parts = marked.partition_by("_shard", as_dict=True, include_key=False)
    return [(int(key[0]), part) for key, part in parts.items()]
