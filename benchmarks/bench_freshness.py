"""POST -> the number on the live endpoint, everything on this machine, idle and under load.

With --restart: how long live numbers need to be right again after `kill -9` of the pipeline.
"""

from __future__ import annotations

import itertools
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

import polars as pl

from benchmarks.report import percentile, report
from tests import observed
from tests.streams import SpoolWriter
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


RESTART_RATES = (5_000, 20_000)  # events/s
_BLOCKS_S, _BEHIND_S, _KILLS = 20, 3.0, 3


class _Feed(threading.Thread):
    """Blocks straight into the spool: what is measured is the pipeline, not the collector."""

    def __init__(self, topic: Path, events_s: int) -> None:
        super().__init__(daemon=True)
        self._writer = SpoolWriter(topic, "collector-0", 1000)
        self._size = events_s // _BLOCKS_S
        self._ended = threading.Event()
        self.written: list[tuple[float, int]] = [(time.monotonic(), 0)]

    def run(self) -> None:
        due = time.monotonic()
        for number in itertools.count():
            self._writer.append(self._block(number))
            self.written.append((time.monotonic(), self.written[-1][1] + self._size))
            due += 1 / _BLOCKS_S
            if self._ended.wait(max(0.0, due - time.monotonic())):
                return

    def _block(self, number: int) -> pl.DataFrame:
        at = time.time_ns() // 1000
        row = pl.int_range(self._size, eager=True)
        return pl.DataFrame({"event_time": at - row, "received_time": at}).with_columns(
            pl.lit("bench").alias("project"),
            pl.lit("web").alias("source"),
            pl.lit("track").alias("type"),
            pl.lit("Product Viewed").alias("name"),
            pl.format("{}-{}", pl.lit(number), row).alias("event_id"),
            pl.format("u{}", row * number % 50_000).alias("user_id"),
            pl.lit(0, pl.Int32).alias("flags"),
        )

    def due(self) -> int:
        """Events written at least _BEHIND_S ago."""
        until = time.monotonic() - _BEHIND_S
        return max(total for at, total in self.written if at <= until or total == 0)

    def close(self) -> None:
        self._ended.set()
        self.join()


def _live_events(system: System) -> int:
    return sum(v.value for key, v in observed.live(system.data).items() if key[2] == "events")


def restart() -> None:
    """Kill and start the pipeline under load; print how long its numbers were behind."""
    rows = []
    for events_s in RESTART_RATES:
        with tempfile.TemporaryDirectory() as directory, System(Path(directory) / "data") as system:
            feed = _Feed(system.data / "spool/events", events_s)
            feed.start()

            def right(feed: _Feed = feed, system: System = system) -> bool:
                return _live_events(system) >= max(feed.due(), 1)

            system.start_ingest()
            wait_for(right, seconds=120, what="live numbers that keep up")
            time.sleep(30)  # so that there is something to catch up with
            took = []
            for _ in range(_KILLS):
                system.kill("ingest")
                time.sleep(5)
                started = time.monotonic()
                system.start_ingest()
                wait_for(right, seconds=180, what="live numbers right again")
                took.append(time.monotonic() - started)
                time.sleep(5)
            feed.close()
        rows.append((f"{events_s:,} events/s, median", percentile(took, 0.5), "s"))
        rows.append((f"{events_s:,} events/s, longest", max(took), "s"))
    report(
        "restart",
        "Restart: from starting the killed pipeline until live numbers are right again",
        rows,
        f"{_KILLS} kills of 5 s each; right: all that came until {_BEHIND_S:.0f} s ago is counted",
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["--restart"]:
        restart()
    elif sys.argv[1:]:
        sys.exit(f"{sys.argv[1:]} is no option; --restart is the only one")
    else:
        main()
