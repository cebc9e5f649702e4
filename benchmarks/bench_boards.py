"""Dashboards: twelve trends over five years of daily numbers, the Overview page, 20 users at once.

Everything is asked over HTTP of `python -m reports` in its own process. Nothing that was asked
before is asked again while single panels are measured: each has days of its own.
"""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import threading
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import polars as pl
from playwright.sync_api import sync_playwright

from beam_pipelines.connectors.exact_tables import replace_rows, write_rows
from beam_pipelines.connectors.warehouse import Warehouse
from benchmarks.report import percentile, report
from reports.boards.definition import built_in
from schemas_avro import derive, load
from schemas_avro.tables import DAILY
from tests.system import System, chromium

YEARS, SERIES = 5, 200
USERS, VISITS, PAUSE_S = 20, 5, 1.0
_COLD = 5
_US = 1_000_000


def daily_numbers(directory: Path, rng: random.Random) -> None:
    """SERIES numbers a day, as the rollup writes them: most are events by name."""
    last = datetime.now(UTC).date()
    days = [last - timedelta(n) for n in range(365 * YEARS)]
    plain = ("active_users", "sessions", "orders", "conversion_rate")
    currencies = ("GBP", "EUR", "USD")
    names = [f"Event {n}" for n in range(SERIES - len(plain) - len(currencies))]
    series = [(metric, "{}") for metric in plain]
    series += [("revenue", json.dumps({"currency": code})) for code in currencies]
    series += [("events", json.dumps({"name": name})) for name in names]
    now = time.time_ns() // 1000
    warehouse = Warehouse(f"{directory}/archive")
    rows = [
        {
            "project": "bench", "day": day, "metric": metric, "dimensions": dimensions,
            "value": rng.randrange(10_000), "denominator": 10_000 if "rate" in metric else None,
            "computed_at": now, "complete_until": now, "events_in": 1_000_000, "duplicates": 7,
        }
        for day in days
        for metric, dimensions in series
    ]  # fmt: skip
    frame = pl.DataFrame(rows, schema=derive.wire(load(DAILY.record)), orient="row")
    replace_rows(
        warehouse, DAILY, write_rows(warehouse, DAILY, frame), "project = 'bench'", {"": 1}
    )


def daily_panels(rng: random.Random) -> list[dict[str, Any]]:
    """Questions of the built-in boards that the daily table answers, and some of its series."""
    measures = ("people", "events", "revenue", "orders", "sessions", "conversion_rate")
    asked: list[dict[str, Any]] = [{"series": [{"measure": m}]} for m in measures]
    asked.append({"series": [{"measure": "people"}], "compare": "previous"})
    asked.append({"series": [{"measure": "revenue"}], "moving_average": 7})
    asked += [
        {"series": [{"measure": "events", "event": {"name": f"Event {number}"}}]}
        for number in rng.sample(range(SERIES - 7), 4)
    ]
    return [{"title": "A panel", "kind": "trend", "question": question} for question in asked]


def each_panel(system: System) -> list[float]:
    """Seconds of each question, asked one after the other, each over days of its own."""
    took = []
    rng, today = random.Random(2), datetime.now(UTC).date()
    address = f"{system.reports}/p/bench/api/boards/preview"
    with httpx.Client(timeout=60) as client:
        for _ in range(12):
            for panel in daily_panels(rng):
                span = _span(rng, today)
                question = {**panel["question"], "dates": span}
                started = time.monotonic()
                answer = client.post(address, json={**panel, "question": question})
                took.append(time.monotonic() - started)
                assert answer.status_code == 200, answer.text
    return took


def _span(rng: random.Random, today: date) -> str:
    """Between a month and all five years."""
    last = today - timedelta(rng.randrange(300))
    return f"{last - timedelta(rng.choice([30, 90, 365, 365 * 4]))}..{last}"


def overview_cold(system: System) -> list[float]:
    """Seconds from the address to the last chart, each time in a browser that knows nothing."""
    took = []
    with sync_playwright() as playwright:
        for _ in range(_COLD):
            browser = playwright.chromium.launch(
                executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            started = time.monotonic()
            page.goto(f"{system.reports}/p/bench/boards/overview", wait_until="commit")
            page.wait_for_function(_ALL_DRAWN, timeout=60_000)
            took.append(time.monotonic() - started)
            browser.close()
            time.sleep(12)  # answers are no longer fresh
    return took


_ALL_DRAWN = """() => document.querySelectorAll('.panel').length > 0
  && !document.querySelector('.panel .loading, .panel .inside[aria-busy]')
  && !document.querySelector('.vega:not([data-drawn])')"""


def users_at_once(system: System) -> tuple[list[float], list[float]]:
    """Seconds of each panel and of each board, for USERS people who open boards, with pauses."""
    took: list[float] = []
    whole: list[float] = []
    lock = threading.Lock()
    boards = [name for name in built_in() if name in _BOARDS]

    def look(user: int) -> None:
        rng = random.Random(user)
        with httpx.Client(timeout=60) as client:
            for _ in range(VISITS):
                time.sleep(rng.uniform(0, 2 * PAUSE_S))
                name = rng.choice(boards)
                dates = quote(rng.choice(["last_30_days", "last_90_days", "last_12_months"]))
                opened = time.monotonic()
                for number in range(len(built_in()[name].panels)):
                    started = time.monotonic()
                    address = f"{system.reports}/p/bench/api/boards/{name}/panels/{number}"
                    answer = client.get(f"{address}?dates={dates}")
                    with lock:
                        took.append(time.monotonic() - started)
                    assert answer.status_code == 200, answer.text
                with lock:
                    whole.append(time.monotonic() - opened)

    threads = [threading.Thread(target=look, args=(user,)) for user in range(USERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took, whole


_BOARDS = ("overview", "revenue", "health", "data-quality")


def main() -> None:
    """Make the numbers, serve them, ask, print."""
    with tempfile.TemporaryDirectory() as directory, System(Path(directory) / "data") as system:
        system.run("catalog", "add-project", "bench")
        daily_numbers(system.data, random.Random(1))
        system.start_reports()
        # The drawing library is made once in the life of a data directory.
        httpx.get(f"{system.reports}/p/bench/boards/overview")
        _make_library(system)
        panels = each_panel(system)
        cold = overview_cold(system)
        users, whole = users_at_once(system)
        rows = sum(
            f.stat().st_size for f in (system.data / "archive").rglob("*daily*/**/*.parquet")
        )
        shutil.rmtree(system.data / "cache", ignore_errors=True)
    report(
        "boards",
        f"Dashboards on {YEARS} years of daily numbers, {SERIES} series",
        [
            ("a panel, p50", percentile(panels, 0.5) * 1000, "ms"),
            ("a panel, p95 (goal: < 200)", percentile(panels, 0.95) * 1000, "ms"),
            ("Overview in Chromium, cold, median", percentile(cold, 0.5), "s"),
            ("Overview in Chromium, cold, slowest (goal: < 1.5)", max(cold), "s"),
            (f"a panel with {USERS} users at once, p50", percentile(users, 0.5), "s"),
            (f"a panel with {USERS} users at once, p95 (goal: < 2)", percentile(users, 0.95), "s"),
            (f"a board with {USERS} users at once, p95", percentile(whole, 0.95), "s"),
        ],
        f"{len(panels)} panels by themselves, {_COLD} cold pages, {len(users)} panels of {USERS} "
        f"users; {rows / 1e6:.1f} MB of daily numbers; server, browser and users on one machine",
    )


def _make_library(system: System) -> None:
    page = httpx.get(f"{system.reports}/p/bench/boards/overview").text
    name = page.split('name="vega" content="')[1].split('"')[0]
    assert httpx.get(f"{system.reports}{name}", timeout=60).status_code == 200


if __name__ == "__main__":
    main()
