"""Live against exact: every difference that is made on purpose is found under its own name."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apache_beam as beam
import polars as pl
import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from beam_pipelines.connectors import exact_tables
from beam_pipelines.connectors.live import open_store
from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.jobs import parity, rollup
from beam_pipelines.options import ParityOptions, RollupOptions, parse
from beam_pipelines.steps.archive import Archive
from catalog.settings import read
from catalog.store import Catalog
from schemas_avro import derive, load
from schemas_avro.tables import DAILY, EVENTS, PARITY
from tests.streams import DAY_US, MINUTE_US, NOON, event, frame_of, order
from transforms.positions import Positions
from transforms.statistics import DistinctSketch

HORIZON_US = 600_000_000
DAY = datetime.fromtimestamp(NOON / 1e6, UTC).date()
MIDNIGHT = NOON - DAY_US // 2


class World:
    """An archive with its exact table, and live minutes that a plain loop works out."""

    def __init__(self, data: Path) -> None:
        self.data, self.seq = data, defaultdict[str, int](int)
        self.config = read({"HEADWATER_DATA_DIR": str(data)})
        self.live: list[dict[str, Any]] = [event("yesterday", NOON - DAY_US)]
        catalog = Catalog(self.config.catalog_url)
        catalog.migrate()
        catalog.add_project("demo")

    def archive(self, rows: list[dict[str, Any]], producer: str = "collector-0-a") -> None:
        frame = frame_of(rows, producer, self.seq[producer])
        self.seq[producer] += 1
        with beam.Pipeline(FnApiRunner()) as root:
            root | beam.Create([frame]) | Archive(f"{self.data}/archive", EVENTS, Positions())

    def compare(self, *flags: str) -> dict[str, dict[str, Any]]:
        """Rollup, live numbers, parity: its rows by statistic and dimensions."""
        options, rest = parse(RollupOptions, "rollup", [], self.config)
        rollup.start(options, rest, self.config)
        self._write_live()
        chosen, rest = parse(ParityOptions, "parity", ["--days=1", *flags], self.config)
        try:
            parity.start(chosen, rest, self.config)
        finally:
            rows = Warehouse(f"{self.data}/archive").table(PARITY).scan().to_arrow().to_pylist()
            self.rows = {f"{r['statistic']} {r['dimensions']}": r for r in rows}
        for row in rows:
            left = row["exact"] + row["repeats"] + row["sketch"] + row["unexplained"]
            for cause in ("repeated_orders", "imported", "before_live", "late"):
                left -= row[cause]
            assert left == row["live"]
            assert row["day"] == DAY
        return self.rows

    def _write_live(self) -> None:
        minutes: dict[tuple[str, str, int], Any] = defaultdict(list)
        for row in self.live:
            at = row["event_time"] // MINUTE_US * MINUTE_US
            minutes["events", f'{{"name":"{row["name"]}"}}', at].append(1)
            minutes["people", "{}", at].append(row["user_id"])
            if row.get("order_id"):
                minutes["orders", "{}", at].append(row["order_id"])
                minutes["buyers", "{}", at].append(row["user_id"])
                minutes["revenue", '{"currency":"GBP"}', at].append(row["revenue_minor"])
        rows = [
            {"project": "demo", "statistic": statistic, "dimensions": dimensions, "minute": minute,
             "total": sum(found) if statistic in ("events", "revenue") else None,
             "sketch": None if statistic in ("events", "revenue")
             else DistinctSketch.of(pl.Series(found, dtype=pl.String)).sketch,
             "pane": "late", "pane_index": 1, "run": 1, "updated_at": 1}
            for (statistic, dimensions, minute), found in minutes.items()
        ]  # fmt: skip
        store = open_store(self.config.live_uri)
        frame = pl.DataFrame(rows, schema=derive.wire(load("live_value")), orient="row")
        store.upsert(frame.sort("minute"), store.begin(1), MIDNIGHT + 2 * DAY_US)
        store.close()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def some(count: int = 60) -> list[dict[str, Any]]:
    rng = random.Random(4)
    rows = []
    for n in range(count):
        at, who = MIDNIGHT + rng.randrange(DAY_US), f"u{rng.randrange(12)}"
        if n % 5:
            rows.append(event(f"e{n}", at, user_id=who))
        else:
            rows.append(order(f"e{n}", at, 500 + n, user_id=who))
    return rows


def test_equal_where_nothing_went_wrong(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    rows = some()
    world.archive(rows[:30])
    world.archive(rows[30:])
    world.archive(rows[:7])  # repeats within the horizon: in neither
    world.live += rows
    found = world.compare()
    assert {name: row["live"] for name, row in found.items()} == {
        "events {}": 60,
        "people {}": len({r["user_id"] for r in rows}),
        "orders {}": 12,
        "buyers {}": len({r["user_id"] for r in rows if r.get("order_id")}),
        'revenue {"currency":"GBP"}': sum(r.get("revenue_minor", 0) for r in rows),
    }
    assert all(row["live"] == row["exact"] for row in found.values())
    assert capsys.readouterr().out.count("equal") == 5


def test_each_cause_has_its_share(world: World) -> None:
    rows = some()
    late = [order("late", NOON, 1000, user_id="late", received_time=NOON + HORIZON_US + 1)]
    again = event("again", NOON, user_id="u1")  # its clock was mended: hours apart, both in time
    copy = {**again, "event_time": NOON + 3_600_000_000, "received_time": NOON + 3_601_000_000}
    second = order("second", NOON, 7777, order_id="o-e0", user_id="u2", revenue_minor=500)
    world.archive([*rows, *late, again, copy, second])
    world.archive([event("import", NOON, user_id="from a file")], producer="import-1")
    world.live += [*rows, again, copy, second]
    found = world.compare()
    events, revenue = found["events {}"], found['revenue {"currency":"GBP"}']
    assert (events["exact"], events["live"]) == (64, 63)
    assert (events["late"], events["imported"], events["repeats"]) == (1, 1, 1)
    assert (revenue["late"], revenue["repeated_orders"]) == (1000, -500)
    assert (found["people {}"]["late"], found["people {}"]["imported"]) == (1, 1)
    assert {row["unexplained"] for row in found.values()} == {0}


def test_what_has_no_cause_is_an_alarm(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    rows = some()
    world.archive(rows)
    world.live += [row for row in rows if row["event_id"] not in ("e1", "e2")]
    with pytest.raises(SystemExit) as ended:
        world.compare()
    assert ended.value.code == 1
    assert world.rows["events {}"]["unexplained"] == -2
    assert "events {}: live 58, exact 60; -2 unexplained" in capsys.readouterr().err


def test_an_exact_table_that_is_wrong_is_an_alarm(world: World) -> None:
    rows = some()
    world.archive(rows)
    world.live += rows
    world.compare()
    warehouse = Warehouse(f"{world.data}/archive")
    daily = pl.DataFrame(warehouse.table(DAILY).scan().to_arrow())
    times = ("computed_at", "complete_until")
    wire = daily.with_columns(pl.col(times).dt.timestamp("us"))
    wrong = wire.with_columns(value=pl.col("value") + (pl.col("metric") == "active_users"))
    files = exact_tables.write_rows(warehouse, DAILY, wrong)
    exact_tables.replace_rows(warehouse, DAILY, files, "project = 'demo'", {})  # the mark stays
    with pytest.raises(SystemExit):
        world.compare()
    assert world.rows["people {}"]["unexplained"] == -1


def test_before_the_live_store_began(world: World) -> None:
    rows = some()
    world.archive(rows)
    world.live = [row for row in rows if row["event_time"] >= NOON]
    first = min(row["event_time"] for row in world.live) // MINUTE_US * MINUTE_US
    found = world.compare()
    before = sum(row["event_time"] < first for row in rows)
    assert found["events {}"]["before_live"] == before
    assert {row["unexplained"] for row in found.values()} == {0}


def test_a_sketch_may_err_within_its_bound(world: World) -> None:
    rng = random.Random(2)
    rows = [event(f"e{n}", MIDNIGHT + rng.randrange(DAY_US), user_id=f"u{n}") for n in range(9000)]
    world.archive(rows)
    world.live += rows
    people = world.compare()["people {}"]
    assert people["exact"] == 9000
    assert people["sketch"] == people["live"] - 9000
    assert 0 < abs(people["sketch"]) <= people["bound"] <= 9000 * 0.07
    assert people["unexplained"] == 0


def test_nothing_to_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = World(tmp_path)
    options, flags = parse(ParityOptions, "parity", [], made.config)
    parity.start(options, flags, made.config)
    assert "no day is final" in capsys.readouterr().out


def test_a_dry_run_names_the_days(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.archive(some(5))
    world.live += some(5)
    assert world.compare("--dry_run") == {}
    assert f"compare demo {DAY}" in capsys.readouterr().out
