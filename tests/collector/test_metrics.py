"""Counts of one process, and of several that share them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from collector import metrics_files
from collector.metrics import (
    METRICS,
    CounterName,
    GaugeName,
    HistogramName,
    Metrics,
    measure,
    table,
)

SECONDS = "headwater_collector_request_seconds"
GAUGE = ("headwater_collector_waiting_events",)


Shown = dict[tuple[str, ...], float]


def read(text: str) -> Shown:
    """(name, label values in order of their names) -> value, as another program reads the text."""
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    made = Metrics()
    yield made
    made.close()


def shown(metrics: Metrics) -> Shown:
    return read(metrics.answer().get_data(as_text=True))


def test_the_table_is_all_names_once_with_unit_and_help():
    names = [*get_args(CounterName), *get_args(GaugeName), *get_args(HistogramName)]
    assert sorted(m.name for m in METRICS) == sorted(names)
    assert len(set(names)) == len(names)
    assert all(m.unit and m.help.endswith(".") for m in METRICS)
    assert all(bool(m.buckets) == (m.name in get_args(HistogramName)) for m in METRICS)


def test_what_is_shown_is_what_the_table_says(metrics):
    for m in METRICS:
        labels = ["x"] * len(m.labels)
        if m.name in get_args(CounterName):
            metrics.count(m.name, *labels)
        elif m.name in get_args(HistogramName):
            metrics.observe(m.name, 0.1, *labels)
        else:
            metrics.watch(m.name, lambda: 1.0)
    text = metrics.answer().get_data(as_text=True)
    for name, kind, labels, _, help_text in table():
        assert f"# TYPE {name} {kind}\n" in text
        assert f"# HELP {name} {help_text}\n" in text
        if labels:
            assert labels.split(", ")[0] + '="x"' in text


def test_counts_gauges_and_histograms(metrics):
    metrics.count("headwater_collector_events", "segment", "accepted", amount=40)
    metrics.count("headwater_collector_events", "segment", "accepted", amount=2)
    metrics.count("headwater_collector_events", "native", "bad_time")
    for seconds in (0.001, 0.0011, 0.03, 99.0):
        metrics.observe(SECONDS, seconds, "/v1/batch")
    metrics.watch("headwater_collector_waiting_events", lambda: 7)
    found = shown(metrics)
    assert found["headwater_collector_events_total", "accepted", "segment"] == 42
    assert found["headwater_collector_events_total", "bad_time", "native"] == 1
    assert found[GAUGE] == 7
    buckets = {
        labels[0]: value for (name, *labels), value in found.items() if name == f"{SECONDS}_bucket"
    }
    # Counted by hand; a bound belongs to its bucket.
    assert buckets["0.001"] == 1
    assert buckets["0.0025"] == 2
    assert buckets["0.025"] == 2
    assert buckets["0.05"] == 3
    assert buckets["10.0"] == 3
    assert buckets["+Inf"] == 4 == found[f"{SECONDS}_count", "/v1/batch"]
    assert found[f"{SECONDS}_sum", "/v1/batch"] == pytest.approx(99.0321)


def test_threads_lose_nothing(metrics):
    def work(_: int) -> None:
        for _ in range(2_000):
            metrics.answered("/v1/t", "200", 0.002, 10)
        metrics.move()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    found = shown(metrics)
    assert found["headwater_collector_requests_total", "/v1/t", "200"] == 16_000
    assert found["headwater_collector_body_bytes_total", "/v1/t"] == 160_000
    assert found[f"{SECONDS}_bucket", "0.0025", "/v1/t"] == 16_000


def test_every_request_is_counted_by_its_rule_and_never_by_its_path(metrics):
    app = Flask("measured")

    @app.post("/v1/projects/<key>/settings")
    def settings(key: str) -> str:
        return "x" if key != "broken" else 1 / 0  # type: ignore[return-value]

    app.register_error_handler(ZeroDivisionError, lambda _: ("", 500))
    measure(app, metrics)
    client = app.test_client()
    for key in ("hw_secret", "hw_other", "broken"):
        client.post(f"/v1/projects/{key}/settings", data=b"12345")
    client.get("/nowhere/hw_secret")
    found = shown(metrics)
    rule = "/v1/projects/<key>/settings"
    assert found["headwater_collector_requests_total", rule, "200"] == 2
    assert found["headwater_collector_requests_total", rule, "500"] == 1
    assert found["headwater_collector_requests_total", "(none)", "404"] == 1
    assert found["headwater_collector_body_bytes_total", rule] == 15
    assert 0 < found[f"{SECONDS}_sum", rule] < 5
    assert "secret" not in metrics.answer().get_data(as_text=True)


WORKER = """
import sys
from collector.metrics import Metrics
metrics = Metrics()
metrics.watch("headwater_collector_waiting_events", lambda: 5)
metrics.count("headwater_collector_events", "native", "accepted", amount=100)
metrics.observe("headwater_collector_request_seconds", 0.3, "/v1/events")
metrics.move()
print("ready", flush=True)
for line in sys.stdin:
    print(metrics.answer().get_data(as_text=True), end="")
    print("#", flush=True)
"""


def ask(worker: subprocess.Popen[str]) -> Shown:
    assert worker.stdin
    assert worker.stdout
    worker.stdin.write("\n")
    worker.stdin.flush()
    return read("".join(iter(worker.stdout.readline, "#\n")))


def test_any_worker_answers_for_all_and_the_dead_have_no_gauges(tmp_path):
    environ = {**os.environ, metrics_files.VARIABLE: str(tmp_path)}
    pipe = subprocess.PIPE
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER], env=environ, stdin=pipe, stdout=pipe, text=True
        )
        for _ in range(3)
    ]
    for worker in workers:
        assert worker.stdout
        assert worker.stdout.readline() == "ready\n"
    found = ask(workers[0])
    assert found["headwater_collector_events_total", "accepted", "native"] == 300
    assert found[f"{SECONDS}_bucket", "0.5", "/v1/events"] == 3
    assert found[GAUGE] == 15
    workers[2].send_signal(signal.SIGKILL)
    workers[2].communicate()
    found = ask(workers[1])
    assert found["headwater_collector_events_total", "accepted", "native"] == 300
    assert found[GAUGE] == 10
    for worker in workers[:2]:
        worker.communicate()


PARENT = """
import os, subprocess, sys, time
from collector.metrics_files import prepare
print(prepare(), os.environ["PROMETHEUS_MULTIPROC_DIR"], "prometheus_client" in sys.modules)
sys.stdout.flush()
sys.stdin.read()
"""


def parent() -> tuple[subprocess.Popen[str], Path]:
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", PARENT], stdin=pipe, stdout=pipe, text=True)
    assert process.stdout
    made, named, loaded = process.stdout.readline().split()
    assert made == named
    assert loaded == "False"  # else its forked workers would not share
    return process, Path(made)


def test_the_parent_makes_the_directory_and_takes_away_what_the_dead_left():
    killed, left = parent()
    assert left.is_dir()
    assert left.stat().st_mode & 0o077 == 0
    killed.kill()
    killed.communicate()
    assert left.is_dir()
    second, made = parent()
    assert not left.exists()
    assert list(made.iterdir()) == []
    third, other = parent()
    assert made.is_dir()
    for process, path in ((second, made), (third, other)):
        process.communicate()
        assert not path.exists()


def test_sums_are_moved_within_seconds_by_themselves(metrics):
    metrics.count("headwater_collector_resends", "segment")
    deadline = time.monotonic() + 10
    counter = metrics._counters["headwater_collector_resends"].labels("segment")
    while counter._value.get() == 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)
