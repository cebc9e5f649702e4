"""Sessions against window functions of ClickHouse: ties, gaps of exactly 30 minutes, midnights."""

from __future__ import annotations

import random
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.clickhouse import LOCAL_DAY, PERSON, asked, kept
from tests.streams import DAY_US, NOON
from tests.transforms.test_sessions import Row, filled, frame
from transforms.sessions import GAP_US, NEEDS, sessions_of

STEPS = (0, 0, 1, GAP_US // 3, GAP_US // 2, GAP_US - 1, GAP_US, GAP_US, GAP_US + 1, 7 * GAP_US)
# Ones that never pause for longer than a gap: they go on through several midnights.
WITHOUT_PAUSE = (0, GAP_US // 2, GAP_US - 1, GAP_US)
SESSIONS = f"""
WITH ordered AS (
  SELECT *, {PERSON} AS who, {LOCAL_DAY} AS day,
    lagInFrame(toNullable(event_time)) OVER own AS before,
    lagInFrame(toNullable(day)) OVER own AS day_before
  FROM SOURCE WHERE who IS NOT NULL
  WINDOW own AS (PARTITION BY who ORDER BY event_time, event_id
    ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
),
chained AS (
  SELECT *, before IS NULL OR event_time - before > {GAP_US} AS pauses, sum(pauses) OVER so_far
    AS chain
  FROM ordered
  WINDOW so_far AS (PARTITION BY who ORDER BY event_time, event_id
    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
),
begun AS (SELECT *, min(day) OVER (PARTITION BY who, chain) AS began FROM chained),
cut AS (
  SELECT *, sum(pauses OR day != day_before AND day - began >= 2) OVER so_far AS session
  FROM begun
  WINDOW so_far AS (PARTITION BY who ORDER BY event_time, event_id
    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)
SELECT who AS person, min(day) AS day, min(event_time) AS started_at, max(event_time) AS ended_at,
  argMin(event_id, (event_time, event_id)) AS first_event_id, count() AS events,
  countIf(type IN ('page', 'screen')) AS views,
  argMinIf(coalesce(page_path, name), (event_time, event_id), type IN ('page', 'screen')) AS entry,
  argMaxIf(coalesce(page_path, name), (event_time, event_id), type IN ('page', 'screen')) AS exit,
  uniqExactIf(order_id, order_id IS NOT NULL AND coalesce(revenue_minor, 0) >= 0) AS orders,
  coalesce(sumIf(revenue_minor, currency = 'GBP'), 0) AS pence
FROM cut GROUP BY who, session ORDER BY person, started_at"""


def rows(seed: int) -> list[Row]:
    rng = random.Random(seed)
    made = []
    for who in range(60):
        at = NOON + rng.randrange(-DAY_US // 2, DAY_US // 2)
        steps = STEPS if who % 4 else WITHOUT_PAUSE
        ids = {"user_id": f"u{who}" if who % 3 else None, "anonymous_id": f"a{who}"}
        for _ in range(150):
            at += rng.choice(steps)
            made.append({
                **ids, "event_time": at, "type": rng.choice(["page", "track", "screen"]),
                "page_path": rng.choice(["/", "/buy", None]), "currency": "GBP",
                "revenue_minor": rng.choice([None, None, None, 5, -2]),
            })  # fmt: skip
    return filled(rng.sample(made, len(made)))


@pytest.mark.parametrize("seed", [1, 2])
def test_clickhouse_finds_the_same_sessions(tmp_path: Path, seed: int) -> None:
    events = rows(seed)
    found = sessions_of(frame(events)).sort("person", "started_at")
    theirs = asked(SESSIONS.replace("SOURCE", kept(tmp_path / "events.parquet", events, NEEDS)))
    wanted: list[dict[str, Any]] = [
        {**row, "day": date.fromisoformat(row["day"]), "entry": row["entry"] or None,
         "exit": row["exit"] or None} for row in theirs
    ]  # fmt: skip
    pence = pl.col("revenue").str.json_path_match("$.GBP").cast(pl.Int64).fill_null(0)
    ours = found.select(
        "person", "day", "started_at", "ended_at", "first_event_id", "events", "views",
        entry="entry_page", exit="exit_page", orders="orders", pence=pence,
    )  # fmt: skip
    assert ours.to_dicts() == wanted
    times = sorted((row["user_id"] or row["anonymous_id"], row["event_time"]) for row in events)
    gaps = {b - a for (who, a), (same, b) in pairwise(times) if who == same}
    assert {0, GAP_US, GAP_US + 1} <= gaps
    assert max(row["ended_at"] - row["started_at"] for row in wanted) > DAY_US
