"""Shared by pipeline tests: event frames, blocks, and the streaming test pipeline."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import apache_beam as beam
import polars as pl
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import FixedWindows
from apache_beam.utils.windowed_value import PaneInfoTiming

from beam_pipelines.connectors.frames import Frame
from beam_pipelines.counters import Counter as Counted
from beam_pipelines.counters import totals
from beam_pipelines.steps.archive import Archive
from beam_pipelines.steps.live import MeasureLive
from beam_pipelines.windowing import LivePolicy
from schemas_avro import block, derive, load
from schemas_avro.segment import frame, segment_name
from schemas_avro.tables import EVENTS
from transforms.candidates import Candidate, Candidates
from transforms.judge import Origin, judge
from transforms.positions import Positions
from transforms.times import parse_us

MINUTE_US, DAY_US = 60_000_000, 86_400_000_000
LIVE = LivePolicy(size_s=60, early_s=1, horizon_s=600)
NOON = 1_790_000_000_000_000 // DAY_US * DAY_US + DAY_US // 2  # some day at 12:00 UTC


class AtOnce(LivePolicy):
    """Bounded input: one pane a minute. The pure-Python batch runner has no clock for others."""

    def apply(self) -> beam.WindowInto:
        return beam.WindowInto(FixedWindows(self.size_s))


def streaming_pipeline() -> TestPipeline:
    """Without streaming=True the pure-Python runner has no clock for processing-time triggers."""
    return TestPipeline(options=PipelineOptions(streaming=True))


def event(event_id: str, at: int, **fields: Any) -> dict[str, Any]:
    """A track of user u1 in project demo, received a second after it happened."""
    return {
        "event_id": event_id,
        "project": "demo",
        "source": "web",
        "type": "track",
        "name": "view",
        "user_id": "u1",
        "event_time": at,
        "received_time": at + 1_000_000,
        "flags": 0,
        **fields,
    }


def order(event_id: str, at: int, pence: int, **fields: Any) -> dict[str, Any]:
    """An event with money."""
    money = {"revenue_minor": pence, "currency": "GBP", "order_id": f"o-{event_id}"}
    return event(event_id, at, name="Order Completed", **{**money, **fields})


def frame_of(rows: list[dict[str, Any]], producer: str = "p-0", seq: int = 0) -> Frame:
    """Rows as one block on the bus."""
    columns = frame_rows(rows)
    meta = block.new_meta(columns, producer=producer, seq=seq, first_row=0)
    return Frame(producer, seq, seq, block.encode(load("event"), columns, meta))


def random_events(count: int, days: int, seed: int) -> list[dict[str, Any]]:
    """Events of 20 people over some days around NOON, some with money, in two currencies."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        at = NOON + rng.randrange(-days * DAY_US // 2, days * DAY_US // 2)
        who = rng.randrange(20)
        person = {"user_id": f"u{who}"} if who % 3 else {"user_id": None, "anonymous_id": f"a{who}"}
        if rng.random() < 0.2:
            currency = rng.choice(["GBP", "EUR"])
            pence = rng.randrange(-500, 5000)
            rows.append(order(f"e{number}", at, pence, currency=currency, **person))
        else:
            rows.append(event(f"e{number}", at, name=rng.choice(["view", "cart"]), **person))
    return rows


def taken_in(event_id: str, at: str, received: int, sent: str | None = None) -> dict[str, Any]:
    """A view as the intake makes a row of it: with the sender's clock corrected or distrusted."""
    sent_time = None if sent is None else parse_us(sent)
    candidate = Candidate(
        type="track", name="view", event_id=event_id, user_id="u1", timestamp=at,
        sent_time=sent_time,
    )  # fmt: skip
    candidates = Candidates.of([candidate], [b"{}"])
    row: dict[str, Any] = judge([(candidates, Origin("demo", "web", received))]).rows.row(
        0, named=True
    )
    return row


Pane = tuple[str, int, str, str, int]  # timing, minute after NOON, statistic, dimension, value


class Story:
    """What a collector receives and how time passes; then `shows` runs it through live numbers.

    The watermark starts at NOON. archive: a directory, where the same frames are archived too.
    """

    def __init__(self, archive: Path | None = None) -> None:
        self._stream = TestStream().advance_watermark_to(NOON / 1e6)
        self._archive = archive
        self._seqs: Counter[str] = Counter()
        self._frames: list[Frame] = []

    def receives(self, *rows: dict[str, Any], producer: str = "p-0") -> None:
        """One block."""
        self._frames.append(frame_of(list(rows), producer, self._seqs[producer]))
        self._stream.add_elements([self._frames[-1]])
        self._seqs[producer] += 1

    def waits(self, seconds: int) -> None:
        """The clock goes on."""
        self._stream.advance_processing_time(seconds)

    def watermark(self, seconds: int) -> None:
        """All that was received until this long after NOON has been read."""
        self._stream.advance_watermark_to(NOON // 1_000_000 + seconds)

    def shows(self, *expected: Pane) -> None:
        """Panes of the statistics that are expected must be these."""
        self._stream.advance_watermark_to_infinity()
        told = {pane[2] for pane in expected}
        with streaming_pipeline() as root:
            frames = root | self._stream
            panes = (
                frames
                | MeasureLive(LIVE)
                | beam.Map(_pane)
                | "Told" >> beam.Filter(lambda pane: pane[2] in told)
            )
            assert_that(panes, equal_to(list(expected)))
            if self._archive is not None:
                frames | Archive(str(self._archive), EVENTS, Positions(), every_s=1)

    def counters(self) -> dict[Counted, int]:
        """What live numbers counted of all that was received."""
        root = beam.Pipeline(FnApiRunner())
        root | beam.Create(self._frames) | MeasureLive(AtOnce())
        result = root.run()
        result.wait_until_finish()
        return totals(result)


def _pane(
    element: Any, window: Any = beam.DoFn.WindowParam, info: Any = beam.DoFn.PaneInfoParam
) -> Pane:
    (_, statistic, dimensions), value = element
    timing = PaneInfoTiming.to_string(info.timing).lower()
    minute = window.start.micros // MINUTE_US - NOON // MINUTE_US
    return timing, minute, statistic, "".join(json.loads(dimensions).values()), value.value


class SpoolWriter:
    """Blocks appended to a topic of the spool as a collector would, with the times wanted.

    A producer's numbers and row counts go on from block to block. A new segment is begun after
    `blocks_per_segment` blocks: where files are cut must change nothing.
    """

    def __init__(self, topic: Path, producer: str, blocks_per_segment: int = 100) -> None:
        self._directory = topic / producer
        self._directory.mkdir(parents=True)
        self._producer, self._per_segment = producer, blocks_per_segment
        self._seq = self._first_row = 0

    def append(self, rows: pl.DataFrame, record: str = "event", rejected: int = 0) -> Frame:
        """One more block of `rows` (wire types, not empty)."""
        meta = block.new_meta(
            rows,
            producer=self._producer,
            seq=self._seq,
            first_row=self._first_row,
            rejected=rejected,
        )
        payload = block.encode(load(record), rows, meta)
        self._first_row += rows.height
        return self.append_bytes(payload)

    def append_bytes(self, payload: bytes) -> Frame:
        """One more frame with any payload, under the next number."""
        segment = self._seq // self._per_segment * self._per_segment
        with (self._directory / segment_name(segment)).open("ab") as file:
            file.write(frame(payload))
        written = Frame(self._producer, self._seq, self._seq, payload)
        self._seq += 1
        return written


def frame_rows(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows of events as columns in wire types; fields that no row has are left out."""
    names = set().union(*rows)
    types = {n: t for n, t in derive.wire(load("event")).items() if n in names}
    return pl.DataFrame(rows, schema=types, orient="row")
