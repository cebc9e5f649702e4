"""Panes on their way into stores: held while a store is away, never lost, never twice."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.testing import test_stream
from apache_beam.transforms.window import TimestampedValue

from beam_pipelines import counters
from beam_pipelines.connectors.live import open_store
from beam_pipelines.connectors.live.sqlite import SqliteLive
from beam_pipelines.steps.live import Merge
from beam_pipelines.steps.panes import HOLD_BYTES, LiveSink, WriteLive
from beam_pipelines.windowing import LivePolicy
from tests.streams import DAY_US, MINUTE_US, NOON, AtOnce, streaming_pipeline
from transforms.row_check import Limits
from transforms.statistics import Total

KEY = ("demo", "events", '{"name":"view"}')
NOON_S = NOON // 1_000_000


def hits(count: int, minute: int = 0) -> TimestampedValue:
    return TimestampedValue((KEY, Total(count)), NOON_S + minute * 60)


def bounded(values: list[TimestampedValue]) -> beam.PTransform:
    stamped = beam.Map(lambda value: value).with_output_types(tuple[tuple[str, str, str], Total])
    return beam.Create(values) | stamped


def totals(uri: str) -> dict[int, int]:
    """Minute after NOON -> total."""
    store = open_store(uri)
    rows = store.read("demo", "events", NOON, NOON + DAY_US)
    store.close()
    minutes = ((rows["minute"] - NOON) // MINUTE_US).to_list()
    return dict(zip(minutes, rows["total"].to_list(), strict=True))


def write(root: beam.Pipeline, stream: beam.PTransform, sinks: list[LiveSink], **how: int) -> None:
    policy = LivePolicy() if isinstance(stream, test_stream.TestStream) else AtOnce()
    minutes = root | stream | policy.apply() | beam.CombinePerKey(Merge())
    minutes | WriteLive(tuple(sinks), run=7, **how)


def story() -> test_stream.TestStream:
    """Two minutes, the first of them closed; then a late event of it."""
    stream = test_stream.TestStream().advance_watermark_to(NOON_S)
    stream.add_elements([hits(3), hits(4, minute=1)])
    stream.advance_processing_time(2)
    stream.add_elements([hits(5)])
    stream.advance_watermark_to(NOON_S + 61)
    stream.advance_processing_time(2)
    stream.add_elements([hits(10)])
    stream.advance_processing_time(2)
    return stream.advance_watermark_to_infinity()


def test_every_store_gets_the_newest_panes_and_knows_what_is_final(tmp_path: Path) -> None:
    uris = [f"sqlite:{tmp_path}/{name}.db" for name in "ab"]
    with streaming_pipeline() as root:
        write(root, story(), [LiveSink(uri, token=7) for uri in uris])
    for uri in uris:
        assert totals(uri) == {0: 18, 1: 4}
        store = open_store(uri)
        assert store.complete_until() == NOON + 2 * MINUTE_US
        store.close()


def test_minutes_that_are_final_in_one_store_are_left_alone_there(tmp_path: Path) -> None:
    ahead, behind = (f"sqlite:{tmp_path}/{name}.db" for name in ("ahead", "behind"))
    with streaming_pipeline() as root:
        sinks = [LiveSink(ahead, 7, from_us=NOON + MINUTE_US), LiveSink(behind, 7)]
        write(root, story(), sinks)
    assert totals(ahead) == {1: 4}
    assert totals(behind) == {0: 18, 1: 4}


@pytest.mark.parametrize("hold_bytes", [HOLD_BYTES, 1], ids=["room", "no room"])
def test_what_a_store_missed_comes_when_it_is_back(tmp_path: Path, hold_bytes: int) -> None:
    blocked, well = tmp_path / "blocked.db", tmp_path / "well.db"
    blocked.mkdir()  # SQLite cannot open a directory

    def repair() -> None:
        time.sleep(2)
        shutil.rmtree(blocked)

    repairing = threading.Thread(target=repair)
    repairing.start()
    root = beam.Pipeline(FnApiRunner())
    values = bounded([hits(n, minute) for minute in range(30) for n in (1, 2)])
    sinks = [LiveSink(f"sqlite:{blocked}", 7), LiveSink(f"sqlite:{well}", 7)]
    write(root, values, sinks, hold_bytes=hold_bytes)
    result = root.run()
    result.wait_until_finish()
    repairing.join()
    wanted = dict.fromkeys(range(30), 3)
    assert totals(f"sqlite:{blocked}") == totals(f"sqlite:{well}") == wanted
    counted = counters.totals(result)
    assert counted["live_writes_failed"] > 0
    assert (counted["live_holds_full"] > 0) == (hold_bytes == 1)
    assert counted["live_rows_refused"] == 0


def test_a_row_that_no_store_takes_is_counted_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:{tmp_path}/live.db"
    monkeypatch.setattr(SqliteLive, "limits", Limits(row_bytes=1000))
    huge = TimestampedValue((("demo", "events", "x" * 1000), Total(1)), NOON_S)
    root = beam.Pipeline(FnApiRunner())
    write(root, bounded([huge, hits(2)]), [LiveSink(uri, 7)])
    result = root.run()
    result.wait_until_finish()
    assert totals(uri) == {0: 2}
    counted = counters.totals(result)
    assert (counted["live_rows_refused"], counted["live_rows_written"]) == (1, 1)
