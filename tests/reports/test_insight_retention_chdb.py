"""Recurring retention against ClickHouse's own `retention()`, on a larger stream."""

from __future__ import annotations

import json
import random
from datetime import date, timedelta
from pathlib import Path

import chdb
import polars as pl

from tests.reports.streams_of_people import TODAY, app_of, ask, midnight
from tests.streams import event

DAYS, LONGEST = 14, 6
FIRST = TODAY - timedelta(DAYS)  # summer time ends within


def test_the_same_as_clickhouse(tmp_path: Path) -> None:
    rng = random.Random(8)
    rows = []
    for number in range(6_000):
        day = FIRST + timedelta(rng.randrange(DAYS))
        at = midnight(day, rng.choice([0, 1, 86_399, rng.uniform(0, 86_000)]))
        who = int(rng.triangular(0, 400, 0))
        name = rng.choice(["view", "view", "cart", "order"])
        rows.append(event(f"e{number}", at, name=name, user_id=f"u{who}"))
    answer = ask(
        app_of(tmp_path, rows), "retention", start={"name": "cart"}, returning={"name": "order"},
        dates=f"{FIRST}..{TODAY - timedelta(1)}", longest=LONGEST,
    )  # fmt: skip
    path = tmp_path / "events.parquet"
    pl.DataFrame(rows).select("user_id", "name", "event_time").write_parquet(path)
    wanted: dict[tuple[str, int], int] = {}
    for number in range(DAYS):
        cohort = FIRST + timedelta(number)
        for later, back in enumerate(counted(path, cohort, min(LONGEST, DAYS - 1 - number))):
            wanted[cohort.isoformat(), later] = back
    got = {
        (cohort, later): back
        for cohort, _, later, back, _ in answer["rows"]
        if cohort != "Weighted average" and back is not None
    }
    assert got == wanted
    assert sum(wanted.values()) > 1_000


def counted(path: Path, cohort: date, longest: int) -> list[int]:
    """People back after 0, 1, … days: the engine works days out by itself."""
    day = "toDate(fromUnixTimestamp64Micro(event_time), 'Europe/London')"
    conditions = ", ".join(
        f"{day} = '{cohort + timedelta(later)}' AND name = 'order'" for later in range(longest + 1)
    )
    sums = ", ".join(f"sum(r[{later + 2}])" for later in range(longest + 1))
    found = chdb.query(  # type: ignore[no-untyped-call]
        f"""SELECT {sums} FROM (
          SELECT user_id, retention({day} = '{cohort}' AND name = 'cart', {conditions}) AS r
          FROM file('{path}', Parquet) GROUP BY user_id
        )""",
        "JSONCompact",
    )
    (row,) = json.loads(str(found))["data"]
    return [int(value) for value in row]
