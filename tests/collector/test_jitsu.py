"""Jitsu's paths: the last part is the type of the message."""

from __future__ import annotations

import pytest

from tests.collector.conftest import KEY

TRACK = {"type": "track", "event": "x", "userId": "u", "messageId": "m"}


@pytest.mark.parametrize("prefix", ["/api/s", "/api/s/s2s"])
@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("track", {**TRACK, "type": "page"}, "track"),
        ("page", TRACK, "page"),
        ("event", TRACK, "track"),
        ("event", {**TRACK, "type": "group"}, "group"),
        ("batch", {"batch": [TRACK]}, "track"),
    ],
)
def test_the_path_says_the_type(collector, prefix, kind, body, expected) -> None:
    answer = collector.client.post(f"{prefix}/{kind}?writekey={KEY}", json=body)
    assert (answer.status_code, answer.json) == (200, {"ok": True})
    assert [row["type"] for row in collector.rows()] == [expected]


def test_an_event_without_a_type(collector) -> None:
    assert collector.post("/api/s/event", {"userId": "u"}).status_code == 200
    assert [letter["reason"] for letter in collector.dead()] == ["unknown_type"]
