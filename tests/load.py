"""Senders that post batches until they are told to stop, and remember what they were answered."""

from __future__ import annotations

import statistics
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any

import httpx

from tests.collector import blocks
from tests.system import System

BATCH = 20
BUSY_AFTER_S = 5.0  # for collectors that are not to be too busy for this load on a slow machine
BROKEN = 0  # status of a request without an answer: nobody there, or gone in the middle of it
_MOST_ATTEMPTS = 600


def post(
    client: httpx.Client, system: System, key: str, ids: Sequence[str], bad: int = 0
) -> httpx.Response:
    """The answer to a batch of events with these ids, and so many that are none."""
    events: list[Any] = [
        {"type": "track", "event": "x", "userId": "u", "messageId": event_id} for event_id in ids
    ]
    body = {"batch": events + [{"no": "event"}] * bad, "writeKey": key}
    return client.post(f"{system.collector}/v1/batch", json=body)


class Load:
    """Use as a context manager.

    senders: threads; each request has a connection of its own
    bad:     messages of each batch that are no events
    again:   send a batch again under the same ids until it is answered 200
    pause_s: between two batches of a sender
    """

    def __init__(
        self,
        system: System,
        key: str,
        *,
        senders: int = 8,
        bad: int = 0,
        again: bool = False,
        pause_s: float = 0.0,
    ) -> None:
        self._system, self._key, self._bad = system, key, bad
        self._attempts, self._pause_s = _MOST_ATTEMPTS if again else 1, pause_s
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(senders)]
        self.answered: dict[str, float] = {}  # id -> when, monotonic s
        self.took: list[tuple[float, float]] = []  # (when answered 200, how long it took), s
        self.statuses: Counter[int] = Counter()
        self.resent = self.unanswered = 0
        self.retry_after: set[str] = set()

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def others(self) -> Counter[int]:
        """Answers that are not 200."""
        return Counter({s: n for s, n in self.statuses.items() if s not in (200, BROKEN)})

    @property
    def broken(self) -> int:
        """Requests without an answer."""
        return self.statuses[BROKEN]

    def median_since(self, instant: float) -> float:
        """How long the answers since then took, in seconds."""
        return statistics.median(took for when, took in self.took if when >= instant)

    def _run(self) -> None:
        no_reuse = httpx.Limits(max_keepalive_connections=0)
        with httpx.Client(timeout=20, limits=no_reuse) as client:
            while not self._stop.is_set():
                self._deliver(client, [uuid.uuid4().hex for _ in range(BATCH)])
                time.sleep(self._pause_s)

    def _deliver(self, client: httpx.Client, ids: list[str]) -> None:
        for attempt in range(self._attempts):
            self.resent += attempt > 0
            if self._send(client, ids):
                return
            time.sleep(0.1 if self._attempts > 1 else 0.02)
        self.unanswered += 1

    def _send(self, client: httpx.Client, ids: list[str]) -> bool:
        began = time.monotonic()
        status, retry_after = BROKEN, ""
        try:
            answer = post(client, self._system, self._key, ids, self._bad)
            status, retry_after = answer.status_code, answer.headers.get("Retry-After", "none")
        except httpx.HTTPError:
            pass
        now = time.monotonic()
        with self._lock:
            self.statuses[status] += 1
            if status == 200:
                self.answered.update(dict.fromkeys(ids, now))
                self.took.append((now, now - began))
            elif status in (503, 507):
                self.retry_after.add(retry_after)
        return status == 200


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
