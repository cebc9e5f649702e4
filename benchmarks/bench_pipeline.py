"""Decode -> measure per minute: ours beside a textbook Beam pipeline, same events, same runner.

python -m benchmarks.bench_pipeline           # the direct runner
python -m benchmarks.bench_pipeline --flink   # Flink in Beam's job server, which `make flink` gets

All three ways compute the same five live statistics; their results are compared before a figure
is printed. Ours also drops repeats, which the textbook pipeline does not.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from operator import add
from pathlib import Path
from statistics import median
from typing import Any

import apache_beam as beam
import fastavro
import polars as pl
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.transforms.window import FixedWindows, TimestampedValue

from beam_pipelines import runners
from beam_pipelines.connectors.frames import Frame
from beam_pipelines.steps.live import LIVE_STATISTICS, READ, MeasureLive
from beam_pipelines.windowing import LivePolicy
from benchmarks.report import report
from schemas_avro import block, load
from tests.flink import Flink
from tests.streams import NOON, event, frame_of, order
from transforms.grid import MINUTE_US, minute_of
from transforms.measure import measure
from transforms.statistics import DistinctSketch

BLOCKS, ROWS, MINUTES = 1200, 1000, 36
RUNS = 3  # of which the middle one counts
BUNDLE = 50  # blocks that the loop without Beam takes at once
_results: dict[str, dict[Any, int]] = defaultdict(dict)


class _OnePane(LivePolicy):
    """The same minutes without early panes: bounded input needs none."""

    def apply(self) -> beam.WindowInto:
        return beam.WindowInto(FixedWindows(self.size_s))


def frames() -> list[Frame]:
    """Events of 500 people over MINUTES minutes; one in ten is an order."""
    text = "some words such as an event of five hundred bytes carries along " * 4
    made = []
    for seq in range(BLOCKS):
        rows = []
        for n in range(ROWS):
            number = seq * ROWS + n
            at = NOON + number * MINUTES * MINUTE_US // (BLOCKS * ROWS)
            properties = json.dumps({"number": number, "text": text})
            shared = {"user_id": f"user-{number % 500}", "properties": properties,
                      "received_time": at + 1_000_000}  # fmt: skip
            if n % 10:
                rows.append(event(f"id-{number}", at, **shared))
            else:
                rows.append(order(f"id-{number}", at, number % 9999, **shared))
        made.append(frame_of(rows, seq=seq))
    return made


def stored(made: list[Frame], directory: Path) -> list[str]:
    """Each block in a file: a pipeline reads its input and does not carry it in its graph."""
    paths = [directory / f"{frame.seq:06d}" for frame in made]
    for path, frame in zip(paths, made, strict=True):
        path.write_bytes(frame.payload)
    return [str(path) for path in paths]


def read(path: str) -> Frame:
    """The block in a file."""
    seq = int(Path(path).name)
    return Frame("bench", seq, seq, Path(path).read_bytes())


class _ReadRecords(beam.DoFn):
    def process(self, frame: Frame) -> Iterator[dict[str, Any]]:
        yield from fastavro.reader(io.BytesIO(frame.payload))  # type: ignore[misc]


class _Distinct(beam.CombineFn):
    """As a textbook has it: a set."""

    def create_accumulator(self) -> set[str]:
        return set()

    def add_input(self, accumulator: set[str], value: str) -> set[str]:
        accumulator.add(value)
        return accumulator

    def merge_accumulators(self, accumulators: Any) -> set[str]:
        return set().union(*accumulators)

    def extract_output(self, accumulator: set[str]) -> int:
        return len(accumulator)


class _Keep(beam.DoFn):
    """Writes results down here. A class, which is pickled by name: a closure would fill a copy."""

    def __init__(self, way: str) -> None:
        self._way = way

    def process(self, element: Any, window: Any = beam.DoFn.WindowParam) -> None:
        key, value = element
        _results[self._way][(*key, window.start.micros)] = getattr(value, "value", value)


def textbook(root: beam.Pipeline, data: list[str]) -> None:
    """One element an event, keyed and combined five times."""
    events = (
        root
        | beam.Create(data)
        | beam.Reshuffle()
        | "Read" >> beam.Map(read)
        | beam.ParDo(_ReadRecords())
        | beam.Map(lambda e: TimestampedValue(e, e["event_time"].timestamp()))
        | beam.WindowInto(FixedWindows(60))
    )
    sold = events | beam.Filter(lambda e: e.get("revenue_minor") is not None)
    orders = sold | "Orders" >> beam.Filter(lambda e: e.get("order_id") and e["revenue_minor"] >= 0)

    def named(statistic: str, field: str | None = None) -> Any:
        def key(e: dict[str, Any]) -> tuple[str, str, str]:
            return e["project"], statistic, json.dumps({field: e[field]}, separators=(",", ":")) \
                if field else "{}"  # fmt: skip

        return key

    ways = (
        ("events", events, named("events", "name"), lambda e: 1, sum),
        ("people", events, named("people"), lambda e: e["user_id"], _Distinct()),
        ("buyers", orders, named("buyers"), lambda e: e["user_id"], _Distinct()),
        ("orders", orders, named("orders"), lambda e: e["order_id"], _Distinct()),
        ("revenue", sold, named("revenue", "currency"), lambda e: e["revenue_minor"], sum),
    )
    for name, rows, key, value, combine in ways:
        (
            rows
            | f"Key {name}" >> beam.Map(lambda e, k=key, v=value: (k(e), v(e)))
            | f"Combine {name}" >> beam.CombinePerKey(combine)
            | f"Keep {name}" >> beam.ParDo(_Keep("textbook"))
        )


def ours(root: beam.Pipeline, data: list[str]) -> None:
    """The live part of the ingest job."""
    (
        root
        | beam.Create(data)
        | beam.Reshuffle()
        | "Read" >> beam.Map(read)
        | MeasureLive(_OnePane())
        | beam.ParDo(_Keep("headwater"))
    )


def loop(data: list[str]) -> None:
    """The same calls without Beam, some blocks at once as a bundle has them."""
    merged: dict[Any, list[Any]] = defaultdict(list)
    for start in range(0, len(data), BUNDLE):
        blocks = [
            block.decode(load("event"), read(path).payload, READ)[1]
            for path in data[start : start + BUNDLE]
        ]
        rows = pl.concat(blocks)
        for key, minute, value in measure(rows, LIVE_STATISTICS, minute_of(), DistinctSketch):
            merged[(*key, minute)].append(value)
    _results["loop"] = {key: reduce(add, values).value for key, values in merged.items()}


Run = Callable[[Callable[[beam.Pipeline, list[str]], None], list[str]], float]  # CPU seconds


def on_direct(way: Callable[[beam.Pipeline, list[str]], None], data: list[str]) -> float:
    started = time.process_time()
    root = beam.Pipeline(FnApiRunner())
    way(root, data)
    root.run()
    return time.process_time() - started


@contextmanager
def flink() -> Iterator[Run]:
    """Runs on a job server with a Flink inside, the Python code in this process."""
    with tempfile.TemporaryDirectory() as directory, Flink(Path(directory)) as server:
        server.start_job_server()
        given = [f"--job_endpoint={server.endpoint}", "--environment_type=LOOPBACK"]

        def run(way: Callable[[beam.Pipeline, list[str]], None], data: list[str]) -> float:
            started = time.process_time() + server.cpu_s("job server")
            runners.run("flink", lambda root: way(root, data), given, streaming=False)
            return time.process_time() + server.cpu_s("job server") - started

        yield run


def main() -> None:
    """Run, compare, print."""
    with tempfile.TemporaryDirectory() as directory:
        data = stored(frames(), Path(directory))
        if sys.argv[1:] == ["--flink"]:
            with flink() as run:
                compare(data, run, "Flink")
        elif sys.argv[1:]:
            sys.exit(f"{sys.argv[1:]} is no option; --flink is the only one")
        else:
            compare(data, on_direct, "direct")


def compare(data: list[str], run: Run, runner: str) -> None:
    """The three ways on the same blocks."""
    # Starts, imports and first compilations are nobody's speed. A job on Flink costs some seconds
    # whatever it does, and Java compiles when it likes: the middle of some small jobs of each kind
    # says how much, and the middle of some whole ones what the work costs.
    run(textbook, data[:2])
    run(ours, data[:2])

    def net(way: Callable[[beam.Pipeline, list[str]], None], times: int) -> float:
        small = [0.0 if runner == "direct" else run(way, data[:2]) for _ in range(RUNS)]
        _results.clear()
        return median(run(way, data) for _ in range(times)) - median(small)

    slow = net(textbook, 1)
    expected = dict(_results["textbook"])
    fast = net(ours, RUNS)
    measured = dict(_results["headwater"])
    _results.clear()
    started = time.process_time()
    loop(data)
    bare = time.process_time() - started
    assert len(expected) == MINUTES * 6, "six series a minute"
    for way, counted in (("headwater", measured), ("loop", _results["loop"])):
        wrong = expected.items() ^ counted.items()
        assert not wrong, f"{way} counts otherwise: {sorted(wrong)[:4]}"
    count = BLOCKS * ROWS
    report(
        "pipeline" if runner == "direct" else "pipeline_flink",
        f"Pipeline: decode and measure, {runner} runner",
        [
            ("textbook Beam pipeline, per element", count / slow, "events/s per core"),
            ("Headwater, columns, repeats dropped", count / fast, "events/s per core"),
            ("ratio to the textbook pipeline", slow / fast, "x"),
            (
                "the same without Beam and without dropping repeats",
                count / bare,
                "events/s per core",
            ),
            ("Headwater's share of that", bare / fast, "x"),
        ],
        f"{count:,} events of about 500 bytes in {BLOCKS} blocks, {runner} runner, CPU time"
        + f", Headwater's the middle of {RUNS} runs"
        + (" of Java and Python" if runner == "Flink" else ""),
    )


if __name__ == "__main__":
    # By its own name: what Beam pickles by reference must find this module's results, not a copy.
    import benchmarks.bench_pipeline

    benchmarks.bench_pipeline.main()
