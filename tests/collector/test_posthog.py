"""PostHog's capture, v0 and v1: who, what, where, and what SDKs ask for besides."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.collector.conftest import KEY, NOW
from tests.collector.promoted import promoted
from transforms.flags import Flag

V1 = "/i/v1/analytics/events"
AT = "2027-01-15T07:00:00Z"
HOUR = 3_600_000_000


def event(name: str, **fields: Any) -> dict[str, Any]:
    return {"event": name, "uuid": "e1", "distinct_id": "u1", "timestamp": AT, **fields}


def send(collector, *events: dict[str, Any], path: str = "/batch/", **more: Any) -> Any:
    answer = collector.post(path, {"batch": events, **more})
    assert answer.status_code == 200, answer.json
    return collector.rows()


def test_a_track(collector) -> None:
    properties = {
        "$lib": "posthog-node",
        "$lib_version": "4.0",
        "$session_id": "s1",
        "$current_url": "https://shop.example/a?utm_source=mail",
        "$referrer": "$direct",
        "$os": "Linux",
        "$browser_language": "en-GB",
        "$screen_width": 100,
        "$ip": "203.0.113.9",
        "plan": "pro",
        "price": 1.10,
    }
    (row,) = send(collector, event("Signed Up", properties=properties))
    assert (row["type"], row["name"], row["user_id"]) == ("track", "Signed Up", "u1")
    assert (row["event_id"], row["session_id"]) == ("e1", "s1")
    assert row["event_time"] == NOW - HOUR
    assert promoted(row) == {
        "page_url": "https://shop.example/a?utm_source=mail",
        "page_path": "/a",
        "campaign_source": "mail",
        "os_name": "Linux",
        "locale": "en-GB",
        "library_name": "posthog-node",
        "library_version": "4.0",
    }
    kept = {name: value for name, value in properties.items() if name != "$ip"}
    assert json.loads(row["properties"]) == kept
    assert "203.0.113.9" not in row["context"]
    assert json.loads(row["context"])["screen"] == {"width": 100}


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("$pageview", {"properties": {"title": "Shoes"}}, ("page", "Shoes", "u1", None)),
        ("$screen", {"properties": {"$screen_name": "Home"}}, ("screen", "Home", "u1", None)),
        ("$identify", {"properties": {"$anon_distinct_id": "a1"}}, ("identify", None, "u1", "a1")),
        ("$set", {}, ("identify", None, "u1", None)),
        (
            "$create_alias",
            {"distinct_id": "old", "properties": {"distinct_id": "old", "alias": "new"}},
            ("alias", None, "new", "old"),
        ),
        ("$groupidentify", {}, ("group", None, "u1", None)),
        ("x", {"properties": {"$device_id": "d1"}}, ("track", "x", "u1", "d1")),
        ("x", {"properties": {"$device_id": "u1"}}, ("track", "x", None, "u1")),
        (
            "x",
            {"properties": {"$process_person_profile": False}},
            ("track", "x", None, "u1"),
        ),
        (
            "x",
            {"properties": {"$is_identified": False, "$device_id": "d1"}},
            ("track", "x", None, "u1"),
        ),
        ("x", {"distinct_id": 7, "properties": None}, ("track", "x", "7", None)),
    ],
)
def test_kinds_and_people(collector, name, fields, expected) -> None:
    (row,) = send(collector, event(name, **fields))
    assert tuple(row.get(n) for n in ("type", "name", "user_id", "anonymous_id")) == expected


def test_traits(collector) -> None:
    both = {"$set": {"plan": "pro"}, "$set_once": {"plan": "free", "first": 1}}
    inside, beside, group = send(
        collector,
        event("$identify", properties={**both, "$lib": "web", "more": 1}),
        event("$set", uuid="e2", **both),
        event(
            "$groupidentify",
            uuid="e3",
            properties={"$group_type": "company", "$group_key": "c1", "$group_set": {"size": 3}},
        ),
    )
    for row in (inside, beside):
        assert json.loads(row["properties"]) == {"plan": "pro", "first": 1}
    assert json.loads(inside["context"])["posthog"] == {"$lib": "web", "more": 1}
    assert json.loads(group["properties"]) == {"groupId": "c1", "groupType": "company", "size": 3}


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ('{"$revenue":0.29,"currency":"usd"}', (29, "USD")),
        ('{"revenue":"19.99","$currency":"GBP","order_id":"o1"}', (1999, "GBP")),
        ('{"revenue":19.99}', (None, None)),  # anyone's name: no money without a currency
    ],
)
def test_money(collector, properties, expected) -> None:
    body = json.dumps(event("x")).replace("}", f',"properties":{properties}}}').encode()
    assert collector.post("/capture", body).status_code == 200
    (row,) = collector.rows()
    assert (row.get("revenue_minor"), row.get("currency")) == expected


def test_money_without_a_currency(collector) -> None:
    assert send(collector, event("x", properties={"$revenue": 1})) == []
    assert [letter["reason"] for letter in collector.dead()] == ["bad_money"]


@pytest.mark.parametrize("path", ["/batch", "/capture/", "/e/", "/i/v0/e/", "/i/v0/ai/batch/"])
@pytest.mark.parametrize("wrap", [lambda e: e, lambda e: [e], lambda e: {"batch": [e]}])
@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text,
        gzip.compress,
        lambda text: urlencode({"data": base64.b64encode(text).decode()}).encode(),
        lambda text: urlencode({"data": text.decode(), "compression": "none"}).encode(),
        base64.b64encode,
    ],
)
def test_forms_of_a_body(collector, path, wrap, encode) -> None:
    body = encode(json.dumps(wrap(event("x", properties={"t": "ü+/?"}))).encode())
    answer = collector.post(path, body, Content_Type="text/plain")
    assert (answer.status_code, answer.json) == (200, {"status": 1})
    (row,) = collector.rows()
    assert json.loads(row["properties"]) == {"t": "ü+/?"}


def test_a_pixel(collector) -> None:
    data = base64.b64encode(json.dumps(event("x", properties={"token": KEY})).encode()).decode()
    assert collector.client.get(f"/e/?{urlencode({'data': data, 'ip': 1})}").status_code == 200
    (row,) = collector.rows()
    assert (row["name"], json.loads(row["properties"])) == ("x", {})


class TestClock:
    def test_sent_at(self, collector) -> None:
        (row,) = send(collector, event("x"), sent_at="2027-01-15T07:30:00Z")
        assert (row["event_time"], row["flags"]) == (NOW - HOUR // 2, Flag.CLOCK_CORRECTED)

    def test_sent_by_the_query(self, collector) -> None:
        sent = (NOW - HOUR // 2) // 1000
        (row,) = send(collector, event("x"), path=f"/e/?_={sent}")
        assert row["event_time"] == NOW - HOUR // 2

    def test_an_event_that_wants_none(self, collector) -> None:
        properties = {"$ignore_sent_at": True}
        (row,) = send(collector, event("x", properties=properties), sent_at="2027-01-15T07:30:00Z")
        assert row["event_time"] == NOW - HOUR

    def test_v1_by_its_header_alone(self, collector) -> None:
        """`created_at` is the same for each resend: by it an old event would move on and on."""
        body = {"created_at": "2027-01-01T00:00:00Z", "batch": [event("x")]}
        headers = {"PostHog_Request_Timestamp": "2027-01-15T07:30:00Z"}
        assert collector.post(V1, body, **headers).status_code == 200
        assert collector.post(V1, body).status_code == 200
        assert [row["event_time"] for row in collector.rows()] == [NOW - HOUR // 2, NOW - HOUR]


def test_v1_answers_by_uuid(collector) -> None:
    events = [
        event("ok", uuid="a", options={"process_person_profile": False}, session_id="s1"),
        event("late", uuid="b", timestamp="2027-02-01T00:00:00Z"),
        {"event": "x", "uuid": "c"},
        {"event": "x"},
        5,
    ]
    answer = collector.post(V1, {"batch": events}, PostHog_Sdk_Info="posthog-python/7.0")
    results = answer.json["results"]
    assert {uuid: found["result"] for uuid, found in results.items()} == {
        "a": "ok", "b": "warning", "c": "drop",
    }  # fmt: skip
    assert results["b"]["details"].startswith("clamped: ")
    first, _ = collector.rows()
    assert (first.get("user_id"), first["anonymous_id"], first["session_id"]) == (None, "u1", "s1")
    assert promoted(first) == {"library_name": "posthog-python", "library_version": "7.0"}
    assert len(collector.dead()) == 3


def test_batch_by_its_shape(collector) -> None:
    amplitude = {"events": [{"event_type": "x", "user_id": "u", "insert_id": "i"}]}
    assert collector.post("/batch", amplitude).json["events_ingested"] == 1
    assert collector.post("/batch", {"batch": [event("y")]}).json == {"status": 1}
    assert [row["name"] for row in collector.rows()] == ["x", "y"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/flags/?v=4"),
        ("POST", "/decide/?v=3"),
        ("GET", "/flags/definitions?token=x&send_cohorts"),
        ("GET", "/api/feature_flag/local_evaluation/?token=x"),
        ("GET", f"/array/{KEY}/config"),
    ],
)
def test_what_sdks_ask_besides(collector, method, path) -> None:
    answer = collector.client.open(path, method=method, data=b"{}")
    assert answer.status_code == 200
    assert not answer.json.get("flags")
    assert not answer.json.get("sessionRecording")
