"""Every table beside events and daily, and typed views: BigQuery's emulator and the SQL box agree.

The rows are what our own jobs made; the emulator gets a copy of them, and for typed views the SQL
that is meant for BigQuery, over its own events.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.cloud import bigquery as google

from beam_pipelines.connectors.bigquery_copy import as_parquet
from catalog.schemas import SchemaRegistry
from catalog.typed_views import typed_views
from reports.warehouse.engine import Warehouse
from reports.warehouse.execute import COHORTS
from reports.warehouse.relations import MADE
from reports.warehouse.views import TABLES
from schemas_avro import derive, load
from schemas_avro.tables import EVENTS, LEDGER, PARITY
from tests.beam_pipelines.test_identity import run as join_people
from tests.beam_pipelines.test_rollup import run as roll_up
from tests.beam_pipelines.test_sessions import run as find_sessions
from tests.bigquery_emulator import DATASET, PROJECT, bigquery_in_environment, google_client
from tests.catalog.test_typed_views import maybe, record
from tests.journeys.test_two_engines import exposures
from tests.journeys.two_engines import agree, copy, put
from tests.reports import world
from tests.streams import DAY_US, MINUTE_US, NOON, event, order

pytestmark = pytest.mark.journey

COPIED = sorted({*TABLES, *MADE, COHORTS} - {"events"})
COHORT_RULES = {
    "Buyers": {"is": "did", "event": {"name": "Order Completed"}, "count": 2},
    "Readers": {"is": "did", "event": {"name": "Shop"}},
}
QUERIES = {
    "sessions by day": """
        SELECT day, COUNT(*) AS sessions, COUNT(DISTINCT person) AS people, SUM(bounce) AS bounces,
          AVG(duration_us) / 1000000 AS seconds
        FROM sessions GROUP BY day ORDER BY day""",
    "revenue of sessions": """
        SELECT entry_page, SUM(CAST(JSON_VALUE(revenue, '$.GBP') AS INT64)) AS gbp,
          COUNTIF(JSON_VALUE(revenue, '$.EUR') IS NOT NULL) AS with_euros
        FROM sessions GROUP BY entry_page ORDER BY entry_page""",
    "sessions and their events": """
        SELECT s.person, s.started_at, ANY_VALUE(s.events) AS said, COUNT(e.event_id) AS found
        FROM sessions AS s JOIN events AS e
          ON COALESCE(e.user_id, e.anonymous_id) = s.person
          AND e.event_time BETWEEN s.started_at AND s.ended_at
        GROUP BY s.person, s.started_at""",
    "time between sessions": """
        SELECT person, started_at, TIMESTAMP_DIFF(started_at, LAG(ended_at) OVER (
          PARTITION BY person ORDER BY started_at), MINUTE) AS pause
        FROM sessions ORDER BY person, started_at""",
    "periods of every grain": """
        SELECT grain, period_start, TIMESTAMP_DIFF(period_end, period_start, HOUR) AS hours, value
        FROM periods WHERE metric = 'events' AND dimensions = '{}'
        ORDER BY grain, period_start""",
    "revenue of weeks": """
        SELECT DATE(period_start, 'Europe/London') AS week,
          JSON_VALUE(dimensions, '$.currency') AS currency, value / 100 AS net
        FROM periods WHERE grain = 'week' AND metric = 'revenue' ORDER BY week, currency""",
    "periods and events": """
        SELECT p.period_start, ANY_VALUE(p.value) AS said, COUNT(e.event_id) AS found
        FROM periods AS p JOIN events AS e
          ON e.event_time >= p.period_start AND e.event_time < p.period_end
        WHERE p.grain = 'hour' AND p.metric = 'events' AND p.dimensions = '{}'
        GROUP BY p.period_start ORDER BY p.period_start""",
    "rates of periods": """
        SELECT grain, SAFE_DIVIDE(SUM(value), SUM(denominator)) AS rate
        FROM periods WHERE metric = 'conversion_rate' GROUP BY grain ORDER BY grain""",
    "events of a cohort": """
        SELECT name, COUNT(*) AS n FROM events
        WHERE COALESCE(user_id, anonymous_id) IN (SELECT id FROM cohorts WHERE cohort = 'Buyers')
        GROUP BY name ORDER BY name""",
    "people by cohort": """
        SELECT c.cohort, COUNT(*) AS people, SUM(p.orders) AS orders
        FROM cohorts AS c JOIN people AS p ON p.person = c.id
        GROUP BY c.cohort ORDER BY c.cohort""",
    "people by how many ids": """
        SELECT ARRAY_LENGTH(user_ids) AS users, ARRAY_LENGTH(anonymous_ids) AS devices,
          COUNT(*) AS people, SUM(events) AS events, SUM(orders) AS orders
        FROM people GROUP BY 1, 2 ORDER BY 1, 2""",
    "traits of people": """
        SELECT JSON_VALUE(traits, '$.plan') AS plan, COUNT(*) AS people,
          MIN(first_seen) AS first, MAX(last_seen) AS last
        FROM people GROUP BY plan ORDER BY plan""",
    "devices of people and their events": """
        SELECT device, COUNT(e.event_id) AS events
        FROM people AS p, UNNEST(p.anonymous_ids) AS device
        JOIN events AS e ON e.anonymous_id = device
        GROUP BY device ORDER BY device""",
    "new people by day": """
        SELECT DATE(first_seen, 'Europe/London') AS day, COUNT(*) AS people
        FROM people GROUP BY day ORDER BY day""",
    "identities by kind": """
        SELECT kind, COUNT(*) AS ids, COUNT(DISTINCT person_id) AS people, MAX(ids) AS most
        FROM identities GROUP BY kind ORDER BY kind""",
    "events of joined people": """
        SELECT i.person_id, COUNT(*) AS n, COUNT(DISTINCT e.name) AS names
        FROM identities AS i JOIN events AS e ON i.kind = 'user' AND i.id = e.user_id
        GROUP BY i.person_id""",
    "people of variants": """
        SELECT experiment, variant, COUNT(DISTINCT person) AS people, SUM(exposures) AS shown,
          COUNTIF(variants > 1) AS mixed
        FROM experiments GROUP BY experiment, variant ORDER BY experiment, variant""",
    "orders after an exposure": """
        SELECT x.experiment, x.variant, COUNT(DISTINCT e.order_id) AS orders,
          SUM(e.revenue_minor) AS revenue
        FROM experiments AS x LEFT JOIN events AS e
          ON COALESCE(e.user_id, e.anonymous_id) = x.person AND e.event_time >= x.first_exposed
        GROUP BY x.experiment, x.variant ORDER BY x.experiment, x.variant""",
    "dead letters by day and reason": """
        SELECT DATE(received_time) AS day, reason, COUNT(*) AS letters
        FROM dead_letters GROUP BY day, reason ORDER BY day, reason""",
    "originals of dead letters": """
        SELECT JSON_VALUE(original_text, '$.event') AS name,
          CAST(JSON_VALUE(original_text, '$.properties.price') AS FLOAT64) AS price,
          LENGTH(original) AS bytes
        FROM dead_letters WHERE reason <> 'unreadable'""",
    "refused beside accepted": """
        SELECT e.day, e.n AS accepted, IFNULL(d.n, 0) AS refused
        FROM (SELECT DATE(received_time) AS day, COUNT(*) AS n FROM events GROUP BY day) AS e
        LEFT JOIN (SELECT DATE(received_time) AS day, COUNT(*) AS n FROM dead_letters GROUP BY day)
          AS d USING (day)
        ORDER BY e.day""",
    "the ledger by hour": """
        SELECT TIMESTAMP_TRUNC(minute, HOUR) AS hour, SUM(received) AS received,
          SUM(archived + duplicates + dead_lettered + suppressed + in_flight) AS accounted
        FROM ledger GROUP BY hour ORDER BY hour""",
    "problems of the ledger": """
        SELECT source, problem, COUNT(*) AS minutes
        FROM ledger, UNNEST(SPLIT(problems, '; ')) AS problem
        GROUP BY source, problem ORDER BY source, problem""",
    "the ledger beside events": """
        SELECT l.minute, l.archived, COUNT(e.event_id) AS found
        FROM ledger AS l LEFT JOIN events AS e
          ON TIMESTAMP_TRUNC(e.received_time, MINUTE) = l.minute AND e.source = l.source
        GROUP BY l.minute, l.archived, l.source ORDER BY l.minute, l.archived""",
    "parity by statistic": """
        SELECT statistic, SUM(live) AS live, SUM(exact) AS exact,
          LOGICAL_AND(ABS(sketch) <= bound AND unexplained = 0) AS well
        FROM parity GROUP BY statistic ORDER BY statistic""",
    "parity beside the exact table": """
        SELECT p.day, JSON_VALUE(p.dimensions, '$.currency') AS currency, p.exact - d.value AS apart
        FROM parity AS p JOIN daily AS d
          ON d.day = p.day AND d.metric = p.statistic AND d.dimensions = p.dimensions
        ORDER BY p.day, currency""",
    "typed by day": """
        SELECT DATE(event_time) AS day, SUM(qty) AS qty, SUM(price) AS price,
          COUNTIF(gift) AS gifts, AVG(weight) AS weight
        FROM track_bought GROUP BY day ORDER BY day""",
    "typed dates and instants": """
        SELECT event_id, due, DATE_DIFF(due, DATE(event_time), DAY) AS ahead, shipped,
          TIMESTAMP_DIFF(shipped, event_time, SECOND) AS later
        FROM track_bought ORDER BY event_id""",
    "typed lists": """
        SELECT JSON_VALUE(tags, '$[0]') AS tag, COUNT(*) AS n, MIN(property_name) AS name
        FROM track_bought GROUP BY tag ORDER BY tag""",
    "typed as a whole": "SELECT * FROM track_bought",
    "the rest of a type as a whole": "SELECT * FROM every_identify",
    "typed beside events": """
        SELECT e.name, COUNT(*) AS n, SUM(b.qty) AS qty
        FROM events AS e LEFT JOIN track_bought AS b ON b.event_id = e.event_id
        GROUP BY e.name ORDER BY e.name""",
    "one view per type": """
        SELECT 'bought' AS what, COUNT(*) AS n, SUM(qty) AS qty FROM track_bought
        UNION ALL
        SELECT plan, COUNT(*), SUM(seats) FROM every_identify GROUP BY plan ORDER BY what, n""",
}  # fmt: skip
BOUGHT = (
    maybe("qty", "long"),
    maybe("price", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}),
    maybe("gift", "boolean"),
    maybe("weight", "double"),
    maybe("due", {"type": "int", "logicalType": "date"}),
    maybe("shipped", {"type": "long", "logicalType": "timestamp-millis"}),
    maybe("tags", {"type": "array", "items": "string"}),
    maybe("name", "string"),
)
TRAITS = json.dumps({
    "type": "record", "name": "I", "event": {"type": "identify", "name": ""},
    "fields": [maybe("plan", "string"), maybe("seats", "int")],
})  # fmt: skip


def rows() -> list[dict[str, Any]]:
    """Visits, orders and identifies of some people over some days; properties right and wrong."""
    rng = random.Random(4)
    made: list[dict[str, Any]] = []
    for number in range(300):
        at = NOON + rng.randrange(4) * DAY_US + rng.choice([0, 3_600]) * 1_000_000
        at += rng.randrange(120) * MINUTE_US
        who = rng.randrange(12)
        ids = {"user_id": rng.choice([None, f"u{who}"]), "anonymous_id": f"a{who}"}
        match rng.randrange(4):
            case 0:
                made.append(order(f"o{number}", at, rng.randrange(1, 900), **ids,
                                  currency=rng.choice(["GBP", "EUR"])))  # fmt: skip
            case 1:
                made.append(event(f"b{number}", at, name="Bought", **ids, properties=bought(rng)))
            case 2:
                traits = {"plan": rng.choice(["free", "pro"]), "seats": rng.choice([1, 2, "x"])}
                one = {"user_id": f"u{who}", "anonymous_id": f"a{who // 2}"}
                made.append(event(f"i{number}", at, type="identify", name=None, **one,
                                  properties=json.dumps(traits)))  # fmt: skip
            case 3:
                made.append(event(f"p{number}", at, type="page", name="Shop", **ids,
                                  page_path=rng.choice(["/", "/shop"])))  # fmt: skip
    return made + exposures()


def bought(rng: random.Random) -> str:
    every: dict[str, list[Any]] = {
        "qty": [1, 2, "3", 1.5, "x", None],
        "price": ["12.34", 0.5, "x"],
        "gift": [True, False, "yes"],
        "weight": [1.5, 2, "x"],
        "due": ["2026-09-25", 20_717, "soon"],
        "shipped": ["2026-09-21T14:30:00+02:00", "2026-09-21T12:30:00", NOON // 1000, "x"],
        "tags": [["a", "b"], ["c"], []],
        "name": ["n", None],
    }
    return json.dumps({key: rng.choice(values) for key, values in every.items()})


def letters() -> list[dict[str, Any]]:
    def letter(number: int) -> dict[str, Any]:
        sent = {"event": f"Näme {number % 2}", "properties": {"price": number / 4}}
        original = json.dumps(sent, ensure_ascii=False).encode()
        at = NOON + number % 3 * DAY_US
        return {"reason": ("bad_money", "missing")[number % 2], "received_time": at,
                "original": original}  # fmt: skip

    broken = {"reason": "unreadable", "received_time": NOON, "original": b"\xff{"}
    return [*map(letter, range(9)), broken]


def books() -> list[dict[str, Any]]:
    """Two hours of the ledger, with and without problems."""
    said = (None, "missing in p-0 1..2", "missing in p-0 1..2; doubled in p-1 3")
    counted = {"duplicates": 1, "dead_lettered": 2}
    return [
        {**world.ledger_minute(NOON + n * 10 * MINUTE_US, received=n + 3, archived=n, **counted),
         "source": ("web", "app")[n % 2], "problems": said[n % 3]}
        for n in range(12)
    ]  # fmt: skip


def compared() -> list[dict[str, Any]]:
    first = date(1970, 1, 1) + timedelta(NOON // DAY_US)
    numbers = {"exact": 98, "bound": 2}
    return [
        {**world.compared_day(first + timedelta(n), live=100 + n, sketch=n, **numbers),
         "statistic": statistic, "dimensions": dimensions}
        for n in range(3)
        for statistic, dimensions in (("revenue", '{"currency":"GBP"}'), ("events", "{}"))
    ]  # fmt: skip


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tables")
    registry = SchemaRegistry(world.catalogue(made))
    registry.register("demo", record(*BOUGHT))
    registry.register("demo", TRAITS)
    world.archive(made, rows())
    world.refuse(made, letters())
    world.keep(made, LEDGER, books())
    world.keep(made, PARITY, compared())
    roll_up(made)
    find_sessions(made)
    join_people(made)
    return made


@pytest.fixture(scope="module")
def box(directory: Path) -> Warehouse:
    """The app's own, so that it knows schemas and cohorts."""
    app = world.app(directory, NOON + 10 * DAY_US)
    for name, rule in COHORT_RULES.items():
        asked = {"name": name, "definition": {"rule": rule}}
        assert app.test_client().post("/p/demo/api/cohorts", json=asked).status_code == 201
    found: Warehouse = app.extensions["reports"].warehouse
    return found


@pytest.fixture(scope="module")
def emulator(box: Warehouse, directory: Path) -> Iterator[google.Client]:
    """The same rows in tables of the same names, and the typed views as BigQuery gets them."""
    registry = SchemaRegistry(world.catalogue(directory))
    place = f"{PROJECT}.{DATASET}"
    with bigquery_in_environment(), google_client() as client:
        body, refused = as_parquet(list(box.files.of(EVENTS).paths))
        assert refused == 0
        put(client, "events", body, derive.bigquery(load(EVENTS.record), json_columns=False))
        for name in COPIED:
            assert copy(box, client, name), f"{name} is empty"
        views = typed_views(registry, "demo", dialect="bigquery", source=f"`{place}.events`")
        for name, sql in views.items():
            client.query(f"CREATE VIEW `{place}.{name}` AS {sql}").result(timeout=60)
        yield client


@pytest.mark.parametrize("name", QUERIES)
def test_both_give_the_same_answer(box: Warehouse, emulator: google.Client, name: str) -> None:
    agree(box, emulator, QUERIES[name])


def test_every_table_is_asked_in_two_ways() -> None:
    for table in {*COPIED, "track_bought"} - {"daily"}:
        assert sum(f"{table} " in f"{sql} " for sql in QUERIES.values()) >= 2, table
