"""Backfill of a raw archive whose browsers were found wrongly: time per event and peak memory.

    python -m benchmarks.bench_backfill 2000000 20000000

The archive lies on ten days, in files of 250,000 events of some 500 bytes. The job runs as a
process of its own, as a person would start it. Afterwards every event has the right browser, and
a second run leaves every file as it is; else no figure is printed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl

from beam_pipelines.connectors.maintenance import files_by_day, local
from beam_pipelines.connectors.warehouse import Added, Warehouse
from benchmarks.report import Figure, report
from schemas_avro import derive, load
from schemas_avro.tables import EVENTS
from tests.streams import DAY_US, NOON
from transforms.positions import Positions

DAYS, FILE_ROWS, AGENTS = 10, 250_000, 40
_POLL_S = 0.05
_TYPES = derive.wire(load("event"))


def archive(directory: str, events: int) -> None:
    """Make the archive, file by file."""
    warehouse = Warehouse(directory)
    for seq, first in enumerate(range(0, events, FILE_ROWS)):
        rows = _rows(seq, first, min(FILE_ROWS, events - first))
        files = warehouse.write_files(EVENTS, rows)
        warehouse.add(EVENTS, Added(files, Positions.of([("p-0", seq, seq)]), {}, NOON))


def _rows(seq: int, first: int, count: int) -> pl.DataFrame:
    number = pl.int_range(first, first + count, dtype=pl.Int64)
    at = NOON - NOON % DAY_US + (seq % DAYS) * DAY_US + number % DAY_US
    agent = pl.concat_str(
        pl.lit("Mozilla/5.0 (X11; Linux x86_64; rv:"), number % AGENTS + 60,
        pl.lit(".0) Gecko/20100101 Firefox/"), number % AGENTS + 60, pl.lit(".0"),
    )  # fmt: skip
    text = "some words such as an event of five hundred bytes carries along " * 4
    columns = {
        "event_id": pl.concat_str(pl.lit("e-"), number),
        "project": pl.lit("demo"),
        "source": pl.lit("web"),
        "type": pl.lit("page"),
        "user_id": pl.concat_str(pl.lit("user-"), number.hash(1) % 100_000),
        "event_time": at,
        "received_time": at + 1_000_000,
        "page_url": pl.concat_str(pl.lit("https://shop.example/item/"), number.hash(2) % 5_000),
        "browser_name": pl.lit("Mosaic"),
        "user_agent": agent,
        "properties": pl.concat_str(pl.lit('{"n": '), number, pl.lit(f', "text": "{text}"}}')),
        "flags": pl.lit(0),
        "producer": pl.lit("p-0"),
        "seq": pl.lit(seq),
        "row": number - first,
    }
    filled = [
        columns.get(name, pl.lit(None)).cast(kind).alias(name) for name, kind in _TYPES.items()
    ]
    return pl.select(filled)


def backfill(data: str) -> tuple[float, float]:
    """(seconds, peak memory in MB of the process and its children)."""
    environ = {**os.environ, "HEADWATER_DATA_DIR": data}
    command = [sys.executable, "-m", "beam_pipelines.run", "backfill", "--clear=browser_name"]
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, sum(_resident_mb(pid) for pid in _family(process.pid)))
        time.sleep(_POLL_S)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - began, peak


def _family(pid: int) -> Iterator[int]:
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from _family(int(child))


def _resident_mb(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def check(directory: str, events: int) -> list[str]:
    """The files, if every event is there with the right browser."""
    found = files_by_day(Warehouse(directory), EVENTS)
    paths = [local(file.path) for files in found.values() for file in files]
    query = "SELECT count(*), count(DISTINCT event_id), min(browser_name), max(browser_name)"
    with duckdb.connect() as database:
        row = database.execute(f"{query} FROM read_parquet(?)", [paths]).fetchone()
    assert row == (events, events, "Firefox", "Firefox"), row
    return paths


def main(sizes: list[int]) -> None:
    figures: list[Figure] = []
    per_event: list[float] = []
    for events in sizes:
        with tempfile.TemporaryDirectory() as data:
            directory = str(Path(data, "archive"))
            archive(directory, events)
            seconds, peak = backfill(data)
            paths = check(directory, events)
            again, _ = backfill(data)
            assert check(directory, events) == paths, "a second backfill changed files"
        per_event.append(seconds / events)
        millions = f"{events / 1e6:g} M events"
        figures += [
            (f"{millions}: time per event", 1e6 * seconds / events, "us"),
            (f"{millions}: events", events / seconds, "events/s"),
            (f"{millions}: peak memory", peak, "MB"),
            (f"{millions}: a second run, which changes nothing", events / again, "events/s"),
        ]
    if len(sizes) > 1:
        figures.append(("time per event, last to first", per_event[-1] / per_event[0], "times"))
    report("backfill", "Backfill of a raw archive", figures, "Job start of about 3 s included.")


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or [2_000_000])
