"""Sessions: a person's events with no gap of 30 minutes between them.

A session may cross one midnight of the site's zone, never two: it ends at the second. So what is
never silent, such as a robot, has sessions of less than 48 hours, and whether an event starts one
can be told from its day and the two days before it.
"""

from __future__ import annotations

import json

import polars as pl

from transforms.metrics import IS_ORDER, PERSON
from transforms.repeats import key_columns

GAP_US = 30 * 60 * 1_000_000
_VIEWS = ("page", "screen")
# Of events at the same instant the id decides which is first; ids can be the same in two sources.
_TIES = ("event_id", "source", "type")
NEEDS = (
    *("project", "source", "type", "name", "event_id", "event_time", "user_id", "anonymous_id"),
    *("page_path", "order_id", "revenue_minor", "currency"),
)


def mark_starts(batch: pl.DataFrame) -> pl.DataFrame:
    """`batch` with a boolean `session_start`, the events of each person together and by time.

    An event starts a session when its person has no event in the 30 minutes before it (exactly
    30 minutes still belongs to the session), or where the batch has a local `day` and the event
    is the first after the second midnight that the session would cross. Events without a person
    start none. Of events at the same instant one is the start. All events of a person must be in
    the same batch.
    """
    ordered = _in_order(batch)
    new = (pl.col("key") != pl.col("key").shift()) | (pl.col("key2") != pl.col("key2").shift())
    new = new.fill_null(True)
    start = new | (pl.col("event_time").diff() > GAP_US)
    if "day" in batch.columns:
        began = pl.when(start).then("day").forward_fill()
        next_day = ~new & (pl.col("day") != pl.col("day").shift())
        start |= next_day & ((pl.col("day") - began).dt.total_days() >= 2)
    return ordered.with_columns(session_start=PERSON.is_not_null() & start).drop("key", "key2")


def _in_order(batch: pl.DataFrame) -> pl.DataFrame:
    """By person, time and then id. Hashes and numbers sort ten times as fast as texts."""
    person = batch.with_columns(_person=PERSON).with_columns(key_columns(("project", "_person")))
    by = ["key", "key2", "event_time"]
    ordered = person.drop("_person").sort(by).with_row_index("_place")
    at_once = ordered.select(pl.struct(by).is_duplicated()).to_series()
    ties = ordered.filter(at_once)
    if ties.is_empty():
        return ordered.drop("_place")
    settled = ties.sort([*by, *(c for c in _TIES if c in batch.columns)])
    placed = settled.with_columns(_place=ties["_place"])
    return pl.concat([ordered.filter(~at_once), placed]).sort("_place").drop("_place")


def sessions_of(batch: pl.DataFrame) -> pl.DataFrame:
    """One row a session, of `session.avsc` but for the stamp. `batch` has NEEDS and `day`.

    The last session of a person is as long as the batch knows; the caller reads far enough.
    """
    marked = mark_starts(batch).filter(PERSON.is_not_null())
    view = pl.col("type").is_in(_VIEWS)
    shown = pl.when(view).then(pl.coalesce("page_path", "name"))
    numbered = marked.with_columns(
        _number=pl.col("session_start").cum_sum().cast(pl.UInt32),
        _shown=shown,
    )
    found = numbered.group_by("_number", maintain_order=True).agg(
        project=pl.col("project").first(),
        person=PERSON.first(),
        day=pl.col("day").first(),
        user_id=pl.col("user_id").drop_nulls().first(),
        anonymous_id=pl.col("anonymous_id").drop_nulls().first(),
        started_at=pl.col("event_time").first(),
        ended_at=pl.col("event_time").last(),
        first_event_id=pl.col("event_id").first(),
        events=pl.len().cast(pl.Int64),
        views=view.sum().cast(pl.Int64),
        entry_page=pl.col("_shown").drop_nulls().first(),
        exit_page=pl.col("_shown").drop_nulls().last(),
        orders=pl.col("order_id").filter(IS_ORDER).n_unique().cast(pl.Int64),
    )
    money = _money(numbered)
    return (
        found.join(money, on="_number", how="left")
        .with_columns(
            duration_us=pl.col("ended_at") - pl.col("started_at"),
            bounce=(pl.col("events") == 1).cast(pl.Int32),
            revenue=pl.col("revenue").fill_null("{}"),
        )
        .drop("_number")
    )


def _money(numbered: pl.DataFrame) -> pl.DataFrame:
    """Net revenue of each session as a JSON object, currency to minor units."""
    sums = (
        numbered.filter(pl.col("revenue_minor").is_not_null())
        .group_by("_number", "currency")
        .agg(pl.col("revenue_minor").sum())
        .sort("_number", "currency")
    )
    by_session: dict[int, dict[str, int]] = {}
    for number, currency, minor in sums.iter_rows():
        by_session.setdefault(number, {})[currency or ""] = minor
    rows = [(n, json.dumps(found, separators=(",", ":"))) for n, found in by_session.items()]
    types = {"_number": pl.UInt32(), "revenue": pl.String()}
    return pl.DataFrame(rows, schema=types, orient="row")
