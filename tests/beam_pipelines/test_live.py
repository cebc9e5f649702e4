"""Live numbers as stories: what each pane says, and who is left out."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
from apache_beam.testing.test_stream import TestStream as Stream
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.utils.windowed_value import PaneInfoTiming

from beam_pipelines.steps.live import MeasureLive
from beam_pipelines.windowing import LivePolicy
from tests.streams import MINUTE_US, NOON, event, frame_of, order, streaming_pipeline

START = NOON // 1_000_000
POLICY = LivePolicy(size_s=60, early_s=1, horizon_s=600)


def pane(
    element: Any, window: Any = beam.DoFn.WindowParam, info: Any = beam.DoFn.PaneInfoParam
) -> tuple[str, int, str, int]:
    (_, statistic, _), value = element
    timing = PaneInfoTiming.to_string(info.timing)
    return timing, window.start.micros // MINUTE_US - NOON // MINUTE_US, statistic, value.value


def panes_of(stream: Stream, statistics: set[str], expected: list[Any], **live: Any) -> None:
    with streaming_pipeline() as root:
        panes = (
            root
            | stream
            | MeasureLive(POLICY, **live)
            | beam.Filter(lambda e: e[0][1] in statistics)
            | beam.Map(pane)
        )
        assert_that(panes, equal_to(expected))


def test_each_pane_replaces_the_one_before_it() -> None:
    ann, bob = {"user_id": "ann"}, {"user_id": "bob"}
    stream = Stream().advance_watermark_to(START)
    stream.add_elements(
        [frame_of([order("1", NOON, 100, **ann), order("2", NOON + 1, 250, **bob)])]
    )
    stream.advance_processing_time(2)  # nobody waits a minute for a first number
    stream.add_elements([frame_of([order("3", NOON + 9_000_000, 50, **ann)], seq=1)])
    stream.advance_processing_time(2)
    stream.advance_watermark_to(START + 61)  # the minute is over
    late = order("4", NOON + 5, 7, received_time=NOON + 300_000_000, **bob)
    stream.add_elements([frame_of([late], seq=2)])  # five minutes late: corrects the minute
    stream.advance_watermark_to_infinity()
    panes_of(
        stream,
        {"revenue", "people"},
        [
            ("EARLY", 0, "revenue", 350), ("EARLY", 0, "people", 2),
            ("EARLY", 0, "revenue", 400), ("EARLY", 0, "people", 2),
            ("ON_TIME", 0, "revenue", 400), ("ON_TIME", 0, "people", 2),
            ("LATE", 0, "revenue", 407), ("LATE", 0, "people", 2),
        ],
    )  # fmt: skip


def test_repeats_too_late_and_final_minutes_take_no_part() -> None:
    stream = Stream().advance_watermark_to(START)
    one = order("1", NOON, 100)
    too_late = order("2", NOON, 100, received_time=NOON + 601_000_000)
    final = order("3", NOON - MINUTE_US, 100, received_time=NOON)
    stream.add_elements([frame_of([one, one, too_late, final])])
    stream.add_elements([frame_of([{**one, "received_time": NOON + 30_000_000}], seq=1)])
    stream.advance_watermark_to_infinity()
    panes_of(stream, {"revenue"}, [("ON_TIME", 0, "revenue", 100)], live_from_us=NOON)


def test_currencies_are_never_mixed_and_names_stand_apart() -> None:
    stream = Stream().advance_watermark_to(START)
    rows = [order("1", NOON, 100), order("2", NOON, 30, currency="EUR"), event("3", NOON)]
    stream.add_elements([frame_of(rows)])
    stream.advance_watermark_to_infinity()
    panes_of(
        stream,
        {"revenue", "events"},
        [("ON_TIME", 0, "revenue", 100), ("ON_TIME", 0, "revenue", 30),
         ("ON_TIME", 0, "events", 2), ("ON_TIME", 0, "events", 1)],
    )  # fmt: skip
