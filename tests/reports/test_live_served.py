"""Live streams of the real server: twenty pages at once, none waits, and the rest goes on."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.reports.world import Live
from tests.system import System, wait_for
from transforms.statistics import Total

READERS = 20


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with System(tmp_path / "data") as found:
        found.run("catalog", "add-project", "demo")
        found.start_reports()
        yield found


def events(address: str, heard: list[tuple[float, int]], until: threading.Event) -> None:
    """Time and events of today of each message, as one page gets them."""
    with httpx.stream("GET", address, timeout=30) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        name = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: ") and name == "live":
                told = json.loads(line.removeprefix("data: "))
                heard.append((time.monotonic(), told["events_today"]))
            if until.is_set():
                return


def test_twenty_pages_hear_of_an_event_at_once_and_others_are_served(system: System) -> None:
    address = f"{system.reports}/p/demo/api/live/events"
    heard: list[list[tuple[float, int]]] = [[] for _ in range(READERS)]
    over = threading.Event()
    threads = [
        threading.Thread(target=events, args=(address, one, over), daemon=True) for one in heard
    ]
    for thread in threads:
        thread.start()
    wait_for(lambda: all(heard), seconds=30, what="a first message to each")
    live = Live(system.data)
    written = time.monotonic()
    live.put(time.time_ns() // 1000, "events", Total(41), '{"name":"view"}')
    live.close()
    wait_for(lambda: all(one[-1][1] == 41 for one in heard), seconds=20, what="the event in all")
    took = [next(at for at, n in one if n == 41) - written for one in heard]
    assert max(took) < 5, took
    served = []
    for _ in range(10):
        started = time.monotonic()
        assert httpx.get(f"{system.reports}/p/demo/api/live").status_code == 200
        served.append(time.monotonic() - started)
    assert max(served) < 2, f"pages wait while {READERS} streams are open: {served}"
    over.set()


def test_the_server_stops_while_streams_are_open(system: System) -> None:
    address = f"{system.reports}/p/demo/api/live/events"
    heard: list[tuple[float, int]] = []
    thread = threading.Thread(target=_until_cut, args=(address, heard), daemon=True)
    thread.start()
    wait_for(lambda: heard, seconds=30, what="a first message")
    started = time.monotonic()
    system.kill("reports", signal.SIGTERM)
    assert time.monotonic() - started < 15


def _until_cut(address: str, heard: list[tuple[float, int]]) -> None:
    try:
        events(address, heard, threading.Event())
    except httpx.TransportError:
        return
