"""Retention over 30 days against the same asked by hand: seconds, and memory at its highest.

`python -m benchmarks.bench_retention [EVENTS]` makes an archive of that many events over 30 days
and of a fiftieth as many people, as it is after a rollup. Each question runs in a process of its
own, on the same Parquet files, with as many threads; both give the same numbers, or this fails.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from benchmarks.raw_events import FIRST, PROJECT, archive
from benchmarks.report import Figure, report
from catalog.settings import read
from reports.insights.kinds import ask
from reports.insights.retention import RetentionQuestion
from reports.insights.source import Source
from reports.warehouse.engine import Warehouse
from reports.warehouse.files import WarehouseFiles
from schemas_avro.tables import EVENTS
from transforms.grid import day_span_us

ZONE, DAYS, THREADS, TIMES = "Europe/London", 30, 2, 3
DATES = f"{FIRST}..{FIRST + timedelta(DAYS - 1)}"
SPAN = (day_span_us(FIRST, ZONE)[0], day_span_us(FIRST + timedelta(DAYS - 1), ZONE)[1])
QUESTIONS: dict[str, dict[str, Any]] = {
    "any event, again": {"dates": DATES},
    "viewed, then ordered": {
        "dates": DATES,
        "start": {"name": "Product Viewed"},
        "returning": {"name": "Order Completed"},
    },
}
BY_HAND = """
WITH e AS (
  SELECT coalesce(user_id, anonymous_id) AS person, name,
    timezone('{zone}', event_time)::DATE AS day
  FROM read_parquet([{files}])
  WHERE project = '{project}' AND event_time >= make_timestamptz({start})
    AND event_time < make_timestamptz({end})
),
starts AS (SELECT DISTINCT person, day FROM e WHERE {started}),
returns AS (SELECT DISTINCT person, day FROM e WHERE {returned}),
sizes AS (SELECT day, count(*) AS size FROM starts GROUP BY day)
SELECT s.day::VARCHAR AS cohort, any_value(size) AS size, r.day - s.day AS later, count(*) AS back
FROM starts AS s JOIN returns AS r ON s.person = r.person AND r.day >= s.day
JOIN sizes ON sizes.day = s.day
GROUP BY s.day, r.day - s.day
"""


def ours(directory: Path, name: str) -> dict[str, list[int]]:
    """Our answer: [size, back] by cohort and days later."""
    settings = read({"HEADWATER_DATA_DIR": str(directory), "HEADWATER_SQL_THREADS": str(THREADS)})
    warehouse = Warehouse(settings, lambda project: (pa.table({}), None))
    source = Source(warehouse, PROJECT, ZONE, SPAN[1])
    table = ask("retention", QUESTIONS[name], source).table
    return {
        f"{cohort} {later}": [size, back]
        for cohort, size, later, back, _ in table.rows
        if cohort != "Weighted average" and back
    }


def by_hand(directory: Path, name: str) -> dict[str, list[int]]:
    """The same in SQL as one would write it."""
    question = QUESTIONS[name]
    started, returned = (
        f"name = '{question[step]['name']}'" if step in question else "true"
        for step in ("start", "returning")
    )
    files = ", ".join(
        f"'{path}'" for path in WarehouseFiles(f"{directory}/archive").of(EVENTS).paths
    )
    sql = BY_HAND.format(
        project=PROJECT,
        zone=ZONE,
        files=files,
        start=SPAN[0],
        end=SPAN[1],
        started=started,
        returned=returned,
    )
    with duckdb.connect(config={"threads": THREADS}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        rows = connection.execute(sql).fetchall()
    longest = RetentionQuestion().longest
    return {f"{c} {later}": [size, back] for c, size, later, back in rows if later <= longest}


def child(how: str, directory: str, name: str) -> None:
    """Answer one question, print seconds and the answer."""
    started = time.monotonic()
    found = (ours if how == "ours" else by_hand)(Path(directory), name)
    print(json.dumps([time.monotonic() - started, found]))


def run(how: str, directory: Path, name: str) -> tuple[float, float, Any]:
    """(seconds, GB at the highest, answer) in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.bench_retention", how, str(directory), name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{how} {name} ended with status {status}")
    seconds, found = json.loads(text)
    return seconds, usage.ru_maxrss / (1 << 20), found


def main(count: int) -> None:
    """Fill, ask both, compare, print."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as directory:
        archive(Path(directory), count, DAYS, count // 50)
        for name in QUESTIONS:
            best: dict[str, float] = {}
            answers = {}
            for how in ("ours", "by hand") * TIMES:
                seconds, memory, answers[how] = run(how, Path(directory), name)
                best[how] = min(seconds, best.get(how, seconds))
                best[f"{how} memory"] = max(memory, best.get(f"{how} memory", 0))
            if answers["ours"] != answers["by hand"]:
                raise SystemExit(f"{name}: the answers differ")
            figures += [
                (f"{name}: seconds", best["ours"], "s"),
                (f"{name}: hand-written DuckDB", best["by hand"], "s"),
                (f"{name}: ratio", best["ours"] / best["by hand"], "x"),
                (f"{name}: memory at its highest", best["ours memory"], "GB"),
                (f"{name}: memory, hand-written", best["by hand memory"], "GB"),
            ]
    note = f"{count / 1e6:g} M events over {DAYS} days, best of {TIMES}, {THREADS} threads"
    report("retention", "30-day retention", figures, note)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        child(*sys.argv[1:])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000_000)
