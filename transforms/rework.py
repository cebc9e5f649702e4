"""Stored rows through today's ingest code again: what is derived of an event is derived anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from schemas_avro import derive, load
from transforms.context import PATHS
from transforms.enrich import enrich

LINEAGE = ("producer", "seq", "row")
# Where a row is found again; the id as well, because two spools may number their blocks alike.
KEY = (*LINEAGE, "event_id")
_AT = "_at"
_TYPES = derive.wire(load("event"))
# What may be emptied: what is found in a context, or derived of other columns, and can be again.
CLEARABLE = tuple(f.name for f in load("event").fields if f.name in PATHS or "derived" in f.doc)


@dataclass(frozen=True)
class Scope:
    """Which rows. project: empty for all; since, until: [start, end) of event_time in us."""

    project: str
    since: int
    until: int

    def expression(self) -> pl.Expr:
        """True for rows within."""
        within = pl.col("event_time").is_between(self.since, self.until, closed="left")
        return within & (pl.col("project") == self.project) if self.project else within


def rework(rows: pl.DataFrame, scope: Scope, clear: Sequence[str] = ()) -> pl.DataFrame:
    """All `rows`, in order; those in scope enriched again, the columns `clear` emptied before.

    rows: all columns of event.avsc, times in us. Reworking again changes nothing.
    """
    marked = rows.with_row_index(_AT)
    inside = marked.filter(scope.expression())
    if inside.is_empty():
        return rows
    empty = [pl.lit(None, _TYPES[name]).alias(name) for name in clear]
    done = enrich(inside.drop(_AT).with_columns(empty)).select(rows.columns)
    outside = marked.filter(~scope.expression())
    return (
        pl.concat([done.with_columns(inside[_AT]), outside.select(*rows.columns, _AT)])
        .sort(_AT)
        .drop(_AT)
    )


def restored(rows: pl.DataFrame, originals: pl.DataFrame, scope: Scope) -> pl.DataFrame:
    """`rows` with those in scope as they are in `originals`, where they are there.

    No row is added: what was erased since stays erased.
    """
    wanted = rows.filter(scope.expression()).select(KEY)
    fresh = originals.join(wanted, on=KEY, how="semi").unique(KEY, keep="first")
    if fresh.is_empty():
        return rows
    order = rows.select(KEY).with_row_index(_AT)
    kept = rows.join(fresh.select(KEY), on=KEY, how="anti")
    both = pl.concat([kept, fresh.select(rows.columns)])
    return order.join(both, on=KEY, how="left").sort(_AT).select(rows.columns)
