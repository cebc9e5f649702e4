"""What a developer sees of their own events: /debug/…, and the header on any collector."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask import Flask
from werkzeug.serving import make_server

from catalog.policy import SchemaMode, SourcePolicy
from catalog.schemas import SchemaRegistry
from catalog.store import Catalog, KeyOwner
from collector import debug
from collector.bus.spool import SpoolPublisher
from tests.collector import blocks
from tests.collector.conftest import KEY, serve
from tests.test_docs import FENCE

ROOT = Path(__file__).parent.parent.parent
OTHER = "hw_other"
AVRO = {
    "type": "record",
    "name": "Bought",
    "event": {"type": "track", "name": "Bought"},
    "fields": [{"name": "total", "type": "double"}],
}


class Server:
    """A collector with and without /debug, on a spool and a catalogue of its own."""

    def __init__(self, data: Path, mode: SchemaMode = "enforce", *, endpoints: bool = True) -> None:
        catalog = Catalog(f"sqlite:///{data}/catalog.db")
        catalog.migrate()
        catalog.add_project("shop")
        self.registry = SchemaRegistry(catalog)
        self.registry.register("shop", json.dumps(AVRO))
        policy = SourcePolicy(schema_mode=mode)
        owners = {KEY: KeyOwner("shop", "web", policy), OTHER: KeyOwner("shop", "app", policy)}
        self.spool = data / "spool"
        publisher = SpoolPublisher(self.spool, segment_bytes=1 << 30)
        served = serve(publisher, data, owners, self.registry.all, debug_endpoints=int(endpoints))
        self.client, self.close = served.client, served.close
        self.app: Flask = served.client.application

    def post(self, path: str, body: Any, key: str = KEY, **headers: str) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(path, data=data, headers={"X-Write-Key": key, **headers})

    def get(self, path: str) -> Any:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    made.close()


@pytest.fixture
def warning(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path, "warn")
    yield made
    made.close()


@pytest.fixture
def production(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path, endpoints=False)
    yield made
    made.close()


def track(name: str, event_id: str, **properties: Any) -> dict[str, Any]:
    return {"type": "track", "event": name, "messageId": event_id, "userId": "u",
            "properties": properties}  # fmt: skip


BATCH = {
    "batch": [
        track("Bought", "e1", total=9.5, extra={"deep": [1]}),
        track("Bought", "e2", total="9,50"),
        track("Seen", "e3"),
        "no object",
    ]
}


def test_counts_good_and_bad(server):
    assert server.get("/debug/all") == {"total": 0, "good": 0, "bad": 0}
    assert server.post("/v1/batch", BATCH).status_code == 200
    assert server.get("/debug/all") == {"total": 4, "good": 2, "bad": 2}


def test_a_good_event_is_shown_as_it_is_on_the_bus(server):
    server.post("/v1/batch", BATCH)
    server.post("/v1/track", {"event": "Without id", "userId": "u", "context": {"locale": "de"}})
    shown = server.get("/debug/good")
    assert [one["event"].get("name") for one in shown] == ["Without id", "Seen", "Bought"]
    stored = [
        {n: json.loads(v) if n in ("properties", "context") else v for n, v in row.items()}
        for row in blocks.rows(server.spool / "events")
    ]
    assert [one["event"] for one in reversed(shown)] == stored
    assert stored[0]["schema_version"] == 1


def test_a_bad_event_is_shown_with_reason_and_original(server):
    server.post("/v1/batch", BATCH)
    dead = blocks.rows(server.spool / "dead_letters")
    shown = server.get("/debug/bad")
    assert [(one["reason"], one["message"]) for one in reversed(shown)] == [
        (letter["reason"], letter["message"]) for letter in dead
    ]
    assert json.loads(shown[1]["original"]) == BATCH["batch"][1]
    assert shown[1]["message"] == (
        "'Bought' does not fit version 1 of its schema: total: expected float, got str; "
        'found "9,50"'
    )


def test_filters_and_limit(server):
    server.post("/v1/batch", BATCH)
    server.post(
        "/v1/events", {"name": "Bought", "event_id": "n1", "user_id": "u", "properties": {}}
    )
    ids = [one["event"]["event_id"] for one in server.get("/debug/good?name=Bought")]
    assert ids == ["e1"]
    assert len(server.get("/debug/bad?name=Bought")) == 2
    assert len(server.get("/debug/bad?event_id=n1")) == 1
    assert server.get("/debug/bad?event_id=n1&name=Seen") == []
    assert [o["event"]["event_id"] for o in server.get("/debug/good?limit=1")] == ["e3"]
    assert server.get("/debug/good?limit=0") == []
    assert server.client.get("/debug/good?limit=-1").status_code == 400


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_reset(server, method):
    server.post("/v1/batch", BATCH)
    answer = server.client.open("/debug/reset", method=method)
    assert answer.json == {"total": 0, "good": 0, "bad": 0}
    assert server.get("/debug/good") == server.get("/debug/bad") == []
    server.post("/v1/batch", BATCH)
    assert server.get("/debug/all") == {"total": 4, "good": 2, "bad": 2}


def test_a_request_that_is_refused_as_a_whole_is_bad(server):
    assert server.post("/v1/track", track("Bought", "e1"), key="hw_typo").status_code == 401
    assert server.post("/v1/batch", b"{").status_code == 400
    server.client.get("/favicon.ico")
    (unreadable, unknown) = server.get("/debug/bad")
    assert (unknown["reason"], unknown["request"]) == ("unknown_key", "POST /v1/track")
    assert (unreadable["reason"], unreadable["request"]) == ("bad_json", "POST /v1/batch")
    assert server.get("/debug/all") == {"total": 2, "good": 0, "bad": 2}


def test_a_misfit_that_is_only_warned_of_is_good_with_its_message(warning):
    warning.post("/v1/batch", BATCH)
    assert warning.get("/debug/all") == {"total": 4, "good": 3, "bad": 1}
    (bad, good) = warning.get("/debug/good?name=Bought")
    assert (bad["result"], bad["reason"]) == ("warning", "schema_mismatch")
    assert 'total: expected float, got str; found "9,50"' in bad["message"]
    assert good["result"] == "ok"


def test_what_is_kept_is_bounded_and_what_is_counted_is_not(server):
    events = [track("Seen", f"e{n}", text="x" * 9_000) for n in range(1_500)]
    for start in range(0, 1_500, 100):
        server.post("/v1/batch", {"batch": events[start : start + 100]})
    assert server.get("/debug/all") == {"total": 1_500, "good": 1_500, "bad": 0}
    shown = server.get("/debug/good?limit=9999")
    assert len(shown) == 1_000
    assert shown[0]["event"]["event_id"] == "e1499"
    big = [track("Seen", f"b{n}", text="x" * 100_000) for n in range(200)]
    for start in range(0, 200, 20):
        server.post("/v1/batch", {"batch": big[start : start + 20]})
    assert 150 < len(server.get("/debug/good?limit=9999")) < 170  # 16 MB


def test_hostile_events_are_shown_too(server):
    deep = b'{"type":"track","event":"Seen","userId":"u","properties":{"a":%s1%s}}'
    bodies = [
        deep % (b"[" * 900, b"]" * 900),
        b'{"event":"Seen","userId":"u","properties":{"a":"\\ud800 </script>","b":1e999}}',
        b'{"event":"Seen","userId":7,"messageId":"\xff"}',
        json.dumps(track("Seen", "\u2028\r\nX-Evil: 1", n=1 << 80)).encode(),
    ]
    for body in bodies:
        answer = server.post("/v1/track", body, **{debug.ASKS: "1"})
        assert answer.status_code in (200, 400)
        assert "X-Evil" not in answer.headers
    assert server.get("/debug/all")["total"] >= 3
    assert isinstance(server.get("/debug/good"), list)
    assert isinstance(server.get("/debug/bad"), list)


# -- The header.


def results(answer: Any) -> Any:
    return json.loads(answer.headers[debug.RESULTS])


WANTED = {
    "accepted": 2,
    "results": [
        {"index": 0, "event_id": "e1", "result": "ok"},
        {
            "index": 1,
            "result": "drop",
            "reason": "schema_mismatch",
            "message": "'Bought' does not fit version 1 of its schema: total: expected float, got "
            'str; found "9,50"',
        },
        {"index": 2, "event_id": "e3", "result": "ok"},
    ],
}


def test_a_marked_request_gets_a_result_for_each_event_on_any_collector(production):
    answer = production.post("/v1/batch", BATCH, **{debug.ASKS: "1", "Origin": "https://a.example"})
    assert answer.json == {"success": True}
    found = results(answer)
    assert found["accepted"] == 2
    assert found["results"][:3] == WANTED["results"]
    assert found["results"][3]["reason"] == "not_an_object"
    assert debug.RESULTS in answer.headers["Access-Control-Expose-Headers"]
    assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
    by_query = production.post("/v1/batch?headwater_debug=1", BATCH)
    assert results(by_query) == found


def test_others_get_none_and_nobody_without_a_key(production):
    assert debug.RESULTS not in production.post("/v1/batch", BATCH).headers
    refused = production.post("/v1/batch", BATCH, key="hw_typo", **{debug.ASKS: "1"})
    assert refused.status_code == 401
    assert debug.RESULTS not in refused.headers


def test_the_header_says_why_a_misfit_is_warned_of(warning):
    found = results(warning.post("/v1/batch", BATCH, **{debug.ASKS: "1"}))
    assert found["results"][1] == {**WANTED["results"][1], "event_id": "e2", "result": "warning"}
    assert found["accepted"] == 3


def test_the_header_is_bounded_ascii_on_one_line(production):
    batch = [track("Bought\r\né", f"e{n}") for n in range(500)]
    header = production.post("/v1/batch", {"batch": batch}, **{debug.ASKS: "1"}).headers
    text = header[debug.RESULTS]
    assert text.isascii()
    assert text.isprintable()
    assert len(text) < 4_200
    found = json.loads(text)
    assert found["accepted"] == 500
    assert len(found["results"]) + found["more"] == 500


def test_without_the_setting_there_is_no_debug_page(production):
    for path in ("all", "good", "bad", "reset", f"live?key={KEY}"):
        assert production.client.get(f"/debug/{path}").status_code == 404


# -- Over HTTP.


@pytest.fixture
def address(server: Server) -> Iterator[str]:
    made = make_server("127.0.0.1", 0, server.app, threaded=True)
    made.daemon_threads = True  # type: ignore[attr-defined]
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{made.server_port}"
    made.shutdown()
    thread.join()
    made.server_close()


def parsed(answer: httpx.Response) -> tuple[str, list[tuple[str, Any]]]:
    """(last id, events) of server-sent events."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    last, kind, found = "", "", []
    for line in answer.text.split("\n"):
        name, _, value = line.partition(": ")
        if name == "id":
            last = value
        elif name == "event":
            kind = value
        elif name == "data":
            found.append((kind, json.loads(value)))
    return last, found


def listen(address: str, query: str, count: int, send: Callable[[], None]) -> list[tuple[str, Any]]:
    """The next `count` events as an EventSource hears them; `send` comes while it waits."""
    url = f"{address}/debug/live?key={query}"
    last, found = parsed(httpx.get(url))
    assert found == []
    later = threading.Timer(0.2, send)
    later.start()
    while len(found) < count:
        last, more = parsed(httpx.get(url, headers={"Last-Event-ID": last}, timeout=12))
        found += more
    later.join()
    return found


def test_live_shows_only_ones_own_marked_events(server, address):
    server.post("/v1/track", track("Seen", "before"), **{debug.ASKS: "1"})

    def send() -> None:
        server.post("/v1/track", track("Seen", "unmarked"))
        server.post("/v1/track", track("Seen", "other key"), key=OTHER, **{debug.ASKS: "1"})
        server.post("/v1/track", track("Seen", "anna's"), **{debug.ASKS: "anna"})
        server.post("/v1/batch", BATCH, **{debug.ASKS: "1"})

    found = listen(address, KEY, 5, send)
    assert [kind for kind, _ in found] == ["good", "good", "bad", "good", "bad"]
    good = [one["event"]["event_id"] for kind, one in found if kind == "good"]
    assert good == ["anna's", "e1", "e3"]
    found = listen(address, f"{KEY}&session=anna", 1, send)
    assert [one["event"]["event_id"] for _, one in found] == ["anna's"]


def test_live_needs_a_key_and_a_number(server):
    assert server.client.get("/debug/live").status_code == 401
    assert server.client.get("/debug/live?key=hw_typo&after=0").status_code == 401
    assert server.client.get(f"/debug/live?key={KEY}&after=x").status_code == 400


def test_live_holds_only_some_threads(server, monkeypatch):
    monkeypatch.setattr(debug, "_WAIT_S", 1.0)
    ring = server.app.extensions["debug"].ring
    found: list[Any] = []
    listeners = [
        threading.Thread(target=lambda: found.append(ring.wait(0, ("shop", "web"), None)))
        for _ in range(8)
    ]
    for listener in listeners:
        listener.start()
    while ring._listeners < 8:
        time.sleep(0.01)
    answer = server.client.get(f"/debug/live?key={KEY}&after=0")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    for listener in listeners:
        listener.join()
    assert found == [[]] * 8
    assert server.client.get(f"/debug/live?key={KEY}&after=0").status_code == 200


def test_the_snippet_of_the_docs(server, address, monkeypatch):
    """The pytest snippet of docs/schemas.md, as it stands there, against this collector."""
    document = (ROOT / "docs" / "schemas.md").read_text()
    (snippet,) = [text for language, text in FENCE.findall(document) if "def test_" in text]
    monkeypatch.setenv("COLLECTOR", address)
    monkeypatch.setenv("WRITE_KEY", KEY)
    names: dict[str, Any] = {}
    exec(compile(snippet, "docs/schemas.md", "exec"), names)
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()
    server.client.get("/debug/reset")
    names["buy"] = lambda: server.post("/v1/track", track("Order Completed", "x", total="9,50"))
    with pytest.raises(AssertionError):
        tests[0]()
