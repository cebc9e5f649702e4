"""Amplitude's HTTP API v2 and its identify API."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.collector.conftest import KEY, NOW
from tests.collector.promoted import promoted

HOUR = 3_600_000_000


def event(kind: str = "x", **fields: Any) -> dict[str, Any]:
    return {"event_type": kind, "user_id": "u1", "insert_id": "e1",
            "time": (NOW - HOUR) // 1000, **fields}  # fmt: skip


def send(collector, *events: Any, **more: Any) -> list[dict[str, Any]]:
    assert collector.post("/2/httpapi", {"events": events, **more}).status_code == 200
    return collector.rows()


def test_an_event(collector) -> None:
    (row,) = send(
        collector,
        event(
            "Signed Up",
            device_id="d1",
            session_id=1234,
            ip="203.0.113.9",
            language="en-GB",
            platform="iOS",
            os_version="17",
            app_version="2.0",
            country="GB",
            library="amplitude-ts/2.1",
            event_properties={"plan": "pro", "n": 1.10},
            user_properties={"$set": {"vip": True}, "age": 3},
            groups={"company": "c1"},
        ),
    )
    assert (row["type"], row["name"], row["event_id"]) == ("track", "Signed Up", "e1")
    assert (row["user_id"], row["anonymous_id"], row["session_id"]) == ("u1", "d1", "1234")
    assert row["event_time"] == NOW - HOUR
    assert json.loads(row["properties"]) == {"plan": "pro", "n": 1.1}
    assert promoted(row) == {
        "locale": "en-GB",
        "os_name": "iOS",
        "os_version": "17",
        "app_version": "2.0",
        "country": "GB",
        "library_name": "amplitude-ts",
        "library_version": "2.1",
    }
    context = json.loads(row["context"])
    assert context["traits"] == {"vip": True, "age": 3}
    assert context["amplitude"] == {"groups": {"company": "c1"}}
    assert "203.0.113.9" not in row["context"]


@pytest.mark.parametrize(
    ("fields", "money"),
    [
        ('"revenue":0.29,"currency":"USD"', (29, "USD")),
        ('"price":0.1,"quantity":3,"revenue":9,"currency":"USD"', (30, "USD")),
        ('"price":19.99,"currency":"GBP"', (1999, "GBP")),
        ('"event_properties":{"$price":-2.5,"$quantity":2,"$currency":"EUR"}', (-500, "EUR")),
        ('"revenue":19.99', (None, None)),
    ],
)
def test_money(collector, fields, money) -> None:
    body = '{"events":[%s,%s}]}' % (json.dumps(event())[:-1], fields)  # noqa: UP031
    assert collector.post("/2/httpapi", body.encode()).status_code == 200
    (row,) = collector.rows()
    assert (row.get("revenue_minor"), row.get("currency")) == money


@pytest.mark.parametrize("price", ['"dear"', "1e400", '"NaN"', "1." + "3" * 40])
def test_no_money(collector, price) -> None:
    body = '{"events":[%s,"price":%s,"quantity":2,"currency":"EUR"}]}' % (  # noqa: UP031
        json.dumps(event())[:-1], price
    )  # fmt: skip
    assert collector.post("/2/httpapi", body.encode()).status_code == 200
    assert [letter["reason"] for letter in collector.dead()] == ["bad_money"]


def test_events_with_a_meaning(collector) -> None:
    page, identify, group = send(
        collector,
        event("[Amplitude] Page Viewed", event_properties={
            "[Amplitude] Page Title": "Shoes", "[Amplitude] Page Location": "https://a.example/b"}),
        event("$identify", user_properties={"$set": {"a": 1}, "$setOnce": {"a": 0, "b": 2},
                                            "$add": {"n": 1}}),
        event("$groupidentify", groups={"company": "c1"},
              group_properties={"$set": {"size": 3}}),
    )  # fmt: skip
    assert (page["type"], page["name"]) == ("page", "Shoes")
    assert promoted(page)["page_url"] == "https://a.example/b"
    assert identify["type"] == "identify"
    assert json.loads(identify["properties"]) == {"a": 1, "b": 2, "$add": {"n": 1}}
    assert group["type"] == "group"
    assert json.loads(group["properties"]) == {"groupId": "c1", "size": 3}


def test_the_clock_is_corrected(collector) -> None:
    (row,) = send(collector, event(), client_upload_time="2027-01-15T07:30:00.000Z")
    assert row["event_time"] == NOW - HOUR // 2


def test_no_session(collector) -> None:
    (row,) = send(collector, event(session_id=-1))
    assert "session_id" not in row


@pytest.mark.parametrize("is_list", [False, True])
def test_identify(collector, is_list) -> None:
    one = {"user_id": "u1", "user_properties": {"plan": "pro"}}
    body = {"api_key": KEY, "identification": json.dumps([one] if is_list else one)}
    answer = collector.client.post("/identify", data=urlencode(body))
    assert (answer.status_code, answer.json) == (200, {"code": 200})
    (row,) = collector.rows()
    assert (row["type"], row["user_id"]) == ("identify", "u1")
    assert json.loads(row["properties"]) == {"plan": "pro"}
