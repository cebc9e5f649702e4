"""HTTP load from a process of its own: prepared requests over keep-alive connections.

python -m benchmarks.load ORDER   # JSON of an Order; prints the Run as JSON
"""

from __future__ import annotations

import json
import random
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import percentile
from tests.system import ROOT

CONNECTIONS = {1: 128, 100: 64}  # events in a request -> connections
_MOST_REQUESTS_S = {1: 8_000, 100: 500}  # bodies are made before; a run ends where they end
_SERIAL = b"~serial~"  # in the ids of prepared requests that are sent more than once
_WORDS = ("alpine", "river", "stone", "meadow", "lantern", "harbour", "copper", "willow", "amber")


@dataclass(frozen=True)
class Order:
    """What one run of the load does.

    seconds: how much is prepared, and how long it runs unless run_s says otherwise
    rate_s: requests/s; None: as fast as it goes
    again:  begin anew where the prepared requests end: only for who need not keep each once
    now:    events have no time of their own, so they happen now, and each that is sent has an id
            of its own, also `again`; `answered_ids` stays empty
    """

    port: int
    key: str
    events: int
    seconds: float
    seed: int
    answered_ids: str
    rate_s: float | None = None
    again: bool = False
    now: bool = False
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


def event(rng: random.Random, now: bool = False) -> tuple[str, bytes]:
    """(id, JSON) of an event of about 500 bytes with the variety that real ones have."""
    event_id = f"{rng.getrandbits(128):032x}"
    if now:
        event_id = _SERIAL.decode() + event_id[len(_SERIAL) :]
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
    if now:
        del made["timestamp"]
    return event_id, json.dumps(made, separators=(",", ":")).encode()


def requests_of(order: Order) -> deque[tuple[list[str], int, bytes]]:
    """(ids, JSON bytes of the events, bytes to send) of every request of a run."""
    rng = random.Random(order.seed)
    rate = order.rate_s or _MOST_REQUESTS_S[order.events]
    path = "track" if order.events == 1 else "batch"
    made = deque()
    for _ in range(int(rate * order.seconds)):
        events = [event(rng, order.now) for _ in range(order.events)]
        texts = [text for _, text in events]
        body = texts[0] if order.events == 1 else b'{"batch":[%s]}' % b",".join(texts)
        head = f"POST /v1/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Write-Key: {order.key}\r\n"
        sent = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        ids = [] if order.now else [event_id for event_id, _ in events]
        made.append((ids, sum(map(len, texts)), sent))
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
        self._json_bytes = self._sent = 0

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
        if self._order.now:
            self._sent += 1
            serial = b"%08x" % self._sent
            connection.to_send = connection.to_send.replace(_SERIAL, serial)
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


def in_own_process(order: Order) -> Run:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load", json.dumps(asdict(order))],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    found["others"] = {int(status): count for status, count in found["others"].items()}
    return Run(**found)


if __name__ == "__main__":
    print(json.dumps(asdict(Load(Order(**json.loads(sys.argv[1]))).run())))
