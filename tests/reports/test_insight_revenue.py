"""Revenue asked of real files: the exact daily table to the cent, loops, hostile questions."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from beam_pipelines.connectors.warehouse import Warehouse as Archive
from reports.insights import all as _kinds  # noqa: F401 - registers the kinds
from reports.insights.answer import Table
from reports.insights.kinds import ask
from reports.insights.question import QuestionError
from reports.insights.source import Source
from reports.warehouse.engine import Warehouse
from schemas_avro.tables import DAILY
from tests.beam_pipelines import test_rollup as rollups
from tests.brute import day_of
from tests.exact_brute import counted, is_order
from tests.reports import world
from tests.streams import DAY_US, NOON, event, order, random_events

ZONE = "Europe/London"
ALL = "2026-01-01..2027-01-31"


def source(directory: Path, now: int = world.NOW) -> Source:
    warehouse = Warehouse(world.settings(directory), lambda project: (None, None))  # type: ignore[arg-type,return-value]
    return Source(warehouse, "demo", ZONE, now)


def revenue(directory: Path, **question: Any) -> Table:
    return ask("revenue", {"dates": ALL, **question}, source(directory)).table


def rows(table: Table) -> list[dict[str, Any]]:
    names = [column.name for column in table.columns]
    return [dict(zip(names, row, strict=True)) for row in table.rows]


def shop(seed: int, count: int = 400) -> list[dict[str, Any]]:
    """Events of 70 days around NOON with orders that come twice, late, unpaid first, refunds."""
    rng = random.Random(seed)
    made = random_events(count, 70, seed)
    for number in range(count // 3):
        at = NOON + rng.randrange(-35 * DAY_US, 35 * DAY_US)
        pence = rng.choice([None, 0, 1999, 2500, 1])
        money = {"revenue_minor": pence, "currency": None if pence is None else "GBP"}
        order_id = f"again-{rng.randrange(count // 6)}"
        made.append(order(f"w{number}", at, 0, order_id=order_id, **money))
        if rng.random() < 0.4:  # the same once more, under its id or another one
            copy = dict(made[-1], received_time=at + rng.randrange(1, 5) * DAY_US)
            made.append(copy if rng.random() < 0.5 else {**copy, "event_id": f"c{number}"})
        if rng.random() < 0.3:
            made.append(refund(f"r{number}", at + DAY_US, -500, order_id=order_id))
    rng.shuffle(made)
    return made


def exact_days(directory: Path) -> tuple[dict[tuple[str, str], int], dict[str, int]]:
    """Net revenue by (day, currency) and orders by day, of the daily table."""
    money, orders = {}, {}
    for row in Archive(f"{directory}/archive").table(DAILY).scan().to_arrow().to_pylist():
        if row["metric"] == "revenue":
            currency = json.loads(row["dimensions"])["currency"]
            money[row["day"].isoformat(), currency] = row["value"]
        if row["metric"] == "orders":
            orders[row["day"].isoformat()] = row["value"]
    return money, orders


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_is_the_exact_daily_table_to_the_cent(tmp_path, seed):
    made = shop(seed)
    rollups.archive(tmp_path, rollups.in_blocks(made, random.Random(seed)))
    rollups.run(tmp_path, grains="day")
    money, orders = exact_days(tmp_path)
    found = rows(revenue(tmp_path))
    assert {(r["time"], r["currency"]): r["net"] for r in found if r["net"]} == {
        key: value for key, value in money.items() if value
    }
    for row in found:
        assert row["net"] == row["gross"] + row["refunds"]
        assert row["gross"] >= 0 >= row["refunds"]
    by_day: dict[str, set[str]] = defaultdict(set)
    settled, _ = counted(made)
    for row in settled:
        if is_order(row):
            by_day[day_of(row, ZONE).isoformat()].add(row["order_id"])
    assert {day: len(ids) for day, ids in by_day.items()} == {d: n for d, n in orders.items() if n}


@pytest.mark.parametrize("rolled_up", [0, 150, 10_000])
def test_events_that_came_since_the_last_rollup_count_once_too(tmp_path, rolled_up):
    made = shop(7)
    blocks = rollups.in_blocks(made, random.Random(7))
    before, after = blocks[: rolled_up // 30], blocks[rolled_up // 30 :]
    if before:
        rollups.archive(tmp_path, before)
        rollups.run(tmp_path, grains="day")
    if after:
        rollups.archive(tmp_path, after)
    settled, _ = counted(made)
    expected: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for row in settled:
        if row.get("revenue_minor"):
            place = expected[day_of(row, ZONE).isoformat(), row["currency"]]
            place[row["revenue_minor"] < 0] += row["revenue_minor"]
    found = rows(revenue(tmp_path))
    assert {
        (r["time"], r["currency"]): [r["gross"], r["refunds"]]
        for r in found
        if r["gross"] or r["refunds"]
    } == {key: value for key, value in expected.items() if any(value)}


def refund(event_id: str, at: int, pence: int, **fields: Any) -> dict[str, Any]:
    return {**order(event_id, at, pence, **fields), "name": "Order Refunded"}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("small")
    products = [
        {"product_id": "tea", "price": 4.5, "quantity": 2},
        {"product_id": "cup", "price": 1},
    ]
    world.archive(
        directory,
        [
            order("1", NOON, 1250, properties=json.dumps({"products": products})),
            order("2", NOON + 1, 600, properties='{"product_id":"cup","shelf":"A"}',
                  campaign_name="spring"),
            order("3", NOON + DAY_US, 1000, currency="EUR", user_id="u2"),
            refund("4", NOON + DAY_US, -250, order_id="o-1",
                  properties=json.dumps({"products": products[:1]})),
            order("5", NOON + 2, 5000, order_id="o-1"),  # the same order once more
            order("6", NOON, 0, revenue_minor=None, currency=None),
            event("v", NOON - 3 * DAY_US, user_id="u2", campaign_name="winter"),
            order("7", NOON, 77, project="other"),
        ],
    )  # fmt: skip
    return directory


TODAY = day_of({"event_time": NOON}, ZONE)
DAYS = f"{TODAY}..{TODAY + timedelta(1)}"


def test_the_columns_of_a_day(small):
    table = revenue(small, dates=DAYS)
    found = {(r["time"], r["currency"]): r for r in rows(table)}
    first = found[TODAY.isoformat(), "GBP"]
    assert first == {
        "time": TODAY.isoformat(), "currency": "GBP", "gross": 1850, "refunds": 0, "net": 1850,
        "orders": 2, "average_order": 925,
    }  # fmt: skip
    assert found[TODAY.isoformat(), "XXX"]["orders"] == 1
    second = found[(TODAY + timedelta(1)).isoformat(), "GBP"]
    assert (second["gross"], second["refunds"], second["orders"]) == (0, -250, 0)
    assert second["average_order"] is None
    assert found[TODAY.isoformat(), "EUR"]["net"] == 0  # a day without is nought, not absent
    totals = {title: value for title, value, _ in table.totals}
    assert totals["Net, GBP"] == "£16.00"
    assert totals["Orders"] == 4
    assert any("XXX: orders without any amount" in note for note in table.notes)
    assert any("The last day is not over yet" in note for note in table.notes)


def by_value(table: Table, currency: str = "GBP") -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for row in rows(table):
        if row["currency"] == currency:
            gross, refunds = found.get(row["value"], (0, 0))
            found[row["value"]] = (gross + row["gross"], refunds + row["refunds"])
    return found


def test_by_product(small):
    found = by_value(revenue(small, dates=DAYS, split="product"))
    assert found == {
        "tea": (900, -900), "cup": (700, 0), "(rest of the order)": (250, 650),
    }  # fmt: skip
    assert sum(map(sum, found.values())) == 1600


def test_by_campaign_and_by_the_last_one_before(small):
    own = by_value(revenue(small, dates=DAYS, split="campaign"))
    assert own == {"spring": (600, 0), "(none)": (1250, -250)}
    touched = revenue(small, dates=DAYS, split="campaign", last_touch_days=7)
    assert by_value(touched, "EUR") == {"winter": (1000, 0)}
    assert by_value(touched) == {"spring": (600, -250), "(none)": (1250, 0)}
    short = revenue(small, dates=DAYS, split="campaign", last_touch_days=2)
    assert by_value(short, "EUR") == {"(none)": (1000, 0)}


def test_by_a_property_with_the_rest_as_other(small):
    found = by_value(
        revenue(small, dates=DAYS, split="property", split_property="properties.shelf", top=1)
    )
    assert found == {"(none)": (1250, -250), "(other)": (600, 0)}


def test_filters_and_currency(small):
    where = [{"property": "properties.shelf", "values": ["A"]}]
    assert sum(r["net"] for r in rows(revenue(small, dates=DAYS, where=where))) == 600
    only = rows(revenue(small, dates=DAYS, currency="EUR"))
    assert {r["currency"] for r in only} == {"EUR"}
    assert sum(r["net"] for r in only) == 1000


def test_weeks_and_months_add_up_to_the_days(tmp_path):
    made = shop(5)
    world.archive(tmp_path, made)
    totals = {}
    for by in ("day", "week", "month"):
        found: dict[str, int] = defaultdict(int)
        for row in rows(revenue(tmp_path, by=by)):
            found[row["currency"]] += row["net"]
            day = date.fromisoformat(row["time"])
            assert by == "day" or (day.weekday() == 0 if by == "week" else day.day == 1)
        totals[by] = dict(found)
    assert totals["day"] == totals["week"] == totals["month"]
    assert totals["day"]["GBP"]


def test_nothing_there_says_what_to_send(tmp_path):
    table = revenue(tmp_path)
    assert table.rows == []
    assert any("send revenue and currency with Order Completed" in n for n in table.notes)


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"by": "hour"}, "by"),
        ({"currency": "POUND"}, "currency='POUND' is unknown; use its ISO 4217 code, such as GBP"),
        ({"split": "property"}, "give both"),
        ({"split_property": "country"}, "give both"),
        ({"split": "property", "split_property": "properties.a\"); DROP"}, "is none of an event"),
        ({"top": 0}, "top"),
        ({"last_touch_days": 400}, "last_touch_days"),
        ({"sql": "x"}, "sql"),
    ],
)  # fmt: skip
def test_a_question_that_cannot_be_asked_says_why(small, question, message):
    with pytest.raises(QuestionError) as caught:
        revenue(small, **question)
    assert message in str(caught.value)
