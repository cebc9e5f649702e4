"""Raw export against DuckDB `COPY`: rows a second of the same rows, to the same format.

`python -m benchmarks.bench_export [EVENTS]` makes an archive, exports all of it as the worker
process does, with copies left out, sums and manifest, and has DuckDB COPY the files by hand. Each
in a process of its own; the best of RUNS.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
from rich.progress import track

from benchmarks.raw_events import PROJECT, archive
from benchmarks.report import Figure, report
from catalog.settings import Settings, read
from reports.exports.asked import Asked
from reports.exports.shelf import MANIFEST
from reports.exports.work import environment, made

DAYS, PEOPLE, RUNS, THREADS = 10, 50_000, 2, 2
FORMATS = ("parquet", "csv", "jsonl")
_BY_HAND = {
    "parquet": "FORMAT parquet, COMPRESSION zstd",
    "csv": "FORMAT csv, HEADER",
    "jsonl": "FORMAT json",
}


def ours(settings: Settings, format_: str, out: Path, paths: list[str]) -> int:
    """The rows of an export by our own code."""
    os.environ.update(environment(settings))
    from reports.app import serve

    app = serve()
    manifest = made(PROJECT, Asked(table="events", format=format_), settings, app, out)  # type: ignore[arg-type]
    assert (out / MANIFEST).exists()
    return int(manifest["rows"])


def by_hand(settings: Settings, format_: str, out: Path, paths: list[str]) -> int:
    """The rows that DuckDB alone copies."""
    with duckdb.connect(config={"threads": THREADS}) as engine:
        engine.execute("SET TimeZone = 'UTC'")
        engine.execute("SET preserve_insertion_order = false")
        engine.execute("SET enable_progress_bar = false")
        listed = ", ".join(f"'{path}'" for path in paths)
        copy = (
            f"COPY (SELECT * FROM read_parquet([{listed}]) WHERE project = '{PROJECT}') "
            f"TO '{out / 'rows'}' ({_BY_HAND[format_]})"
        )
        found: Any = engine.execute(copy).fetchone()
    return int(found[0])


def timed(
    how: Callable[..., int], settings: Settings, format_: str, out: Path, paths: list[str], at: Any
) -> None:
    """In a process of its own: seconds, rows and MB at the highest into the pipe `at`."""
    out.mkdir()
    started = time.monotonic()
    rows = how(settings, format_, out, paths)
    seconds = time.monotonic() - started
    at.send((seconds, rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def best(
    how: Callable[..., int], settings: Settings, format_: str, out: Path, paths: list[str]
) -> tuple[float, float, int]:
    """(rows a second, MB at the highest, rows) of the best of some runs."""
    found = []
    for _ in range(RUNS):
        context = multiprocessing.get_context("spawn")
        ours_end, theirs = context.Pipe()
        process = context.Process(target=timed, args=(how, settings, format_, out, paths, theirs))
        process.start()
        seconds, rows, memory = ours_end.recv()
        process.join()
        shutil.rmtree(out)
        found.append((rows / seconds, memory, rows))
    return max(found)


def main(events: int) -> None:
    """Make, export, copy, print."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        paths = archive(directory, events, DAYS, PEOPLE)
        settings = read({"HEADWATER_DATA_DIR": name, "HEADWATER_SQL_THREADS": str(THREADS)})
        for format_ in track(FORMATS, "exporting"):
            out = directory / "out"
            hand, _, stored = best(by_hand, settings, format_, out, paths)
            speed, memory, rows = best(ours, settings, format_, out, paths)
            assert 0.9 * stored < rows <= stored, (rows, stored)
            figures += [
                (f"{format_}: rows a second", speed, "rows/s"),
                (f"{format_}: DuckDB COPY by hand", hand, "rows/s"),
                (f"{format_}: share of it", speed / hand, ""),
                (f"{format_}: memory at its highest", memory, "MB"),
            ]
    note = f"{events / 1e6:g} M raw events of 52 columns, one in 200 a copy; {THREADS} threads"
    report("export", "Raw export", figures, note)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000)
