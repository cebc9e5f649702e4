"""POST -> the number on the live endpoint, everything on this machine, idle and under load.

With --restart: how long live numbers need to be right again after `kill -9` of the pipeline.
"""

from __future__ import annotations

import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.feed import Feed
from benchmarks.load import Order, Run, in_own_process
from benchmarks.report import percentile, report
from tests import observed
from tests.system import System, wait_for

PROBES = 40
LOADS, BATCH = (1_000, 5_000, 20_000), 100  # events/s; events in a request
PREPARED_S, LOAD_S = 5.0, 60.0
_TIMEOUT_S = 20


def _revenue(system: System) -> int:
    return sum(r["minor"] for r in system.live("bench")["revenue_today"] if r["currency"] == "JPY")


def probe(system: System, key: str, number: int, timeout_s: float = _TIMEOUT_S) -> float:
    """Seconds from sending one yen until the live endpoint shows it."""
    wanted = _revenue(system) + 1
    money = {"revenue": 1, "currency": "JPY", "order_id": f"probe-{number}"}
    body = {"event": "Order Completed", "userId": "p", "properties": money, "writeKey": key}
    started = time.monotonic()
    status, _ = system.post(f"{system.collector}/v1/track", body)
    assert status == 200
    while _revenue(system) < wanted:
        assert time.monotonic() - started < timeout_s, "the number never came"
        time.sleep(0.02)
    return time.monotonic() - started


def start_warm(system: System) -> str:
    """Start all of it and send one event through; the key of project `bench`."""
    system.run("catalog", "add-project", "bench")
    key = system.key("bench")
    system.start_collector()
    system.start_reports()
    system.start_ingest()
    warm = {"event": "warm", "userId": "p", "writeKey": key}
    system.post(f"{system.collector}/v1/track", warm)
    wait_for(lambda: system.live("bench")["events_today"], seconds=60, what="the pipeline")
    return key


class Load:
    """Batches of new events at a steady rate from a process of its own."""

    def __init__(self, system: System, key: str, events_s: int, run_s: float) -> None:
        self._order = Order(
            port=system.collector_port,
            key=key,
            events=BATCH,
            seconds=PREPARED_S,
            seed=events_s,
            answered_ids="/dev/null",
            rate_s=events_s / BATCH,
            again=True,
            now=True,
            run_s=run_s,
        )
        self._system = system
        self._runs: list[Run] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def _run(self) -> None:
        self._runs.append(in_own_process(self._order))

    @property
    def goes_on(self) -> bool:
        """Has it not been answered to the end?"""
        return self._thread.is_alive()

    def wait_until_it_sends(self) -> None:
        """It makes its requests first."""
        before = self._system.live("bench")["events_today"]
        wait_for(
            lambda: self._system.live("bench")["events_today"] > before + BATCH,
            seconds=60,
            what="the load",
        )

    @property
    def answered(self) -> int:
        """Events answered 200."""
        (run,) = self._runs
        assert set(run.others) <= {503}, f"answers that are neither 200 nor 503: {run.others}"
        return run.requests * BATCH

    @property
    def refused(self) -> int:
        """Events answered 503: a client sends them again, this load does not."""
        return self._runs[0].others.get(503, 0) * BATCH

    @property
    def seconds(self) -> float:
        """How long it took to send them."""
        return self._runs[0].seconds


def _sample(system: System, key: str, first: int, goes_on: Callable[[], bool]) -> list[float]:
    """PROBES probes, and more for as long as it goes on."""
    rng = random.Random(1)
    found: list[float] = []
    while len(found) < PROBES or goes_on():
        found.append(probe(system, key, first + len(found)))
        time.sleep(rng.uniform(0, 0.5))  # not in step with the panes
    return found


def main() -> None:
    """Start the system, probe it, print."""
    rows = []
    with tempfile.TemporaryDirectory() as directory, System(Path(directory) / "data") as system:
        key = start_warm(system)
        idle = _sample(system, key, 0, lambda: False)
        rows += [
            ("idle, p50", percentile(idle, 0.5), "s"),
            ("idle, p99", percentile(idle, 0.99), "s"),
        ]
        sent = len(idle)
        for events_s in LOADS:
            with Load(system, key, events_s, LOAD_S) as load:
                load.wait_until_it_sends()
                found = _sample(system, key, sent, lambda load=load: load.goes_on)
            sent += len(found)
            rows += [
                (f"{events_s:,} events/s, p50", percentile(found, 0.5), "s"),
                (f"{events_s:,} events/s, p99", percentile(found, 0.99), "s"),
                (f"{events_s:,} events/s: answered 200", load.answered / load.seconds, "events/s"),
            ]
    report(
        "freshness",
        "Freshness: POST to the number on the live endpoint",
        rows,
        f"{PROBES} probes or more each; collector, Prism pipeline, reports and load on one machine",
    )


RESTART_RATES = (20_000,)  # events/s
_BEHIND_S, _KILLS = 3.0, 3
_BEFORE_S = 720  # longer than the horizon: what a restart reads in the steady state


def live_events(system: System) -> int:
    """Events in the live numbers, of all minutes."""
    return sum(v.value for key, v in observed.live(system.data).items() if key[2] == "events")


def restart() -> None:
    """Kill and start the pipeline under load; print how long its numbers were behind."""
    rows = []
    for events_s in RESTART_RATES:
        with tempfile.TemporaryDirectory() as directory, System(Path(directory) / "data") as system:
            feed = Feed(system.data / "spool/events", events_s, _BEFORE_S)
            feed.start()

            def right(feed: Feed = feed, system: System = system) -> bool:
                return live_events(system) >= max(feed.written_before(_BEHIND_S), 1)

            system.start_ingest()
            wait_for(right, seconds=300, what="live numbers that keep up")
            took = []
            for _ in range(_KILLS):
                system.kill("ingest")
                time.sleep(5)
                started = time.monotonic()
                system.start_ingest()
                wait_for(right, seconds=300, what="live numbers right again")
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
