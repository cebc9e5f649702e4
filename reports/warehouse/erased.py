"""Leaves suppressed people out of `events` and cohorts: for exports, which nobody takes back."""

from __future__ import annotations

from collections.abc import Iterable, Set

import pyarrow as pa
import pyarrow.compute as pc

from transforms.suppression import digest

TABLE = "erased__"  # their ids; no query of a person can name it
_IDS = ("user_id", "anonymous_id")
# For a table with the ids of `TABLE`: is a row of `events` one of theirs?
IS_ERASED = " OR ".join(f"coalesce({name} IN (SELECT id FROM {TABLE}), false)" for name in _IDS)


def ids_sql(source: str, within: str = "true") -> str:
    """DuckDB's SELECT of all ids of people in a table of events."""
    return " UNION ".join(f"SELECT {name} FROM {source} WHERE {within}" for name in _IDS)


def erased(ids: Iterable[str | None], project: str, people: Set[bytes]) -> pa.Table:
    """Those of the ids that are on the list of suppressed people, which has their digests only."""
    found = [one for one in ids if one and digest(project, one) in people]
    return pa.table({"id": pa.array(found, pa.string())})


def left(rows: pa.Table, project: str, people: Set[bytes]) -> pa.Table:
    """Rows whose `id` is nobody's on that list."""
    if not people:
        return rows
    gone = erased(rows["id"].to_pylist(), project, people)["id"]
    return rows.filter(pc.invert(pc.is_in(rows["id"], value_set=gone.combine_chunks())))
