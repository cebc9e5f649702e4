"""A raw archive of many made-up events: what queries and engines are measured on."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from datetime import date, timedelta
from itertools import groupby
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from beam_pipelines.connectors.exact_tables import days_filter, replace_rows, write_rows
from beam_pipelines.connectors.maintenance import ROW_GROUP_ROWS
from beam_pipelines.connectors.warehouse import Added, Warehouse
from catalog.store import Catalog
from schemas_avro import derive, load
from schemas_avro.tables import EVENTS, MARK, NAMESPACE, REPEATS
from transforms.positions import Positions
from transforms.repeats import REPEAT_KINDS
from transforms.settled import COPIES, ONCE, Mark, suffix

FIRST, PROJECT = date(2026, 5, 4), "shop"  # a Monday
FILE_ROWS = 1_000_000  # some 80 MB, as compaction makes them
_COPY_EVERY = 200  # the row after each of these is a copy of it
# A person's events lie hours apart over the whole time; who comes is skewed as it is on a site.
_ROWS = """
SELECT
  'e-' || n AS event_id, '{project}' AS project, 'web' AS source,
  CASE WHEN h % 10 < 6 THEN 'page' ELSE 'track' END AS type,
  CASE
    WHEN h % 10 < 6 THEN NULL
    ELSE ['Product Viewed', 'Product Added', 'Checkout Started', 'Order Completed', 'Searched',
      'Product Viewed', 'Product Viewed', 'Product Added', 'Searched', 'Signed Up'][h % 97 % 10 + 1]
  END AS name,
  CASE WHEN person % 3 > 0 THEN 'user-' || person END AS user_id,
  'a1b2c3d4-' || person AS anonymous_id,
  make_timestamptz({day_us} + (n * 2654435761) % 86400000000) AS event_time,
  event_time + to_seconds(1 + (i <> n)::BIGINT) AS received_time,
  CASE WHEN name = 'Order Completed' THEN h % 9999 END AS revenue_minor,
  CASE WHEN name = 'Order Completed' THEN ['GBP', 'EUR', 'USD'][h % 3 + 1] END AS currency,
  CASE WHEN name = 'Order Completed' THEN 'order-' || n END AS order_id,
  '/item/' || h % 5000 AS page_path, 'shop.example' AS page_host,
  'https://shop.example' || page_path AS page_url,
  ['google.com', 'bing.com', 'news.example', NULL, NULL][h % 5 + 1] AS referrer_host,
  ['newsletter', 'summer', NULL, NULL, NULL, NULL, NULL][h % 7 + 1] AS campaign_name,
  ['Chrome', 'Safari', 'Firefox', 'Edge'][person % 4 + 1] AS browser_name,
  ['mobile', 'desktop', 'tablet'][person % 3 + 1] AS device_type,
  ['GB', 'DE', 'FR', 'US', 'JP', 'BR'][person % 6 + 1] AS country,
  '{{"sku":"sku-' || h % 5000 || '","price":' || (h % 20000) / 100.0 || ',"list":"'
    || md5(h::VARCHAR) || '","note":"' || md5((h // 7)::VARCHAR) || '"}}' AS properties,
  0::INTEGER AS flags, 'bench-0' AS producer, {seq}::BIGINT AS seq,
  (i - {first})::INTEGER AS row
FROM (
  SELECT i, n, (hash(n, 1) % 1000000007)::BIGINT AS h,
    (hash(n, 2) % 1000003 * (hash(n, 3) % 1000003)
      // 1000003 * {people} // 1000003)::BIGINT AS person
  FROM (
    SELECT i - (i % {copy_every} = 0 AND i > {first})::BIGINT AS n, i
    FROM range({first}, {last}) AS r(i)
  )
)
"""


def archive(directory: Path, events: int, days: int, people: int) -> list[str]:
    """Make an archive of so many events on so many days; the paths of its files.

    One row in 200 is a copy of another, and table `repeats` says so; files are as compaction makes
    them after a rollup.
    """
    warehouse = Warehouse(f"{directory}/archive")
    Path(directory, "archive", NAMESPACE, EVENTS.name, "data").mkdir(parents=True)
    warehouse.table(EVENTS)
    pieces = []
    a_day = -(-events // days)
    for day in range(days):
        for first in range(day * a_day, min(events, (day + 1) * a_day), FILE_ROWS):
            last = min(first + FILE_ROWS, (day + 1) * a_day, events)
            pieces.append((str(directory), len(pieces), day, first, last, people))
    repeats = _repeats(warehouse, pieces)
    marks = [
        Mark.of(Positions.of([("bench-0", seq, seq)]), _repeated(seq, first, last)).to_json()
        for _, seq, _, first, last, _ in pieces
    ]
    with ProcessPoolExecutor(2) as pool:
        paths = [path for two in pool.map(_write, pieces, marks) for path in two]
    touched = tuple((FIRST + timedelta(day)).isoformat() for day in range(days))
    positions = Positions.of([("bench-0", 0, len(pieces) - 1)])
    until = _us(days)
    files = tuple(f"file://{path}" for path in paths)
    warehouse.add(EVENTS, Added(files, positions, {PROJECT: touched}, until))
    snapshot = warehouse.table(EVENTS).current_snapshot()
    assert snapshot is not None
    days_of_repeats = days_filter((PROJECT, FIRST + timedelta(day)) for day, _ in repeats)
    written = [file for _, file in repeats]
    replace_rows(warehouse, REPEATS, written, days_of_repeats, {"": snapshot.snapshot_id})
    catalog = Catalog(f"sqlite:///{directory}/catalog.db")
    catalog.migrate()
    catalog.add_project(PROJECT, time_zone="Europe/London")
    return paths


def _us(day: int) -> int:
    return (FIRST - date(1970, 1, 1)).days * 86_400_000_000 + day * 86_400_000_000


def _write(piece: tuple[str, int, int, int, int, int], mark: str) -> tuple[str, str]:
    """Two files: what counts, and what does not."""
    directory, seq, day, first, last, people = piece
    sql = _ROWS.format(
        project=PROJECT, day_us=_us(day), seq=seq, first=first, last=last, people=people,
        copy_every=_COPY_EVERY,
    )  # fmt: skip
    schema = derive.arrow(load("event"))
    empty = derive.duckdb_empty(load("event"))
    with duckdb.connect(config={"threads": 1}) as database:
        database.execute("SET TimeZone = 'UTC'")
        table = database.sql(
            f"SELECT * FROM ({empty} UNION ALL BY NAME {sql}) ORDER BY type, event_time"
        ).to_arrow_table()
    table = table.select(schema.names).cast(schema).replace_schema_metadata({MARK: mark})
    copy = pc.is_in(table["row"], pa.array(_copies(first, last), pa.int32()))
    paths = []
    for kind, rows in ((ONCE, table.filter(pc.invert(copy))), (COPIES, table.filter(copy))):
        name = f"{FIRST + timedelta(day)}-{seq:06d}{suffix(kind)}.parquet"
        path = Path(directory, "archive", NAMESPACE, EVENTS.name, "data", name)
        pq.write_table(rows, path, compression="zstd", row_group_size=ROW_GROUP_ROWS)
        paths.append(str(path))
    return paths[0], paths[1]


def _copies(first: int, last: int) -> list[int]:
    """Rows of a piece that are copies of the one before; the first copies none."""
    return [n - first for n in range(first + 1, last) if n % _COPY_EVERY == 0]


def _repeated(seq: int, first: int, last: int) -> pl.DataFrame:
    """Places of the copies in a piece."""
    rows = pl.DataFrame({"row": _copies(first, last)}, schema={"row": pl.Int32})
    seqs = pl.lit(seq, pl.Int64)
    return rows.with_columns(project=pl.lit(PROJECT), producer=pl.lit("bench-0"), seq=seqs)


def _repeats(
    warehouse: Warehouse, pieces: list[tuple[str, int, int, int, int, int]]
) -> list[tuple[int, str]]:
    """Files of the copies, as a rollup would write them down, each with its day."""
    written = []
    for day, of_day in groupby(pieces, key=lambda piece: piece[2]):
        rows = [
            _repeated(seq, first, last).with_columns(
                day=pl.lit(FIRST + timedelta(day)), kind=pl.lit(REPEAT_KINDS[0])
            )
            for _, seq, _, first, last, _ in of_day
        ]
        frame = pl.concat(rows).select(*derive.wire(load(REPEATS.record)))
        written += [(day, path) for path in write_rows(warehouse, REPEATS, frame)]
    return written
