"""Data quality through the whole of reports: against loops, and on the real data of the tests."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from flask.testing import FlaskClient

from beam_pipelines.run import main
from tests.reports import world
from tests.streams import DAY_US, NOON, event
from transforms.flags import Flag
from transforms.quality import days_of, overall

ZONE = ZoneInfo("Europe/London")
DATA = Path(__file__).parent.parent / "data"


def day_of(at: int) -> date:
    return datetime.fromtimestamp(at / 1e6, UTC).astimezone(ZONE).date()


LAST = day_of(NOON) - timedelta(days=1)
FIRST = LAST - timedelta(days=6)
WEEK = {"dates": f"{FIRST}..{LAST}"}
START = NOON - 70 * DAY_US


def stream(seed: int) -> list[dict[str, Any]]:
    """Ten weeks. `cart` changes its fields; `old` ends, `fresh` begins, `half` falls."""
    rng = random.Random(seed)
    rows: list[dict[str, Any]] = []

    def add(name: str | None, at: int, properties: dict[str, Any], **more: Any) -> None:
        rows.append(
            event(f"q{len(rows)}", at + rng.randrange(DAY_US // 4), name=name,
                  properties=json.dumps(properties), **more)
        )  # fmt: skip

    for n in range(71):
        at = START + n * DAY_US
        now = FIRST <= day_of(at + DAY_US // 8) <= LAST
        for _ in range(20):
            add("cart", at, {"price": "1" if now else 1, **({} if now else {"colour": "red"})})
        for _ in range(3 if now else 40):
            add("half", at, {"a": 1})
        if not now and n < 65:
            for _ in range(5):
                add("old", at, {})
        if now:
            for _ in range(4):
                flags = rng.choice([Flag.CLOCK_CORRECTED, Flag.NO_TIME | Flag.MADE_ID, Flag(0)])
                add("fresh", at, {"b": None}, flags=int(flags))
            add("fresh", at, {}, flags=int(Flag.SCHEMA_MISMATCH | Flag.BOT))
        for title in ("Home", "Cart"):
            add(title, at, {}, type="page")
    rows.append(event("slow", NOON - DAY_US, name="fresh", received_time=NOON))
    rows.append(event("foreign", NOON - DAY_US, project="other", name="secret"))
    return rows


ROWS = stream(11)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    made = tmp_path_factory.mktemp("quality")
    world.archive(made, ROWS)
    world.archive(made, ROWS[:100], producer="p-1")  # sent again
    yesterday = NOON - DAY_US
    world.refuse(
        made,
        [
            *[{"reason": "bad_money", "received_time": yesterday,
               "candidate": '{"type": "track", "name": "cart"}'}] * 3,
            {"reason": "unreadable", "received_time": yesterday},
            {"reason": "damaged_block", "received_time": yesterday},
            {"reason": "bad_money", "received_time": NOON - 20 * DAY_US},
        ],
    )  # fmt: skip
    world.count_day(made, LAST, ("events", "{}", 75, None), events_in=75, duplicates=25)
    return world.app(made).test_client()


def asked(client: FlaskClient, kind: str, **question: Any) -> dict[str, Any]:
    answer = client.post(f"/p/demo/api/insights/{kind}", json={**WEEK, **question})
    assert answer.status_code == 200, answer.text
    names = [column["name"] for column in answer.get_json()["columns"]]
    rows = [dict(zip(names, row, strict=True)) for row in answer.get_json()["rows"]]
    return {**answer.get_json(), "rows": rows}


def counted() -> dict[tuple[str, str], Counter[date]]:
    found: dict[tuple[str, str], Counter[date]] = defaultdict(Counter)
    for row in ROWS:
        if row["project"] == "demo":
            name = row["name"] if row["type"] == "track" else ""
            found[row["type"], name][day_of(row["event_time"])] += 1
    return found


def test_states_and_volumes_are_those_of_a_loop(client: FlaskClient) -> None:
    found = asked(client, "quality")
    rows = {(row["type"], row["event"]): row for row in found["rows"]}
    days = [FIRST + timedelta(days=n) for n in range(7)]
    for (kind, name), counts in counted().items():
        row = rows.pop((kind, name or "(every page)"))
        assert row["events"] == sum(counts[day] for day in days)
        judged = days_of(counts, days, day_of(NOON))
        assert row["state"] == overall(counts, judged)
        assert row["days_out"] == sum(one.state in ("low", "high") for one in judged)
    assert rows == {}
    states = {row["event"]: row["state"] for row in found["rows"]}
    assert states == {
        "cart": "ok", "half": "low", "old": "vanished", "fresh": "new", "(every page)": "ok",
    }  # fmt: skip
    assert [row["event"] for row in found["rows"]][:2] == ["old", "half"]


def test_fields_that_differ(client: FlaskClient) -> None:
    rows = {row["event"]: row for row in asked(client, "quality")["rows"]}
    assert rows["cart"]["fields"] == "colour: missing; price: changed type"
    assert rows["half"]["fields"] == ""
    found = asked(client, "quality_fields", event="cart")
    assert [(r["field"], r["finding"], r["before"], r["now"]) for r in found["rows"]] == [
        ("colour", "missing", "text", ""),
        ("price", "changed type", "number", "text"),
    ]
    assert found["status"] == "exact"  # every event was looked at
    sampled = asked(client, "quality_fields", event="cart", samples=50)
    assert sampled["status"] == "approximate"
    looked_at = {one["title"]: one["value"] for one in sampled["totals"]}
    assert 20 < looked_at["Events looked at"] < 100
    assert [r["finding"] for r in sampled["rows"]] == ["missing", "changed type"]
    assert asked(client, "quality_fields", event="cart", samples=50) == {
        **sampled, "elapsed_ms": pytest.approx(0, abs=60_000),
    }  # fmt: skip


def test_what_the_intake_corrected(client: FlaskClient) -> None:
    row = next(r for r in asked(client, "quality")["rows"] if r["event"] == "fresh")
    mine = [r for r in ROWS if r["name"] == "fresh" and FIRST <= day_of(r["event_time"]) <= LAST]
    for column, flag in (
        ("corrected", Flag.CLOCK_CORRECTED), ("clamped", Flag.CLAMPED), ("no_time", Flag.NO_TIME),
        ("made_id", Flag.MADE_ID), ("bot", Flag.BOT), ("mismatch", Flag.SCHEMA_MISMATCH),
    ):  # fmt: skip
        assert row[column] == pytest.approx(sum(bool(r["flags"] & flag) for r in mine) / len(mine))
    assert row["late"] == pytest.approx(1 / len(mine))
    never = asked(client, "quality", late_s=200_000)["rows"]
    assert {r["late"] for r in never} == {0, None}


def test_refused_and_repeated(client: FlaskClient) -> None:
    found = asked(client, "quality")
    assert next(r for r in found["rows"] if r["event"] == "cart")["refused"] == 3
    assert "1 refused events name no event of this list" in " ".join(found["notes"])
    totals = {one["title"]: one["value"] for one in found["totals"]}
    assert totals["Repeats left out"] == 0.25
    assert totals["Vanished"] == totals["New"] == 1


def test_one_event_by_day(client: FlaskClient) -> None:
    found = asked(client, "quality_days", event="half", dates=f"{FIRST}..{day_of(NOON)}")
    counts = counted()["track", "half"]
    assert [row["state"] for row in found["rows"]] == ["low"] * 7 + ["unfinished"]
    for row in found["rows"]:
        assert row["events"] == counts[date.fromisoformat(row["day"])]
    pages = asked(client, "quality_days", type="page")
    assert {row["events"] for row in pages["rows"]} == {2}


@pytest.mark.parametrize(
    ("kind", "question", "said"),
    [
        ("quality_fields", {"event": ""}, "event=''"),
        ("quality_days", {"type": "moon"}, "type='moon'"),
        ("quality_days", {"type": "page", "event": "Home"}, "event='Home'"),
        ("quality", {"samples": 1}, "samples"),
        ("quality", {"rows": 0}, "rows"),
    ],
)
def test_what_cannot_be_asked_is_said(
    client: FlaskClient, kind: str, question: dict[str, Any], said: str
) -> None:
    answer = client.post(f"/p/demo/api/insights/{kind}", json=question)
    assert answer.status_code == 400
    assert said in answer.get_json()["message"]


def test_nothing_is_of_others(client: FlaskClient) -> None:
    assert "secret" not in json.dumps(asked(client, "quality"))
    assert asked(client, "quality_days", event="secret")["rows"][0]["events"] == 0


def test_pages(client: FlaskClient, tmp_path: Path) -> None:
    page = client.get(f"/p/demo/quality?dates={WEEK['dates']}")
    assert page.status_code == 200
    assert "colour: missing" in page.text
    one = client.get(f"/p/demo/quality?dates={WEEK['dates']}&type=track&event=cart")
    assert one.status_code == 200
    assert "changed type" in one.text
    assert client.get("/p/demo/quality?type=moon").status_code == 400
    empty = world.app(tmp_path).test_client()
    assert "No events" in empty.get("/p/demo/quality").text
    assert empty.get("/p/demo/quality?type=track&event=x").status_code == 200


def test_on_the_real_shop_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A week of a real shop's sale lines, with the figures that the file itself gives."""
    monkeypatch.setenv("HEADWATER_DATA_DIR", str(tmp_path))
    world.catalogue(tmp_path)
    source = DATA / "online_retail_2010-12.csv"
    mapping = DATA.parent.parent / "examples" / "online_retail.toml"
    given = [f"--input={source}", f"--mapping={mapping}", "--project=demo", "--source=shop"]
    assert main(["import", *given]) == 0
    client = world.app(tmp_path, now=world.us(2010, 12, 7, 20)).test_client()
    found = asked(client, "quality", dates="2010-12-01..2010-12-07")
    rows = {row["event"]: row for row in found["rows"]}
    lines = source.read_bytes().decode().replace("\r\n", "\n").replace("\r", "\n").split("\n")[1:]
    refunds = sum(line.startswith("C") for line in lines)
    assert rows["Order Refunded"]["events"] == refunds
    assert rows["Order Line"]["events"] == 14_594 - refunds
    assert {row["state"] for row in rows.values()} == {"new"}
    # The last two days against the five before: customers and descriptions come and go.
    fields = asked(client, "quality_fields", event="Order Line", dates="2010-12-06..2010-12-07")
    kinds = {row["field"]: row["now"] for row in fields["rows"]}
    assert kinds.keys() == {"StockCode", "Description", "Quantity", "UnitPrice"}
    days = asked(client, "quality_days", event="Order Line", dates="2010-12-01..2010-12-07")
    assert sum(row["events"] for row in days["rows"]) == 14_594 - refunds
    closed = next(row for row in days["rows"] if row["day"] == "2010-12-04")
    assert closed["events"] == 0  # the shop is shut on Saturdays
