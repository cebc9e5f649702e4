"""What each family of clients is answered, as the table of docs/protocols.md has it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from collector.bus.port import BusError, BusFull
from tests.collector.conftest import KEY, NOW, Collector, serve

DOCUMENT = Path(__file__).parents[2] / "docs" / "protocols.md"
MOST = 3  # events in a request
MOST_BYTES = 4_000


@dataclass(frozen=True)
class Family:
    """How one kind of client puts events into a request.

    event:  a good one with this id
    bad:    one that is no event
    body:   the request's body with these events
    key_in: where the key goes, when it goes into the body
    single: a request is always one event
    """

    name: str
    path: str
    event: Any
    bad: Any
    around: str = "%s"
    headers: dict[str, str] = field(default_factory=dict)
    single: bool = False

    def body(self, *events: Any) -> bytes:
        listed = [json.dumps(event) for event in events]
        inner = listed[0] if self.single else "[" + ",".join(listed) + "]"
        return self.around.replace("%s", inner).encode()


def segment(event_id: str) -> dict[str, Any]:
    return {"type": "track", "event": "x", "userId": "u", "messageId": event_id}


FAMILIES = [
    Family("Segment", "/v1/batch", segment, {"type": "track"}, '{"batch":%s}'),
    Family("Segment, one", "/v1/track", segment, {"event": "x"}, single=True),
    Family(
        "native",
        "/v1/events",
        lambda i: {"name": "x", "user_id": "u", "event_id": i},
        {"name": "x"},
        '{"events":%s}',
    ),
    Family(
        "Snowplow",
        "/com.snowplowanalytics.snowplow/tp2",
        lambda i: {"e": "se", "se_ac": "x", "uid": "u", "eid": i},
        {"e": "??"},
        '{"data":%s}',
    ),
    Family(
        "PostHog v0",
        "/batch/",
        lambda i: {"event": "x", "distinct_id": "u", "uuid": i},
        {"event": "x"},
        '{"batch":%s}',
    ),
    Family(
        "PostHog v1",
        "/i/v1/analytics/events",
        lambda i: {"event": "x", "distinct_id": "u", "uuid": i},
        {"event": "x", "uuid": "bad"},
        '{"batch":%s}',
    ),
    Family(
        "CloudEvents",
        "/cloudevents",
        lambda i: {"specversion": "1.0", "id": i, "source": "s", "type": "x", "subject": "u"},
        {"specversion": "1.0"},
        headers={"Content_Type": "application/cloudevents-batch+json"},
    ),
    Family(
        "Mixpanel",
        "/track",
        lambda i: {"event": "x", "properties": {"distinct_id": "u", "$insert_id": i}},
        {"event": "x", "properties": {}},
    ),
    Family(
        "Mixpanel, import",
        "/import",
        lambda i: {"event": "x", "properties": {"distinct_id": "u", "$insert_id": i}},
        {"event": "x", "properties": {}},
    ),
    Family(
        "Amplitude",
        "/2/httpapi",
        lambda i: {"event_type": "x", "user_id": "u", "insert_id": i},
        {"event_type": "x"},
        '{"events":%s}',
    ),
    Family("Jitsu", "/api/s/s2s/track", segment, {"event": "x"}, single=True),
    Family("Plausible", "/api/event", lambda i: {"n": "x", "d": "site"}, {"n": ""}, single=True),
]
BY_NAME = {family.name: family for family in FAMILIES}

# Family -> status of: no key or an unknown one, no JSON, too many events, too large a body.
REFUSALS = {
    "Segment": (401, 400, 413, 413),
    "Segment, one": (401, 400, None, 413),
    "native": (401, 400, 413, 413),
    "Snowplow": (401, 400, 400, 400),
    "PostHog v0": (401, 400, 413, 413),
    "PostHog v1": (401, 400, 413, 413),
    "CloudEvents": (401, 400, 413, 413),
    "Mixpanel": (401, 400, 413, 413),
    "Mixpanel, import": (401, 400, 413, 413),
    "Amplitude": (401, 400, 413, 413),
    "Jitsu": (401, 400, None, 413),
    "Plausible": (401, 400, None, 413),
}
# Family -> answer to one good event `a`, and to that with a bad one behind it.
OK_A = {"index": 0, "event_id": "a", "result": "ok"}
NO_PERSON = "neither user id nor anonymous id; send one of them"
DROPPED = {"index": 1, "result": "drop", "reason": "no_person", "message": NO_PERSON}
ANSWERS: dict[str, tuple[Any, Any]] = {
    "Segment": ({"success": True}, {"success": True}),
    "Segment, one": ({"success": True}, None),
    "native": (
        {"accepted": 1, "results": [OK_A]},
        {"accepted": 1, "results": [OK_A, DROPPED]},
    ),
    "Snowplow": ({"ok": True}, {"ok": True}),
    "PostHog v0": ({"status": 1}, {"status": 1}),
    "PostHog v1": (
        {"results": {"a": {"result": "ok"}}},
        {
            "results": {
                "a": {"result": "ok"},
                "bad": {"result": "drop", "details": f"no_person: {NO_PERSON}"},
            }
        },
    ),
    "CloudEvents": (
        {"accepted": 1, "results": [{**OK_A, "event_id": "s a"}]},
        {
            "accepted": 1,
            "results": [
                {**OK_A, "event_id": "s a"},
                {
                    "index": 1,
                    "result": "drop",
                    "reason": "missing_field",
                    "message": "a CloudEvent needs `id`",
                },
            ],
        },
    ),
    "Mixpanel": ({"status": 1, "error": None}, {"status": 1, "error": None}),
    "Mixpanel, import": (
        {"code": 200, "status": "OK", "num_records_imported": 1, "failed_records": []},
        {
            "code": 200,
            "status": "OK",
            "num_records_imported": 1,
            "failed_records": [{"index": 1, "field": "no_person", "message": NO_PERSON}],
        },
    ),
    "Amplitude": ({"code": 200, "events_ingested": 1}, {"code": 200, "events_ingested": 2}),
    "Jitsu": ({"ok": True}, None),
    "Plausible": (None, None),
}


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    made = Collector(tmp_path / "spool", max_batch_events=MOST, max_body_bytes=MOST_BYTES)
    yield made
    made.close()


def post(collector: Collector, family: Family, *events: Any) -> TestResponse:
    return collector.post(family.path, family.body(*events), **family.headers)


def families(of: dict[str, Any]) -> Any:
    return pytest.mark.parametrize("family", [BY_NAME[name] for name in of], ids=lambda f: f.name)


@families(BY_NAME)
class TestEveryFamily:
    def test_one_event(self, collector, family) -> None:
        answer = post(collector, family, family.event("a"))
        assert answer.status_code == 200
        assert len(collector.rows()) == 1
        assert collector.dead() == []
        expected = ANSWERS[family.name][0]
        if expected is None:
            assert answer.data == b"ok"
        else:
            assert {n: v for n, v in answer.json.items() if n != "payload_size_bytes"} == expected

    def test_a_bad_event_costs_no_good_one(self, collector, family) -> None:
        events = [family.bad] if family.single else [family.event("a"), family.bad]
        answer = post(collector, family, *events)
        assert answer.status_code == 200
        assert len(collector.rows()) == len(events) - 1
        assert [json.loads(letter["original"]) for letter in collector.dead()] == [family.bad]
        expected = ANSWERS[family.name][1]
        if expected is not None:
            assert {n: v for n, v in answer.json.items() if n != "payload_size_bytes"} == expected

    def test_keys(self, collector, family) -> None:
        expected = REFUSALS[family.name][0]
        for key, code in (("", "no_key"), ("hw_unknown", "unknown_key")):
            sent = {n: v for n, v in {"X_Write_Key": key, **family.headers}.items() if v}
            headers = {name.replace("_", "-"): value for name, value in sent.items()}
            body = family.body({n: v for n, v in family.event("a").items() if n != "d"})
            answer = collector.client.post(family.path, data=body, headers=headers)
            assert (answer.status_code, answer.json["code"]) == (expected, code)
        assert collector.rows() == collector.dead() == []

    @pytest.mark.parametrize("body", [b"", b"<xml/>", b"5", b"null", b'{"', b"[", b"\xff\xfe"])
    def test_no_json(self, collector, family, body) -> None:
        answer = collector.post(family.path, body, **family.headers)
        assert (answer.status_code, answer.json["code"]) == (REFUSALS[family.name][1], "bad_json")
        assert answer.json["detail"] == answer.json["message"]
        assert collector.rows() == collector.dead() == []

    def test_too_large(self, collector, family) -> None:
        answer = post(collector, family, {**family.event("a"), "more": "x" * MOST_BYTES})
        assert (answer.status_code, answer.json["code"]) == (REFUSALS[family.name][3], "too_large")
        assert collector.rows() == collector.dead() == []

    def test_slash_and_options(self, collector, family) -> None:
        body, path = family.body(family.event("a")), family.path.rstrip("/")
        assert collector.post(f"{path}/", body, **family.headers).status_code == 200
        asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST",
                 "Access-Control-Request-Headers": "x-retry-count"}  # fmt: skip
        answer = collector.client.options(path, headers=asked)
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert answer.headers["Access-Control-Allow-Headers"] == "x-retry-count"

    @pytest.mark.parametrize(("error", "status"), [(BusError("away"), 503), (BusFull("full"), 507)])
    def test_a_bus_that_takes_nothing(self, tmp_path, family, error, status) -> None:
        served = serve(Refusing(error), tmp_path)
        headers = {"X-Write-Key": KEY} | {
            name.replace("_", "-"): value for name, value in family.headers.items()
        }
        answer = served.client.post(
            family.path, data=family.body(family.event("a")), headers=headers
        )
        served.close()
        assert answer.status_code == status
        assert int(answer.headers["Retry-After"]) > 0


@families({name: one for name, one in BY_NAME.items() if not one.single})
class TestFamiliesWithBatches:
    def test_no_events(self, collector, family) -> None:
        assert post(collector, family).status_code == 200
        assert collector.rows() == collector.dead() == []

    def test_too_many(self, collector, family) -> None:
        events = [family.event(str(n)) for n in range(MOST + 1)]
        answer = post(collector, family, *events)
        assert answer.json["code"] == "too_many_events"
        assert answer.status_code == REFUSALS[family.name][2]
        assert collector.rows() == collector.dead() == []
        assert post(collector, family, *events[1:]).status_code == 200


class Refusing:
    """A bus that is away or full."""

    lanes = 1

    def __init__(self, error: BusError) -> None:
        self._error = error

    def publish(self, rows: Any, dead: Any) -> None:
        raise self._error

    def healthy(self) -> bool:
        return False

    def close(self) -> None: ...


KEYS_IN_BODIES = [
    ("Segment", lambda body: {"writeKey": KEY, **body}),
    ("native", lambda body: {"writeKey": KEY, **body}),
    ("PostHog v0", lambda body: {"api_key": KEY, **body}),
    ("PostHog v0", lambda body: {"token": KEY, **body}),
    ("PostHog v0", lambda body: {**body["batch"][0], "properties": {"token": KEY}}),
    ("PostHog v0", lambda body: [{**body["batch"][0], "properties": {"token": KEY}}]),
    ("PostHog v0", lambda body: {"batch": [{**body["batch"][0], "api_key": KEY}]}),
    ("Snowplow", lambda body: {"data": [{**body["data"][0], "aid": KEY}]}),
    ("Mixpanel", lambda body: [{**body[0], "properties": {"token": KEY, "distinct_id": "u"}}]),
    ("Amplitude", lambda body: {"api_key": KEY, **body}),
    ("Plausible", lambda body: {**body, "d": KEY}),
]


@pytest.mark.parametrize(("name", "with_key"), KEYS_IN_BODIES)
def test_the_key_in_the_body(collector, name, with_key) -> None:
    family = BY_NAME[name]
    body = with_key(json.loads(family.body(family.event("a"))))
    assert collector.client.post(family.path, json=body).status_code == 200
    (row,) = collector.rows()
    assert KEY not in row["properties"]


@families(BY_NAME)
def test_the_key_elsewhere(collector, family) -> None:
    credentials = base64.b64encode(f"{KEY}:".encode()).decode()
    named = {name.replace("_", "-"): value for name, value in family.headers.items()}
    for path, headers in (
        (family.path, {"Authorization": f"Basic {credentials}"}),
        (family.path, {"Authorization": f"Bearer {KEY}"}),
        (f"{family.path}?writeKey={KEY}", {}),
    ):
        body = family.body(family.event(path))
        answer = collector.client.post(path, data=body, headers={**named, **headers})
        assert answer.status_code == 200, answer.json


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/com.snowplowanalytics.snowplow/tp3", 400),
        ("/com.snowplowanalytics.iglu/v1", 400),
        ("/v1/logs", 404),
        ("/v1/traces", 404),
        ("/s", 404),
        ("/api/s/charge", 404),
    ],
)
def test_paths_that_are_none(collector, path, status) -> None:
    assert collector.post(path, {}).status_code == status


def test_retries_are_recorded(collector) -> None:
    family = BY_NAME["PostHog v1"]
    for attempt, retries in (("1", None), ("2", 1), ("9", 8), ("x", None)):
        body = family.body(family.event(attempt))
        assert collector.post(family.path, body, PostHog_Attempt=attempt).status_code == 200
        assert collector.rows()[-1].get("retry_count") == retries
        assert collector.rows()[-1]["received_time"] == NOW


def test_the_table_of_the_documentation() -> None:
    """Rows `| family | 401 | 400 | 413 | 413 |` between the markers are REFUSALS."""
    text = DOCUMENT.read_text()
    found = {}
    for row in re.findall(r"^\| (.+) \|$", text, re.MULTILINE):
        cells = [cell.strip() for cell in row.split("|")]
        if cells[0] in REFUSALS and len(cells) == 6:
            found[cells[0]] = tuple(int(c) if c != "n/a" else None for c in cells[2:])
    assert found == REFUSALS
