"""The same queries on BigQuery's emulator and in the SQL box, over the same rows: same answers."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from google.cloud import bigquery as google

from beam_pipelines.connectors.bigquery_copy import as_parquet
from reports.warehouse.engine import Warehouse
from reports.warehouse.views import TABLES
from schemas_avro import derive, load
from schemas_avro.tables import EVENTS
from tests.bigquery_emulator import bigquery_in_environment, google_client
from tests.journeys.two_engines import agree, copy, of_bigquery, put, same_rows, sorted_rows
from tests.reports import world
from tests.streams import DAY_US, NOON, event, order

pytestmark = pytest.mark.journey

# Name -> query. Where there is an ORDER BY the order is compared as well.
QUERIES = {
    "count": "SELECT COUNT(*) AS n FROM events",
    "by name": "SELECT name, COUNT(*) AS n FROM events GROUP BY name ORDER BY n DESC, name",
    "by day in a zone": """
        SELECT DATE(event_time, 'Europe/London') AS day, COUNT(*) AS n
        FROM events GROUP BY day ORDER BY day""",
    "active people": """
        SELECT DATE(event_time) AS day, COUNT(DISTINCT COALESCE(user_id, anonymous_id)) AS people
        FROM events GROUP BY 1 ORDER BY 1""",
    "revenue": """
        SELECT currency, SUM(revenue_minor) / 100 AS net, COUNTIF(revenue_minor < 0) AS refunds
        FROM events WHERE revenue_minor IS NOT NULL GROUP BY currency""",
    "average and spread": """
        SELECT currency, AVG(revenue_minor) AS mean, STDDEV(revenue_minor) AS sd,
          MIN(revenue_minor) AS least, MAX(revenue_minor) AS most
        FROM events WHERE currency IS NOT NULL GROUP BY currency""",
    "a property": """
        SELECT JSON_VALUE(properties, '$.sku') AS sku, COUNT(*) AS n
        FROM events GROUP BY sku ORDER BY n DESC, sku""",
    "a number in a property": """
        SELECT SUM(SAFE_CAST(JSON_VALUE(properties, '$.qty') AS INT64)) AS qty
        FROM events WHERE JSON_VALUE(properties, '$.sku') = 'A-1'""",
    "a nested property": """
        SELECT JSON_VALUE(properties, '$.deep.colour') AS colour, COUNT(*) AS n
        FROM events GROUP BY colour""",
    "between": """
        SELECT COUNT(*) AS n FROM events
        WHERE event_time >= TIMESTAMP '{2}' AND event_time < TIMESTAMP '{4}'""",
    "last days": """
        SELECT DATE_DIFF(DATE '{6}', DATE(event_time), DAY) AS ago, COUNT(*) AS n
        FROM events GROUP BY ago ORDER BY ago""",
    "by week": """
        SELECT DATE_TRUNC(DATE(event_time), WEEK) AS week, COUNT(*) AS n
        FROM events GROUP BY week ORDER BY week""",
    "by ISO week": """
        SELECT DATE_TRUNC(DATE(event_time), ISOWEEK) AS week, COUNT(*) AS n
        FROM events GROUP BY week ORDER BY week""",
    "by week from Monday": """
        SELECT DATE_TRUNC(DATE(event_time), WEEK(MONDAY)) AS week, COUNT(*) AS n
        FROM events GROUP BY week ORDER BY week""",
    "by weekday and hour": """
        SELECT EXTRACT(DAYOFWEEK FROM event_time) AS weekday, EXTRACT(HOUR FROM event_time) AS hour,
          COUNT(*) AS n
        FROM events GROUP BY 1, 2 ORDER BY 1, 2""",
    "by hour": """
        SELECT TIMESTAMP_TRUNC(event_time, HOUR) AS hour, COUNT(*) AS n
        FROM events GROUP BY hour ORDER BY hour LIMIT 10""",
    "first event of each": """
        SELECT user_id, event_id FROM events WHERE user_id IS NOT NULL
        QUALIFY ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY event_time, event_id) = 1""",
    "time to the next": """
        SELECT event_id, TIMESTAMP_DIFF(LEAD(event_time) OVER (
            PARTITION BY user_id ORDER BY event_time, event_id), event_time, SECOND) AS gap
        FROM events WHERE user_id IS NOT NULL""",
    "running total": """
        SELECT day, SUM(n) OVER (ORDER BY day) AS total
        FROM (SELECT DATE(event_time) AS day, COUNT(*) AS n FROM events GROUP BY day)
        ORDER BY day""",
    "who came back": """
        WITH firsts AS (
          SELECT user_id, MIN(DATE(event_time)) AS first FROM events
          WHERE user_id IS NOT NULL GROUP BY user_id)
        SELECT f.first, DATE_DIFF(DATE(e.event_time), f.first, DAY) AS day,
          COUNT(DISTINCT e.user_id) AS people
        FROM firsts AS f JOIN events AS e USING (user_id)
        GROUP BY 1, 2 ORDER BY 1, 2""",
    "funnel of two steps": """
        WITH seen AS (SELECT user_id, MIN(event_time) AS at FROM events WHERE name = 'view'
          AND user_id IS NOT NULL GROUP BY user_id)
        SELECT COUNT(DISTINCT s.user_id) AS seen, COUNT(DISTINCT b.user_id) AS bought
        FROM seen AS s LEFT JOIN events AS b
          ON b.user_id = s.user_id AND b.name = 'Order Completed' AND b.event_time >= s.at""",
    "sources": """
        SELECT IFNULL(campaign_source, '(none)') AS via,
          SAFE_DIVIDE(COUNTIF(name = 'Order Completed'), COUNT(*)) AS rate
        FROM events GROUP BY via ORDER BY via""",
    "hosts of addresses": """
        SELECT REGEXP_EXTRACT(page_url, r'^https?://([^/]+)') AS host, COUNT(*) AS n
        FROM events WHERE page_url IS NOT NULL GROUP BY host ORDER BY host""",
    "texts": """
        SELECT DISTINCT UPPER(SUBSTR(name, 1, 3)) AS short, LENGTH(name) AS length,
          STARTS_WITH(name, 'v') AS v, REPLACE(name, ' ', '_') AS slug, CONCAT(name, '!') AS loud
        FROM events""",
    "cases": """
        SELECT CASE WHEN revenue_minor IS NULL THEN 'none' WHEN revenue_minor < 1000 THEN 'small'
          ELSE 'large' END AS size, COUNT(*) AS n
        FROM events GROUP BY size ORDER BY size""",
    "lists": """
        SELECT user_id, ARRAY_LENGTH(ARRAY_AGG(event_id)) AS n,
          STRING_AGG(DISTINCT name, '|' ORDER BY name) AS names
        FROM events WHERE user_id IS NOT NULL GROUP BY user_id""",
    "unnested": """
        SELECT word, COUNT(*) AS n FROM events, UNNEST(SPLIT(name, ' ')) AS word
        GROUP BY word ORDER BY word""",
    "days without a gap": """
        SELECT day, COUNT(e.event_id) AS n
        FROM UNNEST(GENERATE_DATE_ARRAY(DATE '{0}', DATE '{8}')) AS day
        LEFT JOIN events AS e ON DATE(e.event_time) = day AND e.name = 'cart'
        GROUP BY day ORDER BY day""",
    "union": """
        SELECT 'people' AS what, COUNT(DISTINCT user_id) AS n FROM events
        UNION ALL SELECT 'devices', COUNT(DISTINCT anonymous_id) FROM events ORDER BY what""",
    "having and subquery": """
        SELECT user_id, COUNT(*) AS n FROM events
        WHERE user_id IN (SELECT user_id FROM events WHERE revenue_minor > 0)
        GROUP BY user_id HAVING COUNT(*) > 5 ORDER BY n DESC, user_id""",
    "nulls and order": """
        SELECT revenue_minor, event_id FROM events ORDER BY revenue_minor, event_id LIMIT 330""",
    "nulls last in descending order": """
        SELECT revenue_minor, event_id FROM events ORDER BY revenue_minor DESC, event_id""",
    "rollup": """
        SELECT name, currency, COUNT(*) AS n FROM events GROUP BY ROLLUP(name, currency)""",
    "pivot by hand": """
        SELECT DATE(event_time) AS day, COUNTIF(name = 'view') AS views,
          COUNTIF(name = 'cart') AS carts, LOGICAL_OR(revenue_minor > 0) AS paid
        FROM events GROUP BY day ORDER BY day""",
    "the exact table": """
        SELECT day, metric, value, SAFE_DIVIDE(value, denominator) AS ratio
        FROM daily ORDER BY day, metric""",
    "exact table and events": """
        SELECT d.day, d.value, COUNT(e.event_id) AS n
        FROM daily AS d LEFT JOIN events AS e ON DATE(e.event_time) = d.day
        WHERE d.metric = 'events' GROUP BY 1, 2 ORDER BY 1""",
    "formatted dates": """
        SELECT FORMAT_DATE('%Y-%m', DATE(event_time)) AS month,
          LAST_DAY(DATE(event_time)) AS last, COUNT(*) AS n FROM events GROUP BY 1, 2""",
    "epochs": """
        SELECT event_id, UNIX_MICROS(event_time) AS us, UNIX_SECONDS(event_time) AS s
        FROM events""",
    "numbers": """
        SELECT event_id, ROUND(revenue_minor / 7, 2) AS seventh, MOD(revenue_minor, 7) AS rest,
          DIV(revenue_minor, 7) AS whole, ABS(revenue_minor) AS size, SIGN(revenue_minor) AS sign
        FROM events WHERE revenue_minor IS NOT NULL""",
    "parameters": """
        SELECT name, COUNT(*) AS n FROM events
        WHERE event_time >= @since AND name IN UNNEST(@names)
          AND COALESCE(revenue_minor, 0) >= @least
        GROUP BY name ORDER BY name""",
}  # fmt: skip
# What a table made of events is, written anew for BigQuery, which has none of that name.
EXPOSED = """
    WITH exposures AS (
      SELECT COALESCE(NULLIF(user_id, ''), NULLIF(anonymous_id, '')) AS person, event_time,
        COALESCE(NULLIF(JSON_VALUE(properties, '$.experiment_id'), ''),
          JSON_VALUE(properties, '$.experiment_name')) AS experiment,
        COALESCE(NULLIF(JSON_VALUE(properties, '$.variation_id'), ''),
          JSON_VALUE(properties, '$.variant')) AS variant
      FROM events WHERE type = 'track' AND name IN ('Experiment Viewed', 'Experiment Started')),
    seen AS (
      SELECT experiment, person, COUNT(DISTINCT variant) AS variants
      FROM exposures GROUP BY experiment, person)
    SELECT e.experiment, e.variant, e.person, MIN(e.event_time) AS first_exposed,
      MAX(e.event_time) AS last_exposed, COUNT(*) AS exposures, ANY_VALUE(s.variants) AS variants
    FROM exposures AS e JOIN seen AS s ON s.experiment = e.experiment AND s.person = e.person
    WHERE e.experiment IS NOT NULL
    GROUP BY e.experiment, e.variant, e.person"""
FIRST = datetime.fromtimestamp(NOON / 1e6, UTC).date()
GIVEN: dict[str, dict[str, Any]] = {
    "parameters": {
        "since": datetime.fromtimestamp((NOON + DAY_US) / 1e6, UTC),
        "names": ["view", "Order Completed"],
        "least": 0,
    }
}
# Where the emulator itself is wrong: query -> what it does otherwise than BigQuery.
EMULATOR_WRONG = {
    "by week from Monday": "WEEK(MONDAY) begins on Sunday there, as WEEK does",
    "by ISO week": "ISOWEEK begins on Sunday there, as WEEK does",
}


def rows() -> list[dict[str, Any]]:
    rng = random.Random(9)
    made: list[dict[str, Any]] = []
    for number in range(400):
        at = NOON + rng.randrange(8 * 24) * 3_600_000_000 + rng.randrange(3_600) * 1_000_000
        sku = {"sku": rng.choice(["A-1", "B-2"]), "qty": rng.choice([1, 2, "3", "x"])}
        if rng.random() < 0.3:
            sku["deep"] = {"colour": rng.choice(["red", None])}
        fields: dict[str, Any] = {
            "user_id": rng.choice([None, *(f"u{n}" for n in range(15))]),
            "anonymous_id": f"a{rng.randrange(30)}",
            "campaign_source": rng.choice([None, "mail", "search"]),
            "page_url": rng.choice([None, "https://shop.example/a", "http://b.example:80/?x=1"]),
            "properties": json.dumps(sku) if rng.random() < 0.8 else None,
        }
        if rng.random() < 0.25:
            pence, currency = rng.randrange(-900, 5000), rng.choice(["GBP", "EUR"])
            made.append(order(f"e{number}", at, pence, currency=currency, **fields))
        else:
            made.append(event(f"e{number}", at, name=rng.choice(["view", "cart"]), **fields))
    return made + exposures()


def exposures() -> list[dict[str, Any]]:
    rng = random.Random(10)
    made = []
    for number in range(120):
        shown = {
            rng.choice(["experiment_id", "experiment_name"]): rng.choice(["button", "price"]),
            rng.choice(["variation_id", "variant"]): rng.choice(["a", "b", 1]),
        }
        if rng.random() < 0.3:
            shown |= rng.choice([{"experiment_id": ""}, {"variation_id": ""}])
        at = NOON + rng.randrange(8 * 24) * 3_600_000_000
        made.append(
            event(
                f"x{number}", at, name=rng.choice(["Experiment Viewed", "Experiment Started"]),
                user_id=rng.choice([None, "", *(f"u{n}" for n in range(15))]),
                anonymous_id=f"a{rng.randrange(9)}", properties=json.dumps(shown),
            )
        )  # fmt: skip
    return made


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("engines")
    world.archive(made, rows())
    for day in range(3):
        world.count_day(
            made, FIRST + timedelta(days=day),
            ("events", "{}", 10 + day, None), ("conversion_rate", "{}", day, 3 * day),
        )  # fmt: skip
    return made


@pytest.fixture(scope="module")
def box(directory: Path) -> Warehouse:
    nothing = pa.table({"minute": pa.array([], pa.timestamp("us", tz="UTC"))})
    return Warehouse(world.settings(directory), lambda _: (nothing, None))


@pytest.fixture(scope="module")
def emulator(box: Warehouse) -> Iterator[google.Client]:
    """The same rows in tables of the same names."""
    with bigquery_in_environment(), google_client() as client:
        paths = list(box.files.of(TABLES["events"]).paths)
        body, refused = as_parquet(paths)
        assert refused == 0
        put(client, "events", body, derive.bigquery(load(EVENTS.record), json_columns=False))
        assert copy(box, client, "daily")
        yield client


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(one, marks=pytest.mark.xfail(reason=EMULATOR_WRONG[one], strict=True))
        if one in EMULATOR_WRONG
        else one
        for one in QUERIES
    ],
)
def test_both_give_the_same_answer(box: Warehouse, emulator: google.Client, name: str) -> None:
    days = [(FIRST + timedelta(days=n)).isoformat() for n in range(9)]
    sql = QUERIES[name].format(*days) if "{" in QUERIES[name] else QUERIES[name]
    agree(box, emulator, sql, GIVEN.get(name))


def test_a_table_made_of_events_is_what_bigquery_makes_of_them(
    box: Warehouse, emulator: google.Client
) -> None:
    columns = "experiment, variant, person, first_exposed, last_exposed, exposures, variants"
    ours = sorted_rows(box.ask("demo", f"SELECT {columns} FROM experiments").rows)
    theirs = sorted_rows(of_bigquery(emulator, EXPOSED))
    assert {row[-1] for row in ours} >= {1, 2}
    same_rows(ours, theirs)
