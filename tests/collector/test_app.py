"""What a client is answered, for anything that it may send or that may go wrong behind."""

from __future__ import annotations

import gzip
import json
import logging
from typing import Any

import pytest

from collector.bus.port import BusBusy, BusError, BusFull, BusState
from tests.collector.conftest import KEY, NOW, Collector, serve
from transforms.flags import Flag

DAY_MS = 86_400_000
GOOD = b'{"type":"track","event":"x","userId":"u","messageId":"m"}'


def message(**fields: Any) -> dict[str, Any]:
    return {"type": "track", "event": "x", "userId": "u", "messageId": "m", **fields}


def batch(*messages: bytes) -> bytes:
    return b'{"batch":[' + b",".join(messages) + b"]}"


def many(count: int) -> list[dict[str, Any]]:
    return [message(messageId=f"m{n}") for n in range(count)]


# (what, path, body, status, code, accepted, reasons of dead letters)
ANSWERS: list[tuple[str, str, Any, int, str | None, int, list[str]]] = [
    ("one", "/v1/track", message(), 200, None, 1, []),
    ("empty batch", "/v1/batch", {"batch": []}, 200, None, 0, []),
    ("most events", "/v1/batch", {"batch": many(200)}, 200, None, 200, []),
    ("too many events", "/v1/batch", {"batch": many(201)}, 413, "too_many_events", 0, []),
    ("too many, natively", "/v1/events", [1] * 201, 413, "too_many_events", 0, []),
    ("too many, broken", "/v1/batch", batch(*[b"NaN"] * 201), 413, "too_many_events", 0, []),
    ("empty", "/v1/track", b"", 400, "bad_json", 0, []),
    ("empty", "/v1/batch", b"", 400, "bad_json", 0, []),
    ("not JSON", "/v1/track", b"event=x&userId=u", 400, "bad_json", 0, []),
    ("not JSON", "/v1/batch", b"<batch/>", 400, "bad_json", 0, []),
    ("cut off", "/v1/track", GOOD[:-1], 400, "bad_json", 0, []),
    ("cut off", "/v1/batch", batch(GOOD)[:-1], 400, "bad_json", 0, []),
    ("two documents", "/v1/track", GOOD + GOOD, 400, "bad_json", 0, []),
    ("no object", "/v1/track", [message()], 400, "bad_json", 0, []),
    ("no batch", "/v1/batch", message(), 400, "bad_json", 0, []),
    ("batch of another kind", "/v1/batch", {"batch": {}}, 400, "bad_json", 0, []),
    ("null batch", "/v1/batch", {"batch": None}, 400, "bad_json", 0, []),
    ("UTF-16", "/v1/track", GOOD.decode().encode("utf-16"), 400, "bad_json", 0, []),
    ("latin-1 context", "/v1/batch", b'{"batch":[],"context":{"":"\xe9"}}', 400, "bad_json", 0, []),
    ("byte order mark", "/v1/track", b"\xef\xbb\xbf" + GOOD, 200, None, 1, []),
    ("10 MB", "/v1/batch", b" " * (10 << 20), 413, "too_large", 0, []),
    ("bomb", "/v1/batch", gzip.compress(bytes(50 << 20)), 413, "too_large", 0, []),
    ("damaged gzip", "/v1/batch", gzip.compress(GOOD)[:-4], 400, "bad_encoding", 0, []),
    ("elements of other kinds", "/v1/batch", b'{"batch":[1,null,"x",[],true]}', 200, None, 0,
     ["not_an_object"] * 5),
    ("latin-1 in a name", "/v1/track", GOOD.replace(b"x", b"\xe9"), 200, None, 0, ["unreadable"]),
    ("latin-1 in properties", "/v1/batch",
     batch(GOOD, GOOD.replace(b"}", b',"properties":{"a":"\xe9"}}')), 200, None, 1, ["unreadable"]),
    ("latin-1 in context", "/v1/batch",
     batch(GOOD, GOOD.replace(b"}", b',"context":{"\xe9":1}}')), 200, None, 1, ["unreadable"]),
    ("latin-1 natively", "/v1/events",
     b'[{"name":"x","user_id":"u","properties":{"a":"\xe9"}}]', 200, None, 0, ["unreadable"]),
    ("half an emoji", "/v1/batch",
     batch(GOOD, GOOD.replace(b'"x"', b'"\\ud83d"')), 200, None, 1, ["unreadable"]),
    ("half an emoji in properties", "/v1/batch",
     batch(GOOD.replace(b"}", b',"properties":{"a":"\\ude00"}}'), GOOD), 200, None, 1,
     ["unreadable"]),
    ("half an emoji natively", "/v1/events",
     b'{"events":[{"name":"\\ud83d","user_id":"u"},{"name":"x","user_id":"u"}]}', 200, None, 1,
     ["unreadable"]),
    ("NaN", "/v1/batch", batch(GOOD, b'{"properties":{"a":NaN}}'), 200, None, 1, ["unreadable"]),
    ("NaN in a lone one", "/v1/track", GOOD.replace(b'"x"', b"NaN"), 200, None, 0, ["unreadable"]),
    ("NUL", "/v1/track", message(userId="a\0b", event="\0"), 200, None, 1, []),
    ("bare NUL", "/v1/batch", batch(GOOD, GOOD.replace(b"x", b"\0")), 200, None, 1, ["unreadable"]),
    ("1e400 as a property", "/v1/track", GOOD.replace(b"}", b',"properties":{"a":1e400}}'), 200,
     None, 1, []),
    ("1e400 as an id", "/v1/track", GOOD.replace(b'"u"', b"1e400"), 200, None, 0, ["wrong_type"]),
    ("10**400 as an id", "/v1/track", GOOD.replace(b'"u"', b"1" + b"0" * 400), 200, None, 0,
     ["id_too_long"]),
    ("10**5000 as an id", "/v1/track", GOOD.replace(b'"u"', b"1" + b"0" * 5000), 200, None, 0,
     ["wrong_type"]),
    ("deep", "/v1/batch", batch(GOOD, b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}"), 200, None,
     1, ["unreadable"]),
    ("deep, never closed", "/v1/batch", b"[" * 100_000, 400, "bad_json", 0, []),
    ("names twice", "/v1/track", GOOD.replace(b"}", b',"event":"last"}'), 200, None, 1, []),
    ("100 characters", "/v1/track", message(userId="ä" * 100), 200, None, 1, []),
    ("101 characters", "/v1/track", message(userId="ä" * 101), 200, None, 0, ["id_too_long"]),
    ("event too large", "/v1/batch", {"batch": [message(event="x" * 140_000), message()]}, 200,
     None, 1, ["event_too_large"]),
    ("no such route", "/v1/nothing", message(), 404, "not_found", 0, []),
    ("left free for OTLP", "/v1/logs", message(), 404, "not_found", 0, []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "accepted", "reasons"),
    [pytest.param(*row[1:], id=f"{row[0]} to {row[1]}") for row in ANSWERS],
)
def test_the_answer_table(tmp_path, path, body, status, code, accepted, reasons) -> None:
    collector = Collector(tmp_path / "spool", max_batch_events=200)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = collector.post(path, data, Origin="https://shop.example")
    collector.close()
    assert answer.status_code == status
    assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    if status != 200:
        assert answer.json["code"] == code
        assert answer.json["message"] == answer.json["detail"] != ""
    elif path == "/v1/events":
        assert answer.json["accepted"] == accepted
    else:
        assert answer.json == {"success": True}
    assert len(collector.rows()) == accepted
    letters = collector.dead()
    assert [letter["reason"] for letter in letters] == reasons
    assert all(letter["original"] in data for letter in letters)


def test_one_bad_event_among_a_hundred(collector) -> None:
    bad = {"type": "track", "userId": "u", "properties": {"price": [1, 2.50]}}
    events = [*many(60), bad, *many(39)]
    answer = collector.post("/v1/batch", {"batch": events}, Cookie="secret", X_Retry_Count="2")
    assert (answer.status_code, answer.json) == (200, {"success": True})
    assert len(collector.rows()) == 99
    (letter,) = collector.dead()
    assert json.loads(letter.pop("original")) == bad
    headers = json.loads(letter.pop("headers"))
    assert headers["X-Retry-Count"] == "2"
    assert not {"cookie", "x-write-key", "authorization"} & {name.lower() for name in headers}
    assert len(letter.pop("dead_letter_id")) == 32
    made = {"type": "track", "user_id": "u", "properties": {"price": [1, 2.50]}}
    assert json.loads(letter.pop("candidate")) == made
    assert json.loads(letter.pop("request")) == {"retry_count": 2}
    assert letter == {
        "project": "shop",
        "source": "web",
        "step": "intake",
        "reason": "missing_field",
        "message": "a track needs a name: the field `event`",
        "received_time": NOW,
    }


def test_1970_is_a_dead_letter_and_tomorrow_is_clamped(collector) -> None:
    old = message(timestamp="1970-01-01T00:00:01Z")
    ahead = message(timestamp=NOW // 1000 + DAY_MS)
    assert collector.post("/v1/batch", {"batch": [old, ahead]}).status_code == 200
    assert [letter["reason"] for letter in collector.dead()] == ["time_out_of_range"]
    (row,) = collector.rows()
    assert (row["event_time"], Flag(row["flags"])) == (NOW, Flag.CLAMPED)
    assert row["original_time"] == NOW + DAY_MS * 1000


def test_huge_headers_do_not_stand_in_each_dead_letter(collector) -> None:
    answer = collector.post("/v1/batch", b'{"batch":[1,2]}', X_Small="kept", X_Huge="x" * 50_000)
    assert answer.status_code == 200
    for letter in collector.dead():
        assert len(letter["headers"]) < 10_000


def test_a_small_body_does_not_become_a_large_one(collector) -> None:
    """A context is shared by all events: 2,500 times 100 kB would be a quarter of a gigabyte."""
    body = {"batch": many(2500), "context": {"a": "x" * 100_000}}
    answer = collector.post("/v1/batch", gzip.compress(json.dumps(body).encode()))
    assert (answer.status_code, answer.json["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("sent", "kept"), [("3", 3), ("0", None), ("-1", None), ("²", None), ("9" * 9, None)]
)
def test_the_senders_count_of_resends_is_kept(collector, sent: str, kept: int | None) -> None:
    assert collector.post("/v1/track", message(), X_Retry_Count=sent).status_code == 200
    assert [row.get("retry_count") for row in collector.rows()] == [kept]


class TestWho:
    @pytest.mark.parametrize("path", ["/v1/track", "/v1/batch", "/v1/events", "/v1/t"])
    @pytest.mark.parametrize(("key", "code"), [(None, "no_key"), ("wrong", "unknown_key")])
    def test_without_a_key_nothing_is_kept(self, collector, path, key, code) -> None:
        headers = {"Origin": "https://a.example"} | ({"X-Write-Key": key} if key else {})
        answer = collector.client.post(path, json={"batch": [message()]}, headers=headers)
        assert (answer.status_code, answer.json["code"]) == (401, code)
        assert answer.headers["Access-Control-Allow-Origin"] == "https://a.example"
        assert collector.rows() == collector.dead() == []

    def test_settings_of_the_browser_sdk(self, collector) -> None:
        answer = collector.client.get(f"/v1/projects/{KEY}/settings")
        assert answer.json["integrations"]["Segment.io"] == {
            "apiKey": KEY,
            "apiHost": "localhost/v1",
        }
        assert collector.client.get("/v1/projects/wrong/settings").status_code == 401


class TestHttp:
    @pytest.mark.parametrize("path", ["/v1/track", "/v1/batch", "/v1/events", "/v1/t", "/v1/b"])
    @pytest.mark.parametrize("slash", ["/", "//"])
    def test_trailing_slashes(self, collector, path: str, slash: str) -> None:
        body = message() | {"batch": [message()], "name": "x", "user_id": "u"}
        assert collector.post(path + slash, body).status_code == 200
        assert len(collector.rows()) == 1

    @pytest.mark.parametrize("path", ["/health", "/health/", "/health/bus", "/health/bus/"])
    def test_get_and_head(self, collector, path: str) -> None:
        assert collector.client.get(path).status_code == 200
        answer = collector.client.head(path)
        assert (answer.status_code, answer.data) == (200, b"")

    @pytest.mark.parametrize("path", ["/v1/track", "/v1/batch/", "/v1/events", "/v1/t"])
    def test_a_browser_may_ask_first(self, collector, path: str) -> None:
        asked = "authorization,content-type,x-retry-count"
        answer = collector.client.options(
            path,
            headers={
                "Origin": "https://shop.example",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": asked,
            },
        )
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert answer.headers["Access-Control-Allow-Headers"] == asked
        assert int(answer.headers["Access-Control-Max-Age"]) >= 900
        allowed = answer.headers["Access-Control-Allow-Methods"].split(", ")
        routes = collector.client.application.url_map.iter_rules()
        assert set(allowed) == {method for route in routes for method in route.methods}
        assert "Origin" in answer.headers["Vary"]

    def test_every_answer_lets_pages_read_when_to_try_again(self, collector) -> None:
        for path in ("/nothing", "/health"):
            answer = collector.client.get(path, headers={"Origin": "https://shop.example"})
            assert answer.headers["Access-Control-Expose-Headers"] == "Retry-After"

    def test_without_an_origin_there_is_no_cors(self, collector) -> None:
        answer = collector.post("/v1/track", message())
        assert "Access-Control-Allow-Origin" not in answer.headers

    @pytest.mark.parametrize("method", ["PUT", "GET", "HEAD", "DELETE"])
    def test_other_methods_say_which_there_are(self, collector, method: str) -> None:
        answer = collector.client.open(
            "/v1/batch", method=method, headers={"Origin": "https://a.example"}
        )
        assert answer.status_code == 405
        assert "POST" in answer.headers["Allow"]
        assert answer.headers["Access-Control-Allow-Origin"] == "https://a.example"


class Failing:
    """A bus that takes nothing."""

    lanes = 1

    def __init__(self, error: Exception) -> None:
        self.error = error

    def publish(self, rows: Any, dead: Any) -> None:
        raise self.error

    def healthy(self) -> bool:
        return False

    def state(self) -> BusState:
        return BusState("down", "broken")

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("error", "status", "code", "retry_after_s"),
    [
        (BusError("broken"), 503, "unavailable", "5"),
        (BusBusy("200,000 wait"), 503, "unavailable", "1"),
        (BusFull("no space"), 507, "disk_full", "30"),
        (ZeroDivisionError("of user ann@example.com"), 500, "internal_error", "5"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/track", "/v1/events"])
def test_a_bus_that_fails(tmp_path, caplog, path, error, status, code, retry_after_s) -> None:
    client = serve(Failing(error), tmp_path).client
    headers = {"X-Write-Key": KEY, "Origin": "https://a.example"}
    body = message(name="x", user_id="u", secret="ann@example.com")
    with caplog.at_level(logging.DEBUG):
        answer = client.post(path, json=body, headers=headers)
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert answer.headers["Retry-After"] == retry_after_s
    assert answer.headers["Access-Control-Allow-Origin"] == "https://a.example"
    assert "ann@example.com" not in caplog.text + answer.text
    if status == 500:
        assert "ZeroDivisionError on" in caplog.text
        assert "in publish" in caplog.text, "where it happened"


def test_ready_is_not_alive(tmp_path) -> None:
    client = serve(Failing(BusError("broken")), tmp_path).client
    assert client.get("/health").json == {"alive": True}
    answer = client.get("/health/bus")
    assert answer.status_code == 503
    assert answer.json["healthy"] is False
    assert (answer.json["bus"], answer.json["error"]) == ("down", "broken")
