"""CloudEvents in their three modes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.collector.conftest import NOW
from transforms.judge import MAX_ID

PATH = "/cloudevents"
HOUR = 3_600_000_000
EVENT = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "com.acme.paid",
         "subject": "u1", "time": "2027-01-15T07:00:00Z"}  # fmt: skip
STRUCTURED = {"Content_Type": "application/cloudevents+json; charset=utf-8"}
BATCH = {"Content_Type": "application/cloudevents-batch+json"}


def binary(content_type: str, **more: str) -> dict[str, str]:
    return {**{f"ce-{n}": v for n, v in {**EVENT, **more}.items()}, "Content_Type": content_type}


def test_structured(collector) -> None:
    event = {**EVENT, "traceparent": "00-1", "dataschema": "https://a.example/s", "data": {"a": 1}}
    answer = collector.post(PATH, event, **STRUCTURED)
    assert answer.json["results"] == [{"index": 0, "event_id": "/shop 1", "result": "ok"}]
    (row,) = collector.rows()
    assert (row["type"], row["name"], row["event_id"]) == ("track", "com.acme.paid", "/shop 1")
    assert (row["user_id"], row["event_time"]) == ("u1", NOW - HOUR)
    assert json.loads(row["properties"]) == {"a": 1}
    assert json.loads(row["context"])["cloudevents"] == {
        "source": "/shop",
        "subject": "u1",
        "traceparent": "00-1",
        "dataschema": "https://a.example/s",
    }


def test_batched(collector) -> None:
    events = [{**EVENT, "id": str(n)} for n in range(3)]
    assert collector.post(PATH, events, **BATCH).json["accepted"] == 3
    assert [row["event_id"] for row in collector.rows()] == ["/shop 0", "/shop 1", "/shop 2"]


@pytest.mark.parametrize(
    ("content_type", "body", "properties"),
    [
        ("application/json", b'{"n": 1.10}', {"n": 1.1}),
        ("application/json", b"[1, 2]", {"data": [1, 2]}),
        ("application/json", b'"text"', {"data": "text"}),
        ("text/xml", "<ü/>".encode(), {"data": "<ü/>"}),
        ("image/png", b"\x89PNG", {"data_base64": "iVBORw=="}),
        ("application/json", b"", {}),
    ],
)
def test_binary(collector, content_type, body, properties) -> None:
    assert collector.post(PATH, body, **binary(content_type)).status_code == 200
    (row,) = collector.rows()
    assert json.loads(row["properties"]) == properties
    assert (row["name"], row["event_id"]) == ("com.acme.paid", "/shop 1")
    assert json.loads(row["context"])["cloudevents"]["datacontenttype"] == content_type


def test_binary_headers_are_percent_encoded(collector) -> None:
    assert collector.post(PATH, b"{}", **binary("text/json", subject="J%C3%BCrgen")).status_code
    assert [row["user_id"] for row in collector.rows()] == ["Jürgen"]


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", ""])
@pytest.mark.parametrize("body", [EVENT, [EVENT]])
def test_by_shape_where_the_type_says_nothing(collector, content_type, body) -> None:
    assert collector.post(PATH, body, Content_Type=content_type).json["accepted"] == 1


@pytest.mark.parametrize(
    ("more", "people"),
    [
        ({}, ("u1", None)),
        ({"userid": "u2"}, ("u2", None)),
        ({"anonymousid": "a1"}, (None, "a1")),
        ({"data": {"user_id": "u3", "anonymousId": "a3"}}, ("u3", "a3")),
    ],
)
def test_people(collector, more: dict[str, Any], people) -> None:
    assert collector.post(PATH, {**EVENT, **more}, **STRUCTURED).status_code == 200
    (row,) = collector.rows()
    assert (row.get("user_id"), row.get("anonymous_id")) == people


def test_an_id_is_one_of_its_source(collector) -> None:
    events = [
        {**EVENT, "source": source, "id": own}
        for source, own in [("a", "b c"), ("a b", "c"), ("a", "c"), ("b", "c"), ("s" * 99, "1"),
                            ("s" * 98, "s1")]
    ]  # fmt: skip
    assert collector.post(PATH, events, **BATCH).json["accepted"] == len(events)
    ids = [row["event_id"] for row in collector.rows()]
    assert len(set(ids)) == len(ids)
    assert all(len(one) <= MAX_ID for one in ids)


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
def test_what_an_event_needs(collector, name) -> None:
    bad = {n: v for n, v in EVENT.items() if n != name}
    answer = collector.post(PATH, bad, **STRUCTURED)
    assert answer.json["results"][0]["message"] == f"a CloudEvent needs `{name}`"
    assert [letter["reason"] for letter in collector.dead()] == ["missing_field"]


def test_another_version(collector) -> None:
    answer = collector.post(PATH, {**EVENT, "specversion": "2.0"}, **STRUCTURED)
    assert answer.json["results"][0]["reason"] == "wrong_type"


def test_money(collector) -> None:
    body = b'{"revenue":0.29,"currency":"USD","order_id":"o1"}'
    assert collector.post(PATH, body, **binary("application/json")).status_code == 200
    (row,) = collector.rows()
    assert (row["revenue_minor"], row["currency"], row["order_id"]) == (29, "USD", "o1")
