"""POST -> the number on the live endpoint, everything on this machine, idle and under load."""

from __future__ import annotations

import itertools
import random
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.report import percentile, report
from tests.system import System, wait_for

PROBES = 40
LOAD_BATCHES_S, BATCH = 20, 50  # 1,000 events/s
_TIMEOUT_S = 20


def _revenue(system: System) -> int:
    return sum(r["minor"] for r in system.live("bench")["revenue_today"] if r["currency"] == "JPY")


def _probe(system: System, key: str, number: int) -> float:
    """Seconds from sending one yen until the live endpoint shows it."""
    wanted = _revenue(system) + 1
    money = {"revenue": 1, "currency": "JPY", "order_id": f"probe-{number}"}
    body = {"event": "Order Completed", "userId": "p", "properties": money, "writeKey": key}
    started = time.monotonic()
    status, _ = system.post(f"{system.collector}/v1/track", body)
    assert status == 200
    while _revenue(system) < wanted:
        assert time.monotonic() - started < _TIMEOUT_S, "the number never came"
        time.sleep(0.02)
    return time.monotonic() - started


class _Load:
    """Batches of events at a steady rate from another thread."""

    def __init__(self, system: System, key: str) -> None:
        self._system, self._key = system, key
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0

    def __enter__(self) -> _Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        for number in itertools.count():
            batch = [
                {"type": "track", "event": "Product Viewed", "userId": f"u{n * number % 5000}",
                 "messageId": f"load-{number}-{n}", "properties": {"sku": n}}
                for n in range(BATCH)
            ]  # fmt: skip
            body = {"batch": batch, "writeKey": self._key}
            self._system.post(f"{self._system.collector}/v1/batch", body)
            self.sent += BATCH
            due += 1 / LOAD_BATCHES_S
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return


def _sample(system: System, key: str, first: int) -> list[float]:
    rng = random.Random(1)
    found = []
    for number in range(PROBES):
        found.append(_probe(system, key, first + number))
        time.sleep(rng.uniform(0, 0.5))  # not in step with the panes
    return found


def main() -> None:
    """Start the system, probe it, print."""
    with tempfile.TemporaryDirectory() as directory, System(Path(directory) / "data") as system:
        system.run("catalog", "add-project", "bench")
        key = system.key("bench")
        system.start_collector()
        system.start_reports()
        system.start_ingest()
        _send = {"event": "warm", "userId": "p", "writeKey": key}
        system.post(f"{system.collector}/v1/track", _send)
        wait_for(lambda: system.live("bench")["events_today"], seconds=60, what="the pipeline")
        idle = _sample(system, key, 0)
        started = time.monotonic()
        with _Load(system, key) as load:
            loaded = _sample(system, key, PROBES)
            rate = load.sent / (time.monotonic() - started)
    report(
        "freshness",
        "Freshness: POST to the number on the live endpoint",
        [
            ("idle, p50", percentile(idle, 0.5), "s"),
            ("idle, p99", percentile(idle, 0.99), "s"),
            ("under load, p50", percentile(loaded, 0.5), "s"),
            ("under load, p99", percentile(loaded, 0.99), "s"),
            ("load beside the probes", rate, "events/s"),
        ],
        f"{PROBES} probes each; collector, Prism pipeline, reports and clients on one machine",
    )


if __name__ == "__main__":
    main()
