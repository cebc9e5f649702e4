"""Panes of live numbers as rows of live_value.avsc: which one counts, and what they make final."""

from __future__ import annotations

import polars as pl

from schemas_avro.tables import LIVE_KEY
from transforms.grid import MINUTE_US

EARLY, ON_TIME, LATE = "early", "on_time", "late"
# A newer run rebuilds its minutes whole, so its first pane beats every pane of an older run.
ORDER = ("run", "pane_index")


def newest(rows: pl.DataFrame) -> pl.DataFrame:
    """Of each number and minute the newest pane, by minute. Order and repeats change nothing."""
    by_age = rows.sort(*ORDER, maintain_order=True)
    return by_age.unique(LIVE_KEY, keep="last", maintain_order=True).sort("minute")


def final_until(rows: pl.DataFrame) -> int | None:
    """End of the newest minute that is over according to these panes, us; None: none is."""
    # A late pane comes after its minute was final, so it says the same as an on-time one.
    newest_final = rows.filter(pl.col("pane") != EARLY)["minute"].max()
    return newest_final + MINUTE_US if isinstance(newest_final, int) else None


def wanted(rows: pl.DataFrame, from_us: int, held_us: int) -> pl.DataFrame:
    """Of panes of a new run those that a store should take.

    from_us: earlier minutes are final in the store
    held_us: earlier minutes are in the store with all that was received before this instant. What
             the run has made of them is less until it has read that again, so only over they count
    """
    is_whole = (pl.col("minute") >= held_us) | (pl.col("pane") != EARLY)
    return rows.filter(is_whole, pl.col("minute") >= from_us)
