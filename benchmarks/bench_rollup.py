"""Rollup and sessions of many events: seconds, and memory at its highest.

`python -m benchmarks.bench_rollup [EVENTS…]` writes that many events into a warehouse of its own,
over DAYS days, and runs the jobs on it, each in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from beam_pipelines.connectors.warehouse import Added, Warehouse
from benchmarks.report import Figure, report
from catalog.store import Catalog
from schemas_avro import derive, load
from schemas_avro.tables import EVENTS
from tests.streams import DAY_US, NOON
from transforms.positions import Positions

DAYS, PEOPLE_PER_EVENT, CHUNK = 31, 0.02, 500_000
NAMES = ("view", "cart", "search", "login", "share")


def events(count: int, days: int) -> Iterator[pl.DataFrame]:
    """Events of many people, a day after the other; 4 % are orders, 1 in 50 is sent twice."""
    rng = np.random.default_rng(1)
    start = NOON // DAY_US * DAY_US
    people = max(10, int(count * PEOPLE_PER_EVENT))
    types = derive.wire(load("event"))
    for seq, first in enumerate(range(0, count, CHUNK)):
        rows = min(CHUNK, count - first)
        number = np.arange(first, first + rows)
        again = rng.random(rows) < 0.02
        ids = np.where(again & (number > 0), number - 1, number)
        at = start + ids * (days * DAY_US // count)
        who = ids * 2_654_435_761 % people
        # One event in a hundred says which user a device belongs to.
        kind = np.where(ids % 100 == 7, "identify", "track")
        order = ids % 25 == 3
        name = np.where(order, "Order Completed", np.array(NAMES)[ids % len(NAMES)])
        frame = pl.DataFrame(
            {
                "number": ids,
                "who": who,
                "event_time": at,
                "name": name,
                "order": order,
                "type": kind,
            }
        ).select(
            event_id=pl.format("5f2b7c1e-8d3a-4e6f-9b01-{}", pl.col("number")),
            project=pl.lit("shop"),
            source=pl.lit("web"),
            type="type",
            name="name",
            user_id=pl.when(pl.col("who") % 3 > 0).then(pl.format("user-{}", "who")),
            anonymous_id=pl.format("a1b2c3d4-e5f6-4a7b-8c9d-{}", "who"),
            event_time="event_time",
            received_time=pl.col("event_time") + 1_000_000,
            page_path=pl.format("/product/{}", pl.col("number") % 1000),
            order_id=pl.when("order").then(pl.format("order-{}", "number")),
            revenue_minor=pl.when("order").then(pl.col("number") % 9999),
            currency=pl.when("order").then(pl.lit("GBP")),
            properties=pl.lit("{}"),
            flags=pl.lit(0, pl.Int32),
            producer=pl.lit("bench-0"),
            seq=pl.lit(seq, pl.Int64),
            row=pl.int_range(rows, dtype=pl.Int32),
        )
        absent = [pl.lit(None, types[n]).alias(n) for n in types if n not in frame.columns]
        yield frame.with_columns(absent).select(*types)


def fill(directory: Path, count: int) -> None:
    """A warehouse with so many events, in one commit."""
    warehouse = Warehouse(f"{directory}/archive")
    added = []
    for seq, rows in enumerate(events(count, DAYS)):
        day = pl.from_epoch(pl.col("event_time"), time_unit="us").dt.date().cast(pl.String)
        touched = {"shop": tuple(rows.select(day.unique()).to_series().to_list())}
        positions = Positions.of([("bench-0", seq, seq)])
        until = int(rows.select(pl.col("received_time").max()).item())
        added.append(Added(warehouse.write_files(EVENTS, rows), positions, touched, until))
    whole = added[0]
    for one in added[1:]:
        whole = whole + one
    warehouse.add(EVENTS, whole)
    catalog = Catalog(f"sqlite:///{directory}/catalog.db")
    catalog.migrate()
    catalog.add_project("shop", time_zone="Europe/London")


def run(directory: Path, job: str, *flags: str) -> tuple[float, float, float]:
    """(seconds, seconds of CPU, GB at the highest) of a job in a process of its own."""
    command = [sys.executable, "-m", "beam_pipelines.run", job, *flags]
    started = time.monotonic()
    process = subprocess.Popen(
        command, env={**os.environ, "HEADWATER_DATA_DIR": str(directory)}, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{job} ended with status {status}")
    cpu_s = usage.ru_utime + usage.ru_stime
    return time.monotonic() - started, cpu_s, usage.ru_maxrss / (1 << 20)


JOBS = {
    "rollup of days": ("rollup", "--all_days", "--grains=day"),
    "rollup of hours, days, weeks, months": ("rollup", "--all_days"),
    "sessions": ("sessions", "--all_days"),
    "identity": ("identity", "--again"),
}


def main(counts: list[int]) -> None:
    """Fill, run, print."""
    figures: list[Figure] = []
    for count in counts:
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            fill(directory, count)
            for title, command in JOBS.items():
                seconds, cpu_s, memory = run(directory, *command)
                shown = f"{title}, {count / 1e6:g} M events"
                figures += [
                    (shown, seconds, "s"),
                    (f"{shown}: processor", cpu_s, "s"),
                    (f"{shown}: memory at its highest", memory, "GB"),
                ]
    note = f"events over {DAYS} days in a zone with summer time, 4 % orders, 2 % sent twice"
    report("rollup", "Exact tables", figures, note)


if __name__ == "__main__":
    main([int(text) for text in sys.argv[1:]] or [2_000_000])
