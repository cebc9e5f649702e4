"""Mixpanel's track, import and engage."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.collector.conftest import KEY, NOW
from tests.collector.promoted import promoted

HOUR = 3_600_000_000
SECOND = NOW // 1_000_000 - 3600


def event(name: str = "x", **properties: Any) -> dict[str, Any]:
    return {"event": name, "properties": {"distinct_id": "u1", "$insert_id": "e1",
                                          "time": SECOND, **properties}}  # fmt: skip


def send(collector, *events: Any, path: str = "/track") -> list[dict[str, Any]]:
    assert collector.post(path, list(events)).status_code == 200
    return collector.rows()


def test_a_track(collector) -> None:
    (row,) = send(
        collector,
        event(
            "Signed Up",
            token=KEY,
            ip="203.0.113.9",
            mp_lib="web",
            **{"$lib_version": "2.1", "$current_url": "https://a.example/b", "$os": "iOS"},
            plan="pro",
        ),
    )
    assert (row["type"], row["name"], row["event_id"]) == ("track", "Signed Up", "e1")
    assert (row["user_id"], row["event_time"]) == ("u1", NOW - HOUR)
    assert promoted(row) == {
        "page_url": "https://a.example/b",
        "page_path": "/b",
        "os_name": "iOS",
        "library_name": "web",
        "library_version": "2.1",
    }
    properties = json.loads(row["properties"])
    assert properties["plan"] == "pro"
    assert not {"token", "ip"} & properties.keys()
    assert "203.0.113.9" not in row["context"]


@pytest.mark.parametrize(
    ("written", "happened"),
    [
        (SECOND, NOW - HOUR),
        (SECOND + 0.25, NOW - HOUR + 250_000),
        (str(SECOND), NOW - HOUR),
        (SECOND * 1000, NOW - HOUR),
        (None, NOW),
    ],
)
def test_times(collector, written, happened) -> None:
    (row,) = send(collector, event(time=written))
    assert row["event_time"] == happened


@pytest.mark.parametrize(
    ("properties", "people"),
    [
        ({}, ("u1", None)),
        ({"distinct_id": "$device:d1"}, (None, "d1")),
        ({"distinct_id": "$device:d1", "$device_id": "d1", "$user_id": "u2"}, ("u2", "d1")),
        ({"distinct_id": "u2", "$device_id": "d1"}, ("u2", "d1")),
    ],
)
def test_people(collector, properties, people) -> None:
    (row,) = send(collector, event(**properties))
    assert (row.get("user_id"), row.get("anonymous_id")) == people


def test_events_with_a_meaning(collector) -> None:
    page, identify, alias = send(
        collector,
        event("$mp_web_page_view", current_page_title="Shoes"),
        event("$identify", **{"$identified_id": "u9", "$anon_id": "$device:d9"}),
        event("$create_alias", distinct_id="old", alias="new"),
    )
    assert (page["type"], page["name"]) == ("page", "Shoes")
    assert (identify["type"], identify["user_id"], identify["anonymous_id"]) == (
        "identify", "u9", "d9",
    )  # fmt: skip
    assert (alias["type"], alias["user_id"], alias["anonymous_id"]) == ("alias", "new", "old")


def test_money(collector) -> None:
    paid, other = send(
        collector, event(revenue=0.29, currency="EUR"), event(revenue=5, **{"$insert_id": "e2"})
    )
    assert (paid["revenue_minor"], paid["currency"]) == (29, "EUR")
    assert "revenue_minor" not in other


@pytest.mark.parametrize("packed", [False, True])
def test_forms(collector, packed) -> None:
    text = json.dumps(event(token=KEY))
    data = base64.b64encode(text.encode()).decode() if packed else text
    body = urlencode({"data": data, "verbose": 1})
    assert collector.client.post("/track/", data=body).json == {"status": 1, "error": None}
    assert collector.client.get(f"/track?{body}").status_code == 200
    assert [row["event_id"] for row in collector.rows()] == ["e1", "e1"]


def test_one_event_a_line(collector) -> None:
    lines = b"\n".join(json.dumps(event(n)).encode() for n in ("a", "b")) + b'\n{"event":NaN}\n'
    answer = collector.post("/import?strict=1", lines)
    assert answer.json["num_records_imported"] == 2
    assert [failed["index"] for failed in answer.json["failed_records"]] == [2]
    assert [row["name"] for row in collector.rows()] == ["a", "b"]


def test_profiles(collector) -> None:
    updates = [
        {"$token": KEY, "$distinct_id": "u1", "$ip": "0", "$set": {"plan": "pro"},
         "$set_once": {"plan": "free", "first": 1}, "$add": {"n": 1}},
        {"$token": KEY, "$distinct_id": "$device:d1", "$unset": ["plan"]},
    ]  # fmt: skip
    assert collector.client.post("/engage", json=updates).json == {"status": 1, "error": None}
    first, second = collector.rows()
    assert (first["type"], first["user_id"]) == ("identify", "u1")
    assert json.loads(first["properties"]) == {"plan": "pro", "first": 1, "$add": {"n": 1}}
    assert (second.get("user_id"), second["anonymous_id"]) == (None, "d1")
