"""Headwater's own JSON: one, a list or an object of events, and an answer for each."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from transforms.flags import Flag

NOW = 1_800_000_000_000_000  # 2027-01-15T08:00:00Z in us, the collector's clock
HOUR, DAY = 3_600_000_000, 86_400_000_000
DOCUMENT = Path(__file__).parents[2] / "docs" / "collector.md"
EVENT = {"name": "Signed Up", "event_id": "e1", "user_id": "u1"}


@pytest.mark.parametrize(
    "body", [EVENT, [EVENT], {"events": [EVENT]}, {"events": [EVENT], "sent_at": None, "more": 1}]
)
def test_three_shapes(collector, body) -> None:
    answer = collector.post("/v1/events", body)
    assert answer.json == {
        "accepted": 1,
        "results": [{"index": 0, "event_id": "e1", "result": "ok"}],
    }
    assert [row["event_id"] for row in collector.rows()] == ["e1"]


def test_every_field_has_its_column(collector) -> None:
    event = {
        **EVENT,
        "type": "track",
        "anonymous_id": "a1",
        "session_id": "s1",
        "time": "2027-01-15T07:00:00Z",
        "revenue": "12.50",
        "currency": "gbp",
        "order_id": 42,
        "properties": {"plan": "pro"},
        "context": {"locale": "en-GB"},
        "unknown": 1,
    }
    assert collector.post("/v1/events", event).status_code == 200
    (row,) = collector.rows()
    assert json.loads(row.pop("properties")) == {"plan": "pro"}
    assert json.loads(row.pop("context")) == {"locale": "en-GB"}
    row.pop("locale", None)
    assert row == {
        "event_id": "e1",
        "project": "shop",
        "source": "web",
        "type": "track",
        "name": "Signed Up",
        "user_id": "u1",
        "anonymous_id": "a1",
        "session_id": "s1",
        "event_time": NOW - HOUR,
        "original_time": NOW - HOUR,
        "received_time": NOW,
        "revenue_minor": 1250,
        "currency": "GBP",
        "order_id": "42",
        "flags": 0,
    }


def test_each_event_has_its_answer(collector) -> None:
    events = [
        EVENT,
        {"name": "x", "user_id": "u"},
        {**EVENT, "event_id": "late", "time": (NOW + DAY) // 1000},
        {"name": "x"},
        "no object",
        {**EVENT, "event_id": "rich", "revenue": 1},
    ]
    answer = collector.post("/v1/events", events).json
    assert answer["accepted"] == 3
    assert [r["index"] for r in answer["results"]] == list(range(6))
    assert [r["result"] for r in answer["results"]] == [
        "ok", "warning", "warning", "drop", "drop", "drop",
    ]  # fmt: skip
    assert [r.get("reason") for r in answer["results"]] == [
        None, "made_id", "clamped", "no_person", "not_an_object", "bad_money",
    ]  # fmt: skip
    rows, dead = collector.rows(), collector.dead()
    assert [row["event_id"] for row in rows] == [r["event_id"] for r in answer["results"][:3]]
    assert Flag.MADE_ID in Flag(rows[1]["flags"])
    assert [json.loads(letter["original"]) for letter in dead] == events[3:]
    assert [letter["message"] for letter in dead] == [r["message"] for r in answer["results"][3:]]


def test_nulls_stand_anywhere(collector) -> None:
    every = ("anonymous_id", "session_id", "time", "revenue", "currency", "order_id",
             "properties", "context")  # fmt: skip
    answer = collector.post("/v1/events", {**EVENT, **dict.fromkeys(every)})
    assert answer.json["accepted"] == 1
    (row,) = collector.rows()
    assert (row["properties"], row["context"]) == ("{}", "{}")


@pytest.mark.parametrize(
    ("sent_at", "happened"),
    [
        ((NOW + DAY) // 1000, NOW - HOUR),
        ("2027-01-16T08:00:00Z", NOW - HOUR),
        (True, NOW),  # unreadable: the event lies in the future and is clamped
    ],
)
def test_the_clock_is_corrected_by_sent_at(collector, sent_at: Any, happened: int) -> None:
    event = {**EVENT, "time": (NOW + DAY - HOUR) // 1000}
    assert collector.post("/v1/events", {"events": [event], "sent_at": sent_at}).status_code == 200
    assert [row["event_time"] for row in collector.rows()] == [happened]


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"5", b'"x"', b"{", b"[", b"[1", b'{"events":5}', b'{"events":null}', b"[,]"],
)
def test_what_is_no_events_at_all(collector, body: bytes) -> None:
    answer = collector.post("/v1/events", body)
    assert (answer.status_code, answer.json["code"]) == (400, "bad_json")
    assert collector.rows() == collector.dead() == []


@pytest.mark.parametrize("body", [b"[]", b'{"events":[]}'])
def test_no_events(collector, body: bytes) -> None:
    assert collector.post("/v1/events", body).json == {"accepted": 0, "results": []}


def test_the_example_of_the_documentation(collector) -> None:
    text = DOCUMENT.read_text()
    sent, answered = re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert collector.post("/v1/events", json.loads(sent)).json == json.loads(answered)
    assert [row["revenue_minor"] for row in collector.rows()] == [1999]
