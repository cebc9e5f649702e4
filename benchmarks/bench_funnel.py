"""A funnel of four steps beside hand-written SQL, on the same Parquet: seconds and memory.

python -m benchmarks.bench_funnel [MILLIONS]   # 50

By hand there are two ways, and the faster one is compared: the latest beginning carried along by
window functions, and, from each beginning, the next event by ASOF joins. Neither looks at copies
of an event, at joined ids, or at how long a step takes; all three must count the same people.
Then the same steps with no other event between, for which every event of everybody is read: here,
and by hand with the events that follow. Copies would lie between, so their files are left out.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from benchmarks.raw_events import FIRST, PROJECT, archive
from benchmarks.report import report
from catalog.settings import read
from reports.insights.funnels import FunnelQuestion, answer
from reports.insights.question import Step
from reports.insights.source import Source
from reports.warehouse.engine import Warehouse
from reports.warehouse.execute import quoted
from transforms.funnels import Mode
from transforms.settled import COPIES, suffix

DAYS, PEOPLE_PER_EVENT, RUNS = 90, 0.01, 3
STEPS = ("Product Viewed", "Product Added", "Checkout Started", "Order Completed")
WINDOW_S = 14 * 86_400
LAST = FIRST + timedelta(DAYS - 1)
_EVENTS = """
SELECT coalesce(user_id, anonymous_id) AS person, epoch_us(event_time) AS t, name
FROM read_parquet([{files}]) WHERE name IN ({names})
"""
_WINDOWS = """
WITH e AS ({events}),
a AS (SELECT *, max(CASE WHEN name = '{0}' THEN t END) OVER w AS t1 FROM e WINDOW w AS ({w})),
b AS (SELECT *, max(CASE WHEN name = '{1}' AND t - t1 <= {us} THEN t1 END) OVER w AS t2 FROM a
  WINDOW w AS ({w})),
c AS (SELECT *, max(CASE WHEN name = '{2}' AND t - t2 <= {us} THEN t2 END) OVER w AS t3 FROM b
  WINDOW w AS ({w})),
d AS (SELECT person, max(CASE
    WHEN name = '{3}' AND t - t3 <= {us} THEN 4 WHEN name = '{2}' AND t - t2 <= {us} THEN 3
    WHEN name = '{1}' AND t - t1 <= {us} THEN 2 WHEN name = '{0}' THEN 1 END) AS reached
  FROM c GROUP BY person)
SELECT count_if(reached >= 1), count_if(reached >= 2), count_if(reached >= 3),
  count_if(reached >= 4) FROM d
"""
_ROWS = "PARTITION BY person ORDER BY t ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING"
_JOINS = """
WITH e AS ({events}),
a AS (SELECT person, t AS t1 FROM e WHERE name = '{0}'),
b AS (SELECT person, t AS t2 FROM e WHERE name = '{1}'),
c AS (SELECT person, t AS t3 FROM e WHERE name = '{2}'),
d AS (SELECT person, t AS t4 FROM e WHERE name = '{3}'),
ab AS (SELECT a.person, t1, CASE WHEN t2 - t1 <= {us} THEN t2 END AS t2
  FROM a ASOF LEFT JOIN b ON a.person = b.person AND a.t1 < b.t2),
abc AS (SELECT ab.*, CASE WHEN t3 - t1 <= {us} THEN t3 END AS t3
  FROM ab ASOF LEFT JOIN c ON ab.person = c.person AND ab.t2 < c.t3),
abcd AS (SELECT abc.*, CASE WHEN t4 - t1 <= {us} THEN t4 END AS t4
  FROM abc ASOF LEFT JOIN d ON abc.person = d.person AND abc.t3 < d.t4)
SELECT count(DISTINCT person), count(DISTINCT CASE WHEN t2 IS NOT NULL THEN person END),
  count(DISTINCT CASE WHEN t3 IS NOT NULL THEN person END),
  count(DISTINCT CASE WHEN t4 IS NOT NULL THEN person END) FROM abcd
"""
_FOLLOWING = """
WITH e AS (SELECT coalesce(user_id, anonymous_id) AS person, epoch_us(event_time) AS t, name,
  seq, row FROM read_parquet([{once}])),
s AS (SELECT person, name, t, {leads} FROM e
  WINDOW w AS (PARTITION BY person ORDER BY t, seq, row)),
d AS (SELECT person, CASE WHEN n1 = '{1}' AND t1 - t <= {us} THEN
    CASE WHEN n2 = '{2}' AND t2 - t <= {us} THEN
    CASE WHEN n3 = '{3}' AND t3 - t <= {us} THEN 4 ELSE 3 END ELSE 2 END ELSE 1 END AS reached
  FROM s WHERE name = '{0}')
SELECT count(DISTINCT person) FILTER (reached >= 1), count(DISTINCT person) FILTER (reached >= 2),
  count(DISTINCT person) FILTER (reached >= 3), count(DISTINCT person) FILTER (reached >= 4) FROM d
"""
_LEADS = ", ".join(
    f"lead(name, {n}) OVER w AS n{n}, lead(t, {n}) OVER w AS t{n}" for n in (1, 2, 3)
)


def main(millions: int) -> None:
    """Make the archive, run each way in a process of its own, print."""
    with tempfile.TemporaryDirectory() as name:
        events = millions * 1_000_000
        archive(Path(name), events, DAYS, int(events * PEOPLE_PER_EVENT))
        figures, counts, medians = [], {}, {}
        for way in WAYS:
            found, memory = _apart(way, name)
            counts[way] = found["counts"]
            medians[way] = statistics.median(found["seconds"])
            figures += [
                (f"{way}: seconds", medians[way], "s"),
                (f"{way}: the first time", found["seconds"][0], "s"),
                (f"{way}: memory at its highest", memory, "GB"),
            ]
        for ours, *by_hand in (ORDERED, STRICT):
            assert all(counts[ours] == counts[way] for way in by_hand), counts
            ratio = medians[ours] / min(medians[way] for way in by_hand)
            figures.append((f"{ours} / the faster one by hand", ratio, "x"))
            figures += [
                (f"{ours}: people at step {n}", count, "people")
                for n, count in enumerate(counts[ours], 1)
            ]
        note = f"{len(STEPS)} steps, {DAYS} days, window of 14 days, two threads; median of {RUNS}"
        report("funnel", f"Funnel of {millions} M events", figures, note)


def _apart(way: str, directory: str) -> tuple[dict[str, list[float]], float]:
    """What it printed, and its memory at its highest, GB."""
    command = [sys.executable, "-m", "benchmarks.bench_funnel", "--way", way, directory]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{way} ended with status {status}")
    found: dict[str, list[float]] = json.loads(text)
    return found, usage.ru_maxrss / (1 << 20)


def _engine(mode: Mode) -> Callable[[str], Callable[[], list[int]]]:
    def no_live(project: str) -> tuple[pa.Table, None]:
        raise AssertionError("live numbers are not asked for")

    def on(directory: str) -> Callable[[], list[int]]:
        warehouse = Warehouse(read({"HEADWATER_DATA_DIR": directory}), no_live)
        question = FunnelQuestion(
            steps=tuple(Step(name=name) for name in STEPS),
            mode=mode,
            window_s=WINDOW_S,
            dates=f"{FIRST}..{LAST + timedelta(1)}",
        )

        def run() -> list[int]:
            now_us = (LAST - FIRST.replace(1970, 1, 1)).days * 86_400_000_000
            table = answer(question, Source(warehouse, PROJECT, "UTC", now_us))
            return [row[1] for row in table.rows]

        return run

    return on


def _by_hand(sql: str) -> Callable[[str], Callable[[], list[int]]]:
    def on(directory: str) -> Callable[[], list[int]]:
        paths = sorted(map(str, Path(directory, "archive").rglob("events/**/*.parquet")))
        files = ", ".join(map(quoted, paths))
        once = ", ".join(quoted(path) for path in paths if suffix(COPIES) not in path)
        events = _EVENTS.format(files=files, names=", ".join(map(quoted, STEPS)))
        us = WINDOW_S * 1_000_000
        text = sql.format(*STEPS, events=events, us=us, w=_ROWS, once=once, leads=_LEADS)

        def run() -> list[int]:
            with duckdb.connect(config={"threads": 2, "memory_limit": "6GB"}) as database:
                return list(database.execute(text).fetchall()[0])

        return run

    return on


WAYS: dict[str, Callable[[str], Callable[[], list[int]]]] = {
    "engine": _engine("ordered"),
    "by hand, window functions": _by_hand(_WINDOWS),
    "by hand, ASOF joins": _by_hand(_JOINS),
    "strict": _engine("strict"),
    "strict, by hand": _by_hand(_FOLLOWING),
}
ORDERED, STRICT = tuple(WAYS)[:3], tuple(WAYS)[3:]


def _child(way: str, directory: str) -> None:
    run = WAYS[way](directory)
    seconds, counts = [], []
    for _ in range(RUNS):
        started = time.perf_counter()
        counts = run()
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"seconds": seconds, "counts": counts}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--way"]:
        _child(sys.argv[2], sys.argv[3])
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 50)
