"""ClickHouse in this process (chdb), an engine of another make: what it answers about rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import chdb
import polars as pl

LOCAL_DAY = "toDate(fromUnixTimestamp64Micro(event_time), 'Europe/London')"
# Start of the local day, week or month of an event, and the one before or after it.
PERIOD = {
    "day": LOCAL_DAY,
    "week": f"toStartOfWeek({LOCAL_DAY}, 1)",
    "month": f"toStartOfMonth({LOCAL_DAY})",
}
PERSON = "coalesce(nullIf(user_id, ''), nullIf(anonymous_id, ''))"


def moved(period: str, grain: str, by: int) -> str:
    """SQL of the period so many later."""
    return f"{period} + INTERVAL {by} {grain.upper()}"


def kept(path: Path, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> str:
    """These columns of the rows as a file; SQL that reads it."""
    types = {"event_time": pl.Int64, "revenue_minor": pl.Int64}
    given = {name: types.get(name, pl.String) for name in columns}
    pl.DataFrame([{c: row.get(c) for c in columns} for row in rows], schema=given).write_parquet(
        path
    )
    return f"file('{path}', Parquet)"


def asked(sql: str) -> list[dict[str, Any]]:
    """Rows by the names of their columns; whole numbers and texts as such."""
    answer = chdb.query(  # type: ignore[no-untyped-call]
        f"{sql} SETTINGS output_format_json_quote_64bit_integers = 0", "JSON"
    )
    found: list[dict[str, Any]] = json.loads(str(answer))["data"]
    return found
