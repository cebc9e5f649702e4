"""The live store: newer panes win, whatever order they come in."""

from __future__ import annotations

import sqlite3
from itertools import permutations
from pathlib import Path

import pytest
from apache_beam.transforms.window import IntervalWindow
from apache_beam.utils.windowed_value import PaneInfo, PaneInfoTiming

from beam_pipelines.connectors.live_store import UpsertLive, complete_until
from transforms.statistics import Total

WINDOW = IntervalWindow(60, 120)
KEY = ("demo", "events", '{"name":"view"}')
EARLY, ON_TIME = PaneInfoTiming.EARLY, PaneInfoTiming.ON_TIME


def write(path: str, run: int, value: int, timing: int, index: int) -> None:
    writer = UpsertLive(path, run)
    writer.setup()
    writer.start_bundle()
    writer.process((KEY, Total(value)), WINDOW, PaneInfo(False, False, timing, index, 0))
    writer.finish_bundle()
    writer.teardown()


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_newest_pane_stays(tmp_path: Path, order: tuple[int, ...]) -> None:
    path = str(tmp_path / "live.db")
    panes = [(1, 5, EARLY, 0), (1, 9, ON_TIME, 1), (2, 4, EARLY, 0)]
    for number in order:
        write(path, *panes[number])
    rows = sqlite3.connect(path).execute("SELECT total, run, minute FROM live_values").fetchall()
    assert rows == [(4, 2, 60_000_000)]


def test_a_final_minute_is_remembered_for_the_next_run(tmp_path: Path) -> None:
    path = str(tmp_path / "live.db")
    assert complete_until(path) is None
    write(path, 1, 5, EARLY, 0)
    assert complete_until(path) is None
    write(path, 1, 5, ON_TIME, 1)
    assert complete_until(path) == 120_000_000
