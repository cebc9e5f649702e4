"""The SQL box on raw events beside the same SQL, by hand, on the same Parquet in DuckDB.

python -m benchmarks.bench_sql [MILLIONS]   # 100

The box counts copies of an event once, translates, and runs in a process of its own; by hand
nobody does. Answers are compared where no copy can change them.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from benchmarks.raw_events import PROJECT, archive
from benchmarks.report import percentile, report
from catalog.settings import read
from reports.warehouse.engine import Warehouse
from reports.warehouse.execute import quoted

_Rows = list[tuple[Any, ...]]
DAYS, PEOPLE_PER_EVENT, RUNS = 90, 0.01, 3
MONTH = "event_time >= TIMESTAMP '2026-07-01' AND event_time < TIMESTAMP '2026-08-01'"
WEEK = "event_time >= TIMESTAMP '2026-07-06' AND event_time < TIMESTAMP '2026-07-13'"
_JSON = "JSON_VALUE(properties, '$.sku')"
# (BigQuery's dialect, DuckDB's or empty where it is the same)
QUERIES = (
    ("SELECT COUNT(*) FROM events", ""),
    ("SELECT name, COUNT(*) AS n FROM events GROUP BY name ORDER BY n DESC", ""),
    (
        "SELECT DATE(event_time) AS day, COUNT(*) AS n FROM events GROUP BY day ORDER BY day",
        "SELECT event_time::DATE AS day, COUNT(*) AS n FROM events GROUP BY day ORDER BY day",
    ),
    (
        f"SELECT DATE(event_time) AS day, COUNT(DISTINCT user_id) FROM events WHERE {MONTH} "
        "GROUP BY day ORDER BY day",
        "SELECT event_time::DATE AS day, COUNT(DISTINCT user_id) FROM events "
        f"WHERE {MONTH} GROUP BY day ORDER BY day",
    ),
    (
        f"SELECT page_path, COUNT(*) AS n FROM events WHERE {MONTH} AND type = 'page' "
        "GROUP BY page_path ORDER BY n DESC, page_path LIMIT 20",
        "",
    ),
    (
        "SELECT currency, SUM(revenue_minor), COUNT(DISTINCT order_id) FROM events "
        "WHERE name = 'Order Completed' GROUP BY currency ORDER BY currency",
        "",
    ),
    (
        "SELECT country, device_type, COUNT(*), COUNT(DISTINCT anonymous_id) FROM events "
        f"WHERE {WEEK} GROUP BY country, device_type ORDER BY 1, 2",
        "",
    ),
    (
        f"SELECT {_JSON} AS sku, COUNT(*) AS n FROM events WHERE {WEEK} "
        "AND name = 'Product Viewed' GROUP BY sku ORDER BY n DESC, sku LIMIT 20",
        "SELECT json_extract_string(properties, '$.sku') AS sku, COUNT(*) AS n FROM events "
        f"WHERE {WEEK} AND name = 'Product Viewed' GROUP BY sku ORDER BY n DESC, sku LIMIT 20",
    ),
    (
        "SELECT referrer_host, COUNT(*) AS n, COUNTIF(name = 'Order Completed') AS sold "
        f"FROM events WHERE {MONTH} GROUP BY referrer_host ORDER BY n DESC, 1",
        "SELECT referrer_host, COUNT(*) AS n, count_if(name = 'Order Completed') AS sold "
        f"FROM events WHERE {MONTH} GROUP BY referrer_host ORDER BY n DESC, 1",
    ),
    (
        f"SELECT user_id, COUNT(*) AS n FROM events WHERE {MONTH} AND user_id IS NOT NULL "
        "GROUP BY user_id ORDER BY n DESC, user_id LIMIT 100",
        "",
    ),
    (
        "SELECT campaign_name, SUM(revenue_minor) AS minor FROM events "
        f"WHERE {MONTH} AND currency = 'GBP' GROUP BY campaign_name ORDER BY 1",
        "",
    ),
    (
        f"WITH seen AS (SELECT DISTINCT anonymous_id FROM events WHERE {WEEK} "
        "AND name = 'Product Viewed'), bought AS (SELECT DISTINCT anonymous_id FROM events "
        f"WHERE {WEEK} AND name = 'Order Completed') SELECT COUNT(*), COUNT(bought.anonymous_id) "
        "FROM seen LEFT JOIN bought ON seen.anonymous_id = bought.anonymous_id",
        "",
    ),
)
# Copies have the ids of what they copy.
UNCHANGED = {asked for asked, _ in QUERIES if "COUNT(DISTINCT user_id)" in asked or "seen" in asked}


def main(millions: int) -> None:
    """Make the archive, run each query both ways in turn, print."""
    with tempfile.TemporaryDirectory() as name:
        directory, events = Path(name), millions * 1_000_000
        paths = archive(directory, events, DAYS, int(events * PEOPLE_PER_EVENT))
        size = sum(Path(path).stat().st_size for path in paths)
        warehouse = Warehouse(read({"HEADWATER_DATA_DIR": name}), _no_live)
        by_hand = _by_hand(paths)
        ours, theirs, ratios = [], [], []
        for asked, other in QUERIES:
            took = []
            for _ in range(RUNS):
                mine, found = _timed(lambda q=asked: warehouse.ask(PROJECT, q).rows)
                hand, wanted = _timed(lambda q=other or asked: by_hand(q))
                took.append((mine, hand))
                if asked in UNCHANGED:
                    assert found == wanted, f"{asked}: {found[:3]}, {wanted[:3]}"
            ours += [mine for mine, _ in took]
            theirs += [hand for _, hand in took]
            ratios.append(sum(mine for mine, _ in took) / sum(hand for _, hand in took))
            print(f"{ratios[-1]:5.2f} x  {took[-1][0]:6.2f} s  {asked[:90]}", flush=True)
    report(
        "sql",
        f"SQL on {millions} M raw events",
        [
            ("the SQL box, p95", percentile(ours, 0.95), "s"),
            ("the SQL box, median", percentile(ours, 0.5), "s"),
            ("by hand in DuckDB, p95", percentile(theirs, 0.95), "s"),
            ("ratio of all the time", sum(ours) / sum(theirs), "x"),
            ("ratio of a query, median", percentile(ratios, 0.5), "x"),
            ("ratio of a query, highest", max(ratios), "x"),
            ("bytes an event", size / events, "bytes"),
        ],
        f"{len(QUERIES)} queries, {RUNS} times each, in turn; {DAYS} days, one copy in 200 events; "
        "two threads, 2 GB each",
    )


def _no_live(project: str) -> tuple[pa.Table, None]:
    raise AssertionError("live numbers are not asked for")


def _by_hand(paths: list[str]) -> Callable[[str], _Rows]:
    listed = ", ".join(map(quoted, paths))

    def run(sql: str) -> _Rows:
        with duckdb.connect(config={"threads": 2, "memory_limit": "2GB"}) as database:
            database.execute("SET TimeZone = 'UTC'")
            database.execute(f"CREATE VIEW events AS SELECT * FROM read_parquet([{listed}])")
            return database.execute(sql).fetchall()

    return run


def _timed(run: Callable[[], _Rows]) -> tuple[float, _Rows]:
    started = time.perf_counter()
    found = run()
    assert found, "every query has an answer"
    return time.perf_counter() - started, found


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 100)
