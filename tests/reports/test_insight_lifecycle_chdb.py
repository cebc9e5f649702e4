"""Lifecycle against window functions of ClickHouse, on random people."""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from tests import people
from tests.clickhouse import PERIOD, PERSON, asked, kept, moved
from tests.reports.streams_of_people import TODAY, app_of, ask, label, random_rows


@pytest.mark.parametrize(
    ("grain", "first"),
    [("day", date(2026, 10, 10)), ("week", date(2026, 9, 9)), ("month", date(2026, 9, 3))],
)
def test_states_are_what_clickhouse_counts(tmp_path: Path, grain: str, first: date) -> None:
    rows = [
        {**row, "user_id": row["user_id"] and f"{row['user_id']}-{seed}",
         "anonymous_id": row.get("anonymous_id") and f"{row['anonymous_id']}-{seed}",
         "event_id": f"{row['event_id']}-{seed}"}
        for seed in range(8)
        for row in random_rows(seed, 150)
    ]  # fmt: skip
    answer = ask(app_of(tmp_path, rows), "lifecycle", active={"name": "view"}, period=grain,
                 dates=f"{first}..{TODAY}")  # fmt: skip
    columns = ("user_id", "anonymous_id", "name", "event_time")
    source = kept(tmp_path / "events.parquet", rows, columns)
    periods = [
        period for period in people.calendar(first, TODAY, grain)
        if period != people.start_of(TODAY, grain)  # who is dormant in it is not known
    ]  # fmt: skip
    states = counted(source, grain)
    wanted = {(label(one, grain), state): n for (one, state), n in states.items() if one in periods}
    shown = {label(period, grain) for period in periods}
    got = {(period, state): n for period, state, n, _ in answer["rows"] if period in shown and n}
    assert got == wanted
    assert {state for _, state in wanted} >= {"new", "returning", "dormant"}
    assert grain == "month" or "resurrecting" in {state for _, state in wanted}


def counted(source: str, grain: str) -> Counter[tuple[date, str]]:
    """People by period and state, of all time."""
    found = asked(
        f"""WITH active AS (
          SELECT who, period,
            lagInFrame(toNullable(period)) OVER own AS before,
            leadInFrame(toNullable(period)) OVER own AS after
          FROM (
            SELECT DISTINCT {PERSON} AS who, {PERIOD[grain]} AS period
            FROM {source} WHERE name = 'view' AND who IS NOT NULL
          )
          WINDOW own AS (PARTITION BY who ORDER BY period
            ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
        )
        SELECT period, {moved("period", grain, 1)} AS next,
          multiIf(before IS NULL, 'new', {moved("before", grain, 1)} = period, 'returning',
            'resurrecting') AS state,
          after IS NULL OR after != next AS leaves, count() AS people
        FROM active GROUP BY ALL"""
    )
    states: Counter[tuple[date, str]] = Counter()
    for row in found:
        states[date.fromisoformat(row["period"]), row["state"]] += row["people"]
        if row["leaves"]:
            states[date.fromisoformat(row["next"]), "dormant"] += row["people"]
    return states
