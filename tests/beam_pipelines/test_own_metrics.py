"""A metric defined while the stream runs counts from then on, without a restart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.testing.test_stream import TestStream as Stream
from apache_beam.testing.util import assert_that, equal_to

from beam_pipelines.connectors.definitions import Admitted, OwnMetrics
from beam_pipelines.connectors.frames import Frame
from beam_pipelines.steps.live import MeasureLive
from beam_pipelines.windowing import LivePolicy
from catalog.metrics import MetricStore
from catalog.store import Catalog
from tests.streams import NOON, event, frame_of, streaming_pipeline

START = NOON // 1_000_000
WATCHED = {"name": "by_browser", "statistic": "count", "event": "Signed Up",
           "dimensions": ["browser_name", "properties.plan"]}  # fmt: skip
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0"


class _Define(beam.DoFn):
    """Hands frames on; a person defines the metric when the second one comes."""

    def __init__(self, url: str) -> None:
        self._url = url

    def process(self, frame: Frame) -> Any:
        if frame.seq == 1:
            MetricStore(Catalog(self._url)).put("demo", json.dumps(WATCHED))
        yield frame


def signed_up(event_id: str, **more: Any) -> dict[str, Any]:
    shown = {"properties": '{"plan":"pro"}', "user_agent": FIREFOX, **more}
    return event(event_id, NOON, name="Signed Up", **shown)


def test_it_counts_from_the_next_block_on(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/catalog.db"
    catalog = Catalog(url)
    catalog.migrate()
    catalog.add_project("demo")
    stream = Stream().advance_watermark_to(START)
    for seq, rows in enumerate(
        (
            [signed_up("before")],
            [event("makes the definition", NOON)],
            [signed_up("one"), signed_up("two"), signed_up("two"), event("other", NOON)],
            [signed_up("three", properties="{}", user_agent=None)],
        )
    ):
        stream.add_elements([frame_of(rows, seq=seq)])
    stream.advance_watermark_to(START + 61).advance_watermark_to_infinity()
    with streaming_pipeline() as root:
        values = (
            root
            | stream
            | beam.ParDo(_Define(url)).with_output_types(Frame)
            | MeasureLive(LivePolicy(size_s=60, early_s=1, horizon_s=600), own=OwnMetrics(url, 0))
            | beam.Filter(lambda e: e[0][1] == "by_browser")
            | beam.Map(lambda e: (json.loads(e[0][2]), e[1].value))
        )
        assert_that(
            values,
            equal_to(
                [
                    ({"browser_name": "Firefox", "properties.plan": "pro"}, 2),
                    ({"browser_name": "", "properties.plan": ""}, 1),
                ]
            ),
        )


def test_names_beyond_the_cap_are_other_and_stay_it_in_the_next_run(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/catalog.db"
    Catalog(url).migrate()
    first = [event(f"a{n}", NOON, name=f"Event {n}") for n in range(5)]
    second = [event(f"b{n}", NOON, name=f"Event {n}") for n in range(3, 9)]
    wanted = ["Event 0", "Event 1", "Event 2", "Event 3"]
    for rows, others in ((first, 1), (second, 5)):
        stream = Stream().advance_watermark_to(START)
        stream.add_elements([frame_of(rows)])
        stream.advance_watermark_to(START + 61).advance_watermark_to_infinity()
        known = [row["name"] for row in rows if row["name"] in wanted]
        with streaming_pipeline() as root:
            values = (
                root
                | stream
                | MeasureLive(
                    LivePolicy(size_s=60, early_s=1, horizon_s=600), admitted=Admitted(url, 4)
                )
                | beam.Filter(lambda e: e[0][1] == "events")
                | beam.Map(lambda e: (json.loads(e[0][2])["name"], e[1].value))
            )
            assert_that(values, equal_to([*((name, 1) for name in known), ("(other)", others)]))
