"""The real collector process: stopped and killed under load, and beside clients that misbehave."""

from __future__ import annotations

import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.collector import blocks
from tests.load import BATCH, BUSY_AFTER_S, Load, assert_all_there
from tests.system import System, wait_for

pytestmark = pytest.mark.journey

SLOW, GONE = 300, 50  # clients that send half a body; of these, who never send the rest


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with System(tmp_path / "data", collector_workers=2, busy_after_s=BUSY_AFTER_S) as made:
        made.run("catalog", "add-project", "shop")
        yield made


def test_a_stop_under_load_loses_nothing_and_tears_nothing(system: System) -> None:
    key = system.key("shop")
    system.start_collector()
    with Load(system, key, bad=1) as load:
        time.sleep(2)
        started = time.monotonic()
        assert system.kill("collector", signal.SIGTERM) == 0
        assert time.monotonic() - started < 15
        time.sleep(0.2)
    assert len(load.answered) > 20 * BATCH
    assert load.broken > 0, "nobody noticed the stop"
    assert set(load.others) <= {503}
    assert_all_there(system, load)
    assert len(list((system.data / "spool" / "events").iterdir())) == 2, "a slot for each worker"
    assert system.log("collector") == ""


def test_a_kill_under_load_loses_nothing(system: System) -> None:
    key = system.key("shop")
    system.start_collector()
    with Load(system, key, bad=1) as load:
        for _ in range(3):
            time.sleep(1)
            system.kill("collector", signal.SIGKILL)
            system.start_collector()
        time.sleep(0.5)
    system.kill("collector", signal.SIGTERM)
    assert len(load.answered) > 20 * BATCH
    assert load.broken > 0, "nobody noticed the kills"
    assert not load.others
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
            for _ in range(SLOW)
        ]
        for number, connection in enumerate(slow):
            length = f"Content-Length: {len(half) + 1}\r\n\r\n"
            chunked = f"Transfer-Encoding: chunked\r\n\r\n{len(half) + 1:x}\r\n"
            connection.sendall((head + (chunked if number % 2 else length)).encode() + half)
        with Load(system, key, bad=1) as load:
            for _ in range(10):
                url, headers = f"{system.collector}/v1/batch", {"X-Write-Key": key}
                assert _status_of(url, b" " * (10 << 20), headers) in (413, None)
                started = time.monotonic()
                assert system.get(f"{system.collector}/health") == {"alive": True}
                assert time.monotonic() - started < 2
            wait_for(lambda: len(load.answered) > 10 * BATCH, seconds=60, what="answers")
        assert not load.others
        assert load.broken == 0
        for number, connection in enumerate(slow):
            if number < GONE:
                connection.close()
                continue
            connection.sendall(b"}\r\n0\r\n\r\n" if number % 2 else b"}")
            assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")
    system.kill("collector", signal.SIGTERM)
    assert system.log("collector") == ""
    found = Counter(row["event_id"] for row in blocks.rows(system.data / "spool" / "events"))
    assert found.pop("slow") == SLOW - GONE
    assert found == Counter(list(load.answered))


def _status_of(url: str, body: bytes, headers: dict[str, str]) -> int | None:
    """None where the answer came while the body was on its way, and the connection broke."""
    try:
        return System.post(url, body, headers)[0]
    except OSError:
        return None
