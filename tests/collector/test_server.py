"""The real collector process: stopped and killed under load, and beside clients that misbehave."""

from __future__ import annotations

import signal
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.collector import blocks
from tests.system import System

pytestmark = pytest.mark.journey

SENDERS, BATCH = 8, 20


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with System(tmp_path / "data", collector_workers=2) as made:
        made.run("catalog", "add-project", "shop")
        yield made


class Load:
    """Senders that go on until told to stop; remembers what was answered 200."""

    def __init__(self, system: System, key: str) -> None:
        self._url, self._key = f"{system.collector}/v1/batch", key
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(SENDERS)]
        self.answered: list[str] = []
        self.other: Counter[int] = Counter()
        self.broken = 0

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        while not self._stop.is_set():
            ids = [uuid.uuid4().hex for _ in range(BATCH)]
            events = [
                {"type": "track", "event": "x", "userId": "u", "messageId": event_id}
                for event_id in ids
            ]
            body = {"batch": [*events, {"no": "event"}], "writeKey": self._key}
            try:
                status, _ = System.post(self._url, body)
            # Nobody there, or gone in the middle of the answer.
            except (OSError, ValueError, HTTPException):
                self.broken += 1
                time.sleep(0.02)
                continue
            if status == 200:
                self.answered += ids
            else:
                self.other[status] += 1


def assert_all_there(system: System, load: Load) -> None:
    """Every id answered 200 is in the spool once; so are the dead letters of those requests."""
    spool = system.data / "spool"
    found = Counter(row["event_id"] for row in blocks.rows(spool / "events"))
    assert max(found.values()) == 1
    assert set(load.answered) <= set(found)
    assert len(blocks.rows(spool / "dead_letters")) >= len(load.answered) // BATCH
    for topic in ("events", "dead_letters"):
        for producer in (spool / topic).iterdir():
            seqs = [m["seq"] for m in blocks.metas(spool / topic) if m["producer"] == producer.name]
            assert seqs == list(range(len(seqs)))


def test_a_stop_under_load_loses_nothing_and_tears_nothing(system: System) -> None:
    key = system.key("shop")
    system.start_collector()
    with Load(system, key) as load:
        time.sleep(2)
        started = time.monotonic()
        assert system.kill("collector", signal.SIGTERM) == 0
        assert time.monotonic() - started < 15
        time.sleep(0.2)
    assert len(load.answered) > 20 * BATCH
    assert load.broken > 0, "nobody noticed the stop"
    assert set(load.other) <= {503}
    assert_all_there(system, load)
    assert len(list((system.data / "spool" / "events").iterdir())) == 2, "a slot for each worker"
    assert system.log("collector") == ""


def test_a_kill_under_load_loses_nothing(system: System) -> None:
    key = system.key("shop")
    system.start_collector()
    with Load(system, key) as load:
        for _ in range(3):
            time.sleep(1)
            system.kill("collector", signal.SIGKILL)
            system.start_collector()
        time.sleep(0.5)
    system.kill("collector", signal.SIGTERM)
    assert len(load.answered) > 20 * BATCH
    assert load.broken > 0, "nobody noticed the kills"
    assert not load.other
    assert_all_there(system, load)
    assert len(list((system.data / "spool" / "events").iterdir())) == 2, "slots are taken again"


def test_large_bodies_and_slow_clients_do_not_block_others(system: System) -> None:
    key = system.key("shop")
    system.start_collector()
    head = f"POST /v1/track HTTP/1.1\r\nHost: localhost\r\nX-Write-Key: {key}\r\n"
    half = b'{"event":"slow","userId":"u","messageId":"slow"'
    with ExitStack() as stack:
        slow = [
            stack.enter_context(
                socket.create_connection(("127.0.0.1", system.collector_port), timeout=10)
            )
            for _ in range(20)
        ]
        for number, connection in enumerate(slow):
            length = f"Content-Length: {len(half) + 1}\r\n\r\n"
            chunked = f"Transfer-Encoding: chunked\r\n\r\n{len(half) + 1:x}\r\n"
            connection.sendall((head + (chunked if number % 2 else length)).encode() + half)
        with Load(system, key) as load:
            for _ in range(10):
                url, headers = f"{system.collector}/v1/batch", {"X-Write-Key": key}
                assert _status_of(url, b" " * (10 << 20), headers) in (413, None)
                started = time.monotonic()
                assert system.get(f"{system.collector}/health") == {"alive": True}
                assert time.monotonic() - started < 2
        assert len(load.answered) > 10 * BATCH
        assert not load.other
        assert load.broken == 0
        for number, connection in enumerate(slow):
            connection.sendall(b"}\r\n0\r\n\r\n" if number % 2 else b"}")
            assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")
    system.kill("collector", signal.SIGTERM)
    found = Counter(row["event_id"] for row in blocks.rows(system.data / "spool" / "events"))
    assert found.pop("slow") == 20
    assert found == Counter(load.answered)


def _status_of(url: str, body: bytes, headers: dict[str, str]) -> int | None:
    """None where the answer came while the body was on its way, and the connection broke."""
    try:
        return System.post(url, body, headers)[0]
    except OSError:
        return None
