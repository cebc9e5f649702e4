"""Durable events and latency of the collector, beside a bare endpoint that only decodes the body.

The bare endpoint is what Flask on granian with msgspec costs here anyway; both run at the same time
on this machine, and are loaded in turn by a process of its own over loopback. In the end every
event answered 200 must be in the spool, or there are no figures.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from flask import Flask, Response, jsonify, request
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server import Server

from benchmarks.load import CONNECTIONS, Order, Run, in_own_process
from benchmarks.report import report
from schemas_avro import block, load
from tests.collector import blocks
from tests.system import System, free_port, wait_for

THREADS = 64
ROUND_S, STEADY_S = 3.0, 4.0
STEADY_SHARE = 0.7


# -- The bare endpoint.


def bare() -> Flask:
    """Decodes the body and answers as the collector does. Nothing is kept."""
    app = Flask("bare", static_folder=None)

    @app.post("/v1/<kind>")
    def post(kind: str) -> Response:
        msgspec.json.decode(request.get_data())
        return jsonify(success=True)

    return app


def serve_bare(port: int) -> None:
    """As the collector is served."""
    Server(
        "benchmarks.bench_collector:bare",
        factory=True,
        interface=Interfaces.WSGI,
        port=port,
        blocking_threads=THREADS,
        backpressure=THREADS * 4,
        websockets=False,
        log_level=LogLevels.error,
    ).serve()


# -- The measurement.


class Bench:
    """Runs against both endpoints; remembers what the collector answered for."""

    def __init__(self, system: System, bare_port: int) -> None:
        self._system, self._bare_port = system, bare_port
        self._key = system.key("bench")
        self._seed = 0

    def measure(self, events: int) -> tuple[Run, Run, Run, float]:
        """(bare, durable, durable at a share of its most, bytes an event on the bus)."""
        for port in (self._bare_port, self._system.collector_port):
            self.run(port, events, 0.5)  # first requests import and compile
        rounds: dict[str, list[Run]] = {"bare": [], "durable": []}
        before = self._on_the_bus(), self._answered()
        for _ in range(2):  # in turn, so that what else the machine does meets both
            rounds["bare"].append(self.run(self._bare_port, events, ROUND_S))
            rounds["durable"].append(self.run(self._system.collector_port, events, ROUND_S))
        after = self._on_the_bus(), self._answered()
        a_event = (after[0] - before[0]) / (after[1] - before[1])
        both = {name: together(runs) for name, runs in rounds.items()}
        rate = STEADY_SHARE * both["durable"].requests / both["durable"].seconds
        steady = self.run(self._system.collector_port, events, STEADY_S, rate)
        return both["bare"], both["durable"], steady, a_event

    def run(self, port: int, events: int, seconds: float, rate_s: float | None = None) -> Run:
        """One run in a process of its own; all answers must be 200."""
        found = in_own_process(self.order(port, events, seconds, rate_s))
        assert not found.others, f"answers that are no 200: {found.others}"
        return found

    def order(self, port: int, events: int, seconds: float, rate_s: float | None = None) -> Order:
        """What a run is told; ids answered 200 are remembered if the port is the collector's."""
        self._seed += 1
        kept = port == self._system.collector_port
        ids = self._system.data / f"{'kept' if kept else 'bare'}-{self._seed}.ids"
        return Order(port, self._key, events, seconds, self._seed, str(ids), rate_s, not kept)

    def _on_the_bus(self) -> int:
        topic = self._system.data / "spool" / "events"
        return sum(path.stat().st_size for path in blocks.segments(topic))

    def _answered(self) -> int:
        return len(self.answered_ids())

    def answered_ids(self) -> list[str]:
        """Of all events that the collector answered 200."""
        paths = self._system.data.glob("kept-*.ids")
        return [line for path in paths for line in path.read_text().split()]


def together(runs: list[Run]) -> Run:
    """Sums; of the latencies the worse."""
    return Run(
        sum(run.requests for run in runs),
        sum(run.seconds for run in runs),
        max(run.p50_s for run in runs),
        max(run.p99_s for run in runs),
        sum(run.json_bytes for run in runs),
        {},
    )


def assert_all_there(system: System, answered: list[str]) -> None:
    """Reads every block back."""
    found: Counter[str] = Counter()
    for path in blocks.segments(system.data / "spool" / "events"):
        for payload in blocks.frames(path.read_bytes()):
            found.update(block.decode(load("event"), payload)[1]["event_id"].to_list())
    assert len(answered) == len(set(answered))
    missing = set(answered) - found.keys()
    assert not missing, f"{len(missing)} of {len(answered)} events answered 200 are not on the bus"
    assert max(found.values()) == 1, "an event is there twice"


def figures(events: int, found: tuple[Run, Run, Run, float]) -> list[tuple[str, float, str]]:
    bare_run, durable, steady, on_the_bus = found
    name, unit = ("single event", "req/s") if events == 1 else (f"batch of {events}", "events/s")
    most = durable.requests * events / durable.seconds
    limit = bare_run.requests * events / bare_run.seconds
    as_json = durable.json_bytes / (durable.requests * events)
    return [
        (f"{name}: durable", most, unit),
        (f"{name}: bare endpoint", limit, unit),
        (f"{name}: durable as a share of bare", most / limit, "x"),
        (f"{name}: latency at the most, p50", durable.p50_s * 1000, "ms"),
        (f"{name}: latency at the most, p99", durable.p99_s * 1000, "ms"),
        (f"{name}: latency at {STEADY_SHARE:.0%}, p50", steady.p50_s * 1000, "ms"),
        (f"{name}: latency at {STEADY_SHARE:.0%}, p99", steady.p99_s * 1000, "ms"),
        (f"{name}: JSON as sent", as_json, "bytes/event"),
        (f"{name}: on the bus", on_the_bus, "bytes/event"),
    ]


def main() -> None:
    """Start both, load them in turn, check, print."""
    with tempfile.TemporaryDirectory() as directory, System(Path(directory) / "data") as system:
        system.run("catalog", "add-project", "bench")
        system.start_collector()
        port = free_port()
        system.start("bare", "benchmarks.bench_collector", "bare", str(port))
        wait_for(
            lambda: System.post(f"http://127.0.0.1:{port}/v1/x", {})[0], seconds=20, what="bare"
        )
        bench = Bench(system, port)
        found = [*figures(1, bench.measure(1)), *figures(100, bench.measure(100))]
        answered = bench.answered_ids()
        system.kill("collector", signal.SIGTERM)
        assert_all_there(system, answered)
    report(
        "collector",
        "Collector: durable events",
        found,
        f"load, collector and bare endpoint on one machine; {CONNECTIONS[1]} and "
        f"{CONNECTIONS[100]} connections; all {len(answered):,} events answered 200 were read "
        "back from the spool",
    )


if __name__ == "__main__":
    arguments: list[Any] = sys.argv[1:]
    if arguments[:1] == ["bare"]:
        serve_bare(int(arguments[1]))
    else:
        assert os.cpu_count(), "no processor"
        main()
