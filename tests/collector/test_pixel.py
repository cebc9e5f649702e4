"""What browsers can send without a script: the native pixel, and a beacon in plain text."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.collector.conftest import KEY, NOW
from tests.collector.promoted import promoted

HOUR = 3_600_000_000


def get(collector, **query: str) -> Any:
    return collector.client.get(f"/v1/pixel.gif?{urlencode({'writeKey': KEY, **query})}")


@pytest.mark.parametrize(
    "names",
    [
        ("name", "event_id", "user_id", "anonymous_id", "time"),
        ("event", "messageId", "userId", "anonymousId", "timestamp"),
    ],
)
def test_every_field(collector, names) -> None:
    values = ("Opened", "e1", "u1", "a1", str((NOW - HOUR) // 1000))
    answer = get(
        collector,
        **dict(zip(names, values, strict=True)),
        revenue="0.29",
        currency="EUR",
        properties='{"mail": "may", "n": 1}',
        context='{"locale": "en-GB"}',
        **{"p.mail": "june"},
    )
    assert (answer.status_code, answer.mimetype, len(answer.data)) == (200, "image/gif", 43)
    assert answer.headers["Cache-Control"] == "no-store"
    (row,) = collector.rows()
    assert (row["type"], row["name"], row["event_id"]) == ("track", "Opened", "e1")
    assert (row["user_id"], row["anonymous_id"]) == ("u1", "a1")
    assert (row["event_time"], row["revenue_minor"], row["currency"]) == (NOW - HOUR, 29, "EUR")
    assert json.loads(row["properties"]) == {"mail": "june", "n": 1}
    assert promoted(row) == {"locale": "en-GB"}
    assert KEY not in str(row)


def test_a_page(collector) -> None:
    assert get(collector, type="page", userId="u").status_code == 200
    assert [row["type"] for row in collector.rows()] == ["page"]


@pytest.mark.parametrize("properties", ["{", "[1]", "x", '{"a":NaN}'])
def test_properties_that_are_none(collector, properties) -> None:
    answer = get(collector, name="x", userId="u", properties=properties)
    assert (answer.status_code, answer.json["code"]) == (400, "bad_json")


def test_no_person(collector) -> None:
    """As in a batch: the request was understood, the event is a dead letter."""
    assert get(collector, name="x").status_code == 200
    assert [letter["reason"] for letter in collector.dead()] == ["no_person"]


def test_no_key(collector) -> None:
    assert collector.client.get("/v1/pixel.gif?name=x&userId=u").status_code == 401


@pytest.mark.parametrize("in_body", [False, True])
def test_a_beacon(collector, in_body) -> None:
    """`navigator.sendBeacon(address, text)` sets no header but this Content-Type."""
    event = {"name": "x", "user_id": "u", "event_id": "e"}
    body = {"events": [event], **({"writeKey": KEY} if in_body else {})}
    answer = collector.client.post(
        "/v1/events" if in_body else f"/v1/events?writeKey={KEY}",
        data=json.dumps(body),
        headers={"Content-Type": "text/plain;charset=UTF-8", "Origin": "https://shop.example"},
    )
    assert answer.json["accepted"] == 1
    assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
