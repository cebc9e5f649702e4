"""Sessions: a person's events with no gap of 30 minutes between them."""

from __future__ import annotations

import polars as pl

from transforms.metrics import PERSON

GAP_US = 30 * 60 * 1_000_000


def mark_starts(batch: pl.DataFrame) -> pl.DataFrame:
    """`batch` with a boolean `session_start`, sorted by person and time.

    An event starts a session when its person has no event in the 30 minutes before it (exactly
    30 minutes still belongs to the session). Events without a person start none. Of events at
    the same instant one is the start. All events of a person must be in the same batch.
    """
    person = ["project", "_person"]
    ordered = batch.with_columns(_person=PERSON).sort(*person, "event_time", "event_id")
    gap = pl.col("event_time").diff().over(person)
    start = pl.col("_person").is_not_null() & (gap.is_null() | (gap > GAP_US))
    return ordered.with_columns(session_start=start).drop("_person")
