"""What the collector counts of itself, for Prometheus. Every name stands in one table.

Counting costs an addition under a lock; once a second the sums go into the files that all workers
share (see metrics_files), so that a scrape of one worker answers for all. A worker that is killed
takes its last second with it: these are signs of health, the ledger counts events.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Literal, get_args

from flask import Flask, Response, request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from collector.metrics_files import VARIABLE, is_alive

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

CounterName = Literal[
    "headwater_collector_events",
    "headwater_collector_requests",
    "headwater_collector_body_bytes",
    "headwater_collector_block_bytes",
    "headwater_collector_resends",
]
GaugeName = Literal["headwater_collector_waiting_events", "headwater_collector_queued_blocks"]
HistogramName = Literal[
    "headwater_collector_request_seconds",
    "headwater_collector_publish_seconds",
    "headwater_collector_block_rows",
]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_ROWS = (1.0, 10.0, 100.0, 1_000.0, 10_000.0)
_EVERY_S = 1.0
_STARTED = "headwater.started"  # in the WSGI environment


@dataclass(frozen=True, slots=True)
class Metric:
    """One line of the table. Counters are shown with `_total` behind their name."""

    name: CounterName | GaugeName | HistogramName
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


METRICS = (
    Metric(
        "headwater_collector_events",
        "events",
        "Events by what became of them: accepted, suppressed, bot, rate_limited, quota_exceeded, "
        "or the reason of the dead letter.",
        ("protocol", "outcome"),
    ),
    Metric("headwater_collector_requests", "requests", "Requests answered.", ("route", "status")),
    Metric("headwater_collector_body_bytes", "bytes", "Request bodies as sent.", ("route",)),
    Metric("headwater_collector_block_bytes", "bytes", "Blocks handed to the bus."),
    Metric(
        "headwater_collector_resends",
        "requests",
        "Requests that their sender marks as a repeat (retry count above 0).",
        ("protocol",),
    ),
    Metric("headwater_collector_waiting_events", "events", "Events that wait for the disk."),
    Metric("headwater_collector_queued_blocks", "blocks", "Blocks in the disk queue."),
    Metric(
        "headwater_collector_request_seconds",
        "seconds",
        "From the first byte of a request to its answer.",
        ("route",),
        _SECONDS,
    ),
    Metric(
        "headwater_collector_publish_seconds",
        "seconds",
        "How long the bus took for one block, compression included.",
        (),
        _SECONDS,
    ),
    Metric("headwater_collector_block_rows", "events", "Events in one block.", (), _ROWS),
)


def table() -> list[tuple[str, str, str, str, str]]:
    """(name as shown, kind, labels, unit, help) of every metric, for the reference."""
    kinds = {
        **dict.fromkeys(get_args(CounterName), "counter"),
        **dict.fromkeys(get_args(GaugeName), "gauge"),
        **dict.fromkeys(get_args(HistogramName), "histogram"),
    }
    return [
        (
            f"{m.name}_total" if kinds[m.name] == "counter" else m.name,
            kinds[m.name],
            ", ".join(m.labels),
            m.unit,
            m.help,
        )
        for m in METRICS
    ]


class _Histogram(Histogram):
    """Takes many observations at once: its own way is one by one."""

    def add(self, per_bucket: Sequence[int], total: float) -> None:
        """per_bucket: new observations in each bucket; the last bucket has no upper bound."""
        self._sum.inc(total)
        for bucket, count in zip(self._buckets, per_bucket, strict=True):
            if count:
                bucket.inc(count)


class _Observed:
    """Observations that wait to be added."""

    __slots__ = ("per_bucket", "total")

    def __init__(self, buckets: int) -> None:
        self.per_bucket, self.total = [0] * (buckets + 1), 0.0


class Metrics:
    """Counts of this process. Safe between threads.

    In a process whose environment names a shared directory, `answer` is about all of them.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._bounds = {m.name: m.buckets for m in METRICS}
        here = self._registry
        made = {m.name: m for m in METRICS}
        self._counters = {
            n: Counter(n, made[n].help, made[n].labels, registry=here)
            for n in get_args(CounterName)
        }
        self._gauges = {
            n: Gauge(n, made[n].help, registry=here, multiprocess_mode="livesum")
            for n in get_args(GaugeName)
        }
        self._histograms = {
            n: _Histogram(n, made[n].help, made[n].labels, registry=here, buckets=made[n].buckets)
            for n in get_args(HistogramName)
        }
        self._lock, self._moving = threading.Lock(), threading.Lock()
        self._sums: dict[tuple[CounterName, tuple[str, ...]], float] = {}
        self._seen: dict[tuple[HistogramName, tuple[str, ...]], _Observed] = {}
        self._watched: dict[GaugeName, Callable[[], float]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self._thread.start()

    def count(self, name: CounterName, *labels: str, amount: float = 1) -> None:
        """Add to a counter; labels in the order of the table."""
        with self._lock:
            self._add(name, labels, amount)

    def observe(self, name: HistogramName, value: float, *labels: str) -> None:
        """Note a value in a histogram; labels in the order of the table."""
        with self._lock:
            self._note(name, value, labels)

    def watch(self, name: GaugeName, read: Callable[[], float]) -> None:
        """Have a gauge show what `read` returns: it is asked once a second."""
        self._watched[name] = read

    def answered(self, route: str, status: str, seconds: float, body_bytes: int) -> None:
        """Count a request: all that is counted of each, under one lock."""
        labels = (route,)
        with self._lock:
            self._add("headwater_collector_requests", (route, status), 1)
            self._add("headwater_collector_body_bytes", labels, body_bytes)
            self._note("headwater_collector_request_seconds", seconds, labels)

    def turned_away(self) -> None:
        """Count a request that was refused before it was looked at."""
        self.count("headwater_collector_requests", "(crowd)", "503")

    def move(self) -> None:
        """Hand what was counted to the client library, as happens once a second."""
        with self._moving:  # so that no two sums of one counter are added at once
            with self._lock:
                sums, self._sums = self._sums, {}
                seen, self._seen = self._seen, {}
            for (counter, labels), amount in sums.items():
                found = self._counters[counter]
                (found.labels(*labels) if labels else found).inc(amount)
            for (histogram, labels), observed in seen.items():
                child = self._histograms[histogram]
                (child.labels(*labels) if labels else child).add(
                    observed.per_bucket, observed.total
                )
            for gauge, read in self._watched.items():
                self._gauges[gauge].set(read())

    def answer(self) -> Response:
        """All metrics in Prometheus' text format: of all workers, where they share."""
        self.move()
        registry = self._registry
        if shared := os.environ.get(VARIABLE):
            _forget_the_dead(Path(shared))
            registry = CollectorRegistry()
            MultiProcessCollector(registry, shared)  # type: ignore[no-untyped-call]
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    def close(self) -> None:
        """Hand over what is left."""
        self._stopping.set()
        self._thread.join()
        self.move()

    def _add(self, name: CounterName, labels: tuple[str, ...], amount: float) -> None:
        key = (name, labels)
        self._sums[key] = self._sums.get(key, 0.0) + amount

    def _note(self, name: HistogramName, value: float, labels: tuple[str, ...]) -> None:
        key, bounds = (name, labels), self._bounds[name]
        observed = self._seen.get(key)
        if observed is None:
            observed = self._seen[key] = _Observed(len(bounds))
        observed.per_bucket[bisect_left(bounds, value)] += 1
        observed.total += value

    def _run(self) -> None:
        while not self._stopping.wait(_EVERY_S):
            self.move()


def measure(app: Flask, metrics: Metrics) -> None:
    """Count every request of the app. Its outermost layer, so that the time is the whole one."""
    inner = app.wsgi_app

    def started(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ[_STARTED] = perf_counter()
        return inner(environ, start_response)

    def answered(response: Response) -> Response:
        environ, rule = request.environ, request.url_rule
        length = environ.get("CONTENT_LENGTH") or "0"
        metrics.answered(
            rule.rule if rule else "(none)",  # the rule, not the path: a path may hold a key
            response.status[:3],
            perf_counter() - environ[_STARTED],
            int(length) if length.isdecimal() else 0,
        )
        return response

    app.wsgi_app = started  # type: ignore[method-assign]
    app.after_request(answered)


def _forget_the_dead(shared: Path) -> None:
    """Gauges of workers that were killed. What they counted stays counted."""
    for file in shared.glob("gauge_live*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdigit() and not is_alive(int(pid)):
            mark_process_dead(int(pid), str(shared))  # type: ignore[no-untyped-call]
