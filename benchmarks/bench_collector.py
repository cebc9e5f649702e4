"""Durable events and latency of the collector, beside a bare endpoint that only decodes the body.

The bare endpoint is what Flask on granian with msgspec costs here anyway; both run at the same time
on this machine, and are loaded in turn by a process of its own over loopback. In the end every
event answered 200 must be in the spool, or there are no figures.
"""

from __future__ import annotations

import json
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
from flask import Flask, Response, jsonify, request
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server import Server

from benchmarks.report import percentile, report
from schemas_avro import block, load
from tests.collector import blocks
from tests.system import ROOT, System, free_port, wait_for

CONNECTIONS = {1: 64, 100: 16}  # events in a request -> connections
THREADS = 64
ROUND_S, STEADY_S = 3.0, 4.0
STEADY_SHARE = 0.7
_MOST_REQUESTS_S = {1: 8_000, 100: 500}  # bodies are made before; a run ends where they end
_WORDS = ("alpine", "river", "stone", "meadow", "lantern", "harbour", "copper", "willow", "amber")


# -- The load: its own process.


@dataclass(frozen=True)
class Order:
    """What one run of the load does.

    seconds: how much is prepared, and how long it runs unless run_s says otherwise
    rate_s: requests/s; None: as fast as it goes
    again:  begin anew where the prepared requests end: only for who need not keep each once
    """

    port: int
    key: str
    events: int
    seconds: float
    seed: int
    answered_ids: str
    rate_s: float | None = None
    again: bool = False
    connections: int = 0  # 0: those of CONNECTIONS
    from_sending: bool = False  # latency counts from when a connection was free
    run_s: float = 0.0


@dataclass
class Run:
    """What came of it: requests answered 200, seconds, latencies in s, JSON bytes of the events."""

    requests: int
    seconds: float
    p50_s: float
    p99_s: float
    json_bytes: int
    others: dict[int, int]


def event(rng: random.Random) -> tuple[str, bytes]:
    """(id, JSON) of an event of about 500 bytes with the variety that real ones have."""
    event_id = f"{rng.getrandbits(128):032x}"
    day, hour, ms = rng.randint(1, 28), rng.randrange(24), rng.randrange(1000)
    path = f"/shop/{rng.choice(_WORDS)}/{rng.choice(_WORDS)}-{rng.randrange(9999)}"
    made = {
        "type": "track",
        "event": rng.choice(("Product Viewed", "Product Added", "Order Completed", "Searched")),
        "messageId": event_id,
        "anonymousId": f"{rng.getrandbits(64):016x}",
        "timestamp": f"2026-01-{day:02d}T{hour:02d}:00:00.{ms:03d}Z",
        "properties": {
            "product_id": f"sku-{rng.randrange(100_000)}",
            "price": rng.randrange(100, 99_999) / 100,
            "quantity": rng.randrange(1, 9),
            "query": " ".join(rng.choices(_WORDS, k=4)),
        },
        "context": {
            "library": {"name": "analytics.js", "version": "2.11.1"},
            "page": {"path": path, "title": " ".join(rng.choices(_WORDS, k=3))},
            "locale": rng.choice(("en-GB", "de-DE", "fr-FR", "ja-JP")),
            "userAgent": f"Mozilla/5.0 (X11; Linux x86_64) Chrome/{rng.randrange(90, 130)}.0.0.0",
        },
    }
    return event_id, json.dumps(made, separators=(",", ":")).encode()


def requests_of(order: Order) -> deque[tuple[list[str], int, bytes]]:
    """(ids, JSON bytes of the events, bytes to send) of every request of a run."""
    rng = random.Random(order.seed)
    rate = order.rate_s or _MOST_REQUESTS_S[order.events]
    path = "track" if order.events == 1 else "batch"
    made = deque()
    for _ in range(int(rate * order.seconds)):
        events = [event(rng) for _ in range(order.events)]
        texts = [text for _, text in events]
        body = texts[0] if order.events == 1 else b'{"batch":[%s]}' % b",".join(texts)
        head = f"POST /v1/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Write-Key: {order.key}\r\n"
        sent = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        made.append(([event_id for event_id, _ in events], sum(map(len, texts)), sent))
    return made


@dataclass(eq=False)
class _Connection:
    """One keep-alive connection with at most one request under way."""

    sock: socket.socket
    to_send: bytes = b""
    got: bytes = b""
    due: float = 0.0
    ids: list[str] | None = None
    json_bytes: int = 0

    def answer(self) -> int | None:
        """Status of a complete answer in `got`, else None."""
        head, found, body = self.got.partition(b"\r\n\r\n")
        if not found:
            return None
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        return int(head[9:12]) if len(body) >= length else None


class Load:
    """Sends prepared requests over several connections from one thread.

    With a rate, latency counts from when a request was due, not from when a connection was free.
    """

    def __init__(self, order: Order) -> None:
        self._order, self._todo = order, requests_of(order)
        self._poll = selectors.DefaultSelector()
        self._free: list[_Connection] = []
        for _ in range(order.connections or CONNECTIONS[order.events]):
            self._free.append(self._connect())
        self._busy = 0
        self._latencies: list[float] = []
        self._statuses: Counter[int] = Counter()
        self._ids: list[str] = []
        self._json_bytes = 0

    def _connect(self) -> _Connection:
        sock = socket.create_connection(("127.0.0.1", self._order.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        connection = _Connection(sock)
        self._poll.register(sock, selectors.EVENT_READ, connection)
        return connection

    def run(self) -> Run:
        """To the end: the time is up or the requests are, and all are answered."""
        started = time.perf_counter()
        end, due = started + (self._order.run_s or self._order.seconds), started
        gap = 1 / self._order.rate_s if self._order.rate_s else 0.0
        while True:
            now = time.perf_counter()
            while self._free and self._todo and now < end and due <= now:
                timed = due if gap and not self._order.from_sending else now
                self._begin(self._free.pop(), timed)
                due += gap
            if not self._busy and (now >= end or not self._todo):
                break
            wait = max(0.0, min(due, end) - now) if self._free and self._todo else 1.0
            for key, mask in self._poll.select(wait):
                self._go_on(key.data, mask)
        Path(self._order.answered_ids).write_text("\n".join(self._ids))
        return Run(
            self._statuses.pop(200, 0),
            time.perf_counter() - started,
            percentile(self._latencies, 0.5),
            percentile(self._latencies, 0.99),
            self._json_bytes,
            dict(self._statuses),
        )

    def _begin(self, connection: _Connection, due: float) -> None:
        prepared = self._todo.popleft()
        if self._order.again:
            self._todo.append(prepared)
        connection.ids, connection.json_bytes, connection.to_send = prepared
        connection.due, connection.got = due, b""
        self._busy += 1
        self._send(connection)

    def _send(self, connection: _Connection) -> None:
        try:
            sent = connection.sock.send(connection.to_send)
        except BlockingIOError:
            sent = 0
        connection.to_send = connection.to_send[sent:]
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.to_send else 0)
        if self._poll.get_key(connection.sock).events != wanted:
            self._poll.modify(connection.sock, wanted, connection)

    def _go_on(self, connection: _Connection, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self._send(connection)
        if not mask & selectors.EVENT_READ:
            return
        received = connection.sock.recv(65_536)
        if not received and connection not in self._free:
            raise ConnectionError("the server hung up in the middle of a request")
        if not received:  # idle for half a minute
            self._poll.unregister(connection.sock)
            connection.sock.close()
            self._free[self._free.index(connection)] = self._connect()
            return
        connection.got += received
        status = connection.answer()
        if status is None:
            return
        self._statuses[status] += 1
        if status == 200:
            self._latencies.append(time.perf_counter() - connection.due)
            self._ids += connection.ids or ()
            self._json_bytes += connection.json_bytes
        self._busy -= 1
        self._free.append(connection)


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


def in_own_process(order: Order) -> Run:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.bench_collector", "load", json.dumps(asdict(order))],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    found["others"] = {int(status): count for status, count in found["others"].items()}
    return Run(**found)


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
    if arguments[:1] == ["load"]:
        print(json.dumps(asdict(Load(Order(**json.loads(arguments[1]))).run())))
    elif arguments[:1] == ["bare"]:
        serve_bare(int(arguments[1]))
    else:
        assert os.cpu_count(), "no processor"
        main()
