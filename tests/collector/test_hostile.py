"""Any bytes, on any route: never a 500, never a stop, and what was accepted is there once."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.collector import blocks
from tests.collector.conftest import Collector
from transforms.failures import Reason

ROUTES = [
    *("/v1/batch", "/v1/b", "/v1/import", "/v1/events", "/v1/track", "/v1/identify", "/v1/page"),
    *("/v1/screen", "/v1/group", "/v1/alias", "/v1/t", "/v1/i", "/v1/p", "/v1/s", "/v1/g", "/v1/a"),
    *("/batch", "/capture", "/e", "/i/v0/e", "/i/v1/analytics/events", "/track", "/import"),
    *("/engage", "/2/httpapi", "/identify", "/cloudevents", "/api/event", "/api/s/track"),
    *("/api/s/event", "/api/s/s2s/batch", "/com.snowplowanalytics.snowplow/tp2"),
    *("/flags", "/decide", "/i", "/v1/pixel.gif", "/com.snowplowanalytics.snowplow/x"),
    *("/", "/v1", "/v1/unknown", "/health", "/health/bus", "/v1/projects/hw_test/settings"),
]
FAST = settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
SEGMENT_NAMES = ["type", "event", "messageId", "userId", "anonymousId", "timestamp", "sentAt",
                 "properties", "traits", "context", "name", "previousId", "groupId"]  # fmt: skip
NATIVE_NAMES = ["type", "name", "event_id", "user_id", "anonymous_id", "session_id", "time",
                "revenue", "currency", "order_id", "properties", "context"]  # fmt: skip
MONEY = st.sampled_from(
    ["1", "-0.5", "1e400", '"1e999999"', '"NaN"', "[]", '"1.999"', "null", "9" * 400, '"٣"']
)
TIMES = st.sampled_from(
    ["0", "-1", "1e300", "9" * 400, '"9999-12-31T23:59:59-23:59"', '"0001-01-01T00:00:00+23:59"',
     '"24:00"', '"2027-W02"', '""', "1.5", "true"]
)  # fmt: skip
OTHER_NAMES = ["e", "eid", "uid", "dtm", "ttm", "stm", "ue_px", "ue_pr", "cx", "co", "tr_tt",
               "tr_cu", "aid", "res", "tv", "url", "event", "uuid", "distinct_id", "timestamp",
               "properties", "$set", "options", "event_type", "user_id", "device_id", "time",
               "price", "quantity", "revenue", "currency", "event_properties", "user_properties",
               "groups", "specversion", "id", "source", "type", "subject", "data", "data_base64",
               "n", "u", "d", "p", "$", "$distinct_id", "$time", "$append"]  # fmt: skip
# Together an event by each of those protocols; a member that comes again goes before.
GOOD_MEMBERS = [
    (name, json.dumps(value).encode())
    for name, value in {
        "e": "se", "se_ac": "x", "uid": "u", "event": "x", "distinct_id": "u", "event_type": "x",
        "user_id": "u", "userId": "u", "$distinct_id": "u", "specversion": "1.0", "id": "1",
        "source": "s", "type": "track", "n": "x", "properties": {"distinct_id": "u"},
    }.items()
]  # fmt: skip
INNER_NAMES = ["$current_url", "$insert_id", "distinct_id", "$device_id", "token", "time", "$ip",
               "revenue", "$revenue", "currency", "$amount", "schema", "data", "$set", "$groups",
               "$price", "$quantity", "order_id", "amount", "user_id"]  # fmt: skip
# Bytes that are wrong in one way each; brackets and quotes match, as every encoder makes them.
WRONG = st.sampled_from(
    [b'{"a":NaN}', b'{"a":"\\ud83d"}', b'{"a":"\xe9"}', b'{"a":"\x00"}', b'{"a":"\\q"}', b"5",
     b"null", b'"text"', b"[]", b"{}", b'{"a":01}', b'{"a":' + b"[" * 3000 + b"]" * 3000 + b"}",
     b'{"type":"charge","userId":"u"}', b'{"userId":{}}', b"tru", b'{"a" 1}']
)  # fmt: skip


def odd_events(names: list[str]) -> st.SearchStrategy[bytes]:
    """Objects with the right names and any values."""
    special = st.one_of(MONEY, TIMES).map(str.encode)
    value = JSON.map(lambda v: json.dumps(v).encode()) | special
    members = st.lists(st.tuples(st.sampled_from(names), value), max_size=6)
    return members.map(
        lambda pairs: b"{" + b",".join(b'"%s":%s' % (n.encode(), v) for n, v in pairs) + b"}"
    )


def other_events() -> st.SearchStrategy[bytes]:
    """Events of the other protocols: known kinds, odd members, and objects within objects."""
    kind = st.sampled_from(
        ["pv", "pp", "se", "ue", "tr", "ti", "$pageview", "$screen", "$identify", "$set", "1.0",
         "$create_alias", "$groupidentify", "$groupidentify", "$mp_web_page_view", "pageview"]
    ).map(lambda name: json.dumps(name).encode())  # fmt: skip
    inner = odd_events(INNER_NAMES)
    packed = inner.map(lambda text: json.dumps(base64.b64encode(text).decode()).encode())
    url = st.sampled_from([b'"http://[x"', b'"/a?utm_source=%FF"', b'"http://x/?utm_source=a&b"'])
    value = JSON.map(lambda v: json.dumps(v).encode()) | kind | inner | packed | url
    value |= st.one_of(MONEY, TIMES).map(str.encode)
    members = st.lists(st.tuples(st.sampled_from(OTHER_NAMES), value), max_size=5)
    return st.tuples(st.sampled_from([[], GOOD_MEMBERS]), members).map(
        lambda parts: (
            b"{" + b",".join(b'"%s":%s' % (n.encode(), v) for n, v in (*parts[0], *parts[1])) + b"}"
        )
    )


class Watched(Collector):
    """Shows only what came since the last look."""

    def __init__(self, spool: Path) -> None:
        super().__init__(spool)
        self._read: dict[str, int] = {}
        self.number = 0

    def new(self, topic: str) -> list[dict[str, Any]]:
        (path,) = blocks.segments(self.spool / topic)
        with path.open("rb") as file:
            file.seek(self._read.get(topic, 0))
            data = file.read()
        self._read[topic] = self._read.get(topic, 0) + len(data)
        return [row for frame in blocks.frames(data) for row in blocks.decoded(frame)[1]]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    made = Watched(tmp_path_factory.mktemp("hostile") / "spool")
    yield made
    made.close()


def assert_sane(watched: Watched, status: int) -> None:
    """What is asked of every answer: whatever was written is readable, and only with a 200."""
    rows, dead = watched.new("events"), watched.new("dead_letters")
    assert status in (200, 400, 404, 405, 413)
    assert status == 200 or rows == dead == []
    for row in rows:
        for name in ("properties", "context"):
            assert isinstance(json.loads(row[name], parse_constant=pytest.fail), dict)
        assert row["event_time"] <= row["received_time"]
    assert {letter["reason"] for letter in dead} <= set(Reason)
    assert watched.gatherer.healthy()


@settings(FAST, max_examples=1500)
@given(
    path=st.sampled_from(ROUTES),
    body=st.binary(max_size=60),
    method=st.sampled_from(["POST", "PUT", "GET", "OPTIONS"]),
)
def test_any_bytes(watched, path: str, body: bytes, method: str) -> None:
    headers = {"X-Write-Key": "hw_test"}
    answer = watched.client.open(path, method=method, data=body, headers=headers)
    assert_sane(watched, answer.status_code)


@settings(FAST, max_examples=1500)
@given(
    path=st.sampled_from(ROUTES[:16]),
    event=odd_events(SEGMENT_NAMES) | odd_events(NATIVE_NAMES) | WRONG,
    around=st.sampled_from([b"%s", b"[%s]", b'{"batch":[%s]}', b'{"events":[%s]}']),
    cut=st.none() | st.tuples(st.integers(0, 80), st.binary(max_size=3)),
    encoding=st.sampled_from(["", "gzip", "deflate", "zstd"]),
)
def test_almost_events(watched, path, event, around, cut, encoding) -> None:
    body = around.replace(b"%s", event)
    if cut is not None:
        body = body[: cut[0]] + cut[1] + body[cut[0] + 1 :]
    if encoding == "gzip":
        body = gzip.compress(body)
    assert_sane(watched, watched.post(path, body, Content_Encoding=encoding).status_code)


@settings(FAST, max_examples=3000)
@given(
    path=st.sampled_from(ROUTES[16:31]),
    event=other_events() | WRONG,
    around=st.sampled_from(
        [b"%s", b"[%s]", b'{"batch":[%s]}', b'{"events":[%s]}', b'{"data":[%s]}', b"%s\n%s"]
    ),
    form=st.sampled_from(["", "data", "identification", "base64"]),
)
def test_almost_events_of_other_protocols(watched, path, event, around, form) -> None:
    body = around.replace(b"%s", event)
    if form == "base64":
        body = b"data=" + base64.urlsafe_b64encode(body)
    elif form:
        body = form.encode() + b"=" + quote_from_bytes(body).encode()
    headers = {"ce_id": "x", "ce_source": "%zz"} if form == "data" else {}
    assert_sane(watched, watched.post(path, body, **headers).status_code)


@settings(FAST, max_examples=1000)
@given(
    path=st.sampled_from(["/i", "/v1/pixel.gif", "/track", "/e", "/capture"]),
    query=st.dictionaries(
        st.sampled_from([*OTHER_NAMES, *NATIVE_NAMES, "p.x", "_", "properties", "context"]),
        st.text(max_size=9) | other_events().map(lambda text: text.decode(errors="replace")),
        max_size=6,
    ),
    raw=st.none() | st.binary(max_size=30),
)
def test_almost_pixels(watched, path, query, raw) -> None:
    encoded = urlencode(query, errors="replace") if raw is None else quote_from_bytes(raw, "&=%")
    answer = watched.client.get(f"{path}?{encoded}", headers={"X-Write-Key": "hw_test"})
    assert_sane(watched, answer.status_code)


@st.composite
def requests(draw: st.DrawFn, names: list[str]) -> list[tuple[bytes, bool]]:
    """(event, whether it is one for certain) of a request; ids are put in at {id}."""
    person, event_id = ("user_id", "event_id") if "user_id" in names else ("userId", "messageId")
    named = "name" if "user_id" in names else "event"
    good = b'{"type":"track","%s":"x","%s":"u","%s":"{id}"}' % (
        named.encode(), person.encode(), event_id.encode()
    )  # fmt: skip
    events = st.just((good, True)) | WRONG.map(lambda event: (event, False))
    return draw(st.lists(events, max_size=12))


@FAST
@given(request=requests(SEGMENT_NAMES))
def test_a_batch_of_good_and_bad(watched, request) -> None:
    sent, ids = numbered(watched, request)
    body = b'{"batch":[' + b",".join(sent) + b'],"sentAt":null}'
    answer = watched.post("/v1/batch", body)
    assert (answer.status_code, answer.json) == (200, {"success": True})
    assert [row["event_id"] for row in watched.new("events")] == ids
    bad = [event for event, (_, good) in zip(sent, request, strict=True) if not good]
    assert [letter["original"] for letter in watched.new("dead_letters")] == bad


@FAST
@given(request=requests(NATIVE_NAMES))
def test_native_answers_are_what_happened(watched, request) -> None:
    sent, ids = numbered(watched, request)
    answer = watched.post("/v1/events", b"[" + b",".join(sent) + b"]").json
    assert [r["result"] != "drop" for r in answer["results"]] == [good for _, good in request]
    assert answer["accepted"] == len(ids)
    assert [r["event_id"] for r in answer["results"] if r["result"] != "drop"] == ids
    assert [row["event_id"] for row in watched.new("events")] == ids
    letters = watched.new("dead_letters")
    assert [letter["reason"] for letter in letters] == [
        r["reason"] for r in answer["results"] if r["result"] == "drop"
    ]


def numbered(watched: Watched, request: list[tuple[bytes, bool]]) -> tuple[list[bytes], list[str]]:
    """The events with ids that no other has, and the ids of those that are good."""
    sent, ids = [], []
    for event, good in request:
        watched.number += 1
        sent.append(event.replace(b"{id}", str(watched.number).encode()))
        if good:
            ids.append(str(watched.number))
    return sent, ids
