"""The archive holds each block once, and damage becomes a dead letter."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import apache_beam as beam
import polars as pl
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from beam_pipelines.connectors.frames import Frame
from beam_pipelines.connectors.warehouse import Added, Warehouse
from beam_pipelines.steps.archive import Archive
from schemas_avro import block, load
from schemas_avro.tables import DEAD_LETTERS, EVENTS
from tests.streams import NOON, event, frame_of
from transforms.positions import Positions


def archive(directory: Path, frames: list[Frame], held: Positions | None = None) -> None:
    with beam.Pipeline(FnApiRunner()) as root:
        root | beam.Create(frames) | Archive(str(directory), EVENTS, held or Positions())


def ids(directory: Path) -> list[str]:
    rows = Warehouse(str(directory)).table(EVENTS).scan().to_arrow()
    return sorted(rows["event_id"].to_pylist())


def frames(first: int, last: int) -> list[Frame]:
    return [frame_of([event(f"e{n}", NOON + n)], seq=n) for n in range(first, last)]


def test_a_replay_adds_nothing(tmp_path: Path) -> None:
    archive(tmp_path, frames(0, 5))
    held = Warehouse(str(tmp_path)).positions(EVENTS)
    archive(tmp_path, frames(0, 7), held)
    assert ids(tmp_path) == [f"e{n}" for n in range(7)]


def test_a_redelivery_that_nobody_filtered_is_cut_to_its_new_blocks(tmp_path: Path) -> None:
    archive(tmp_path, frames(0, 5))
    archive(tmp_path, frames(3, 8))  # as after a rewind: held positions not known at start
    assert ids(tmp_path) == [f"e{n}" for n in range(8)]
    assert Warehouse(str(tmp_path)).positions(EVENTS).to_json() == '{"p-0":[[0,7]]}'


def test_two_committers_at_once_lose_neither_rows_nor_positions(tmp_path: Path) -> None:
    Warehouse(str(tmp_path)).table(EVENTS)

    def add(number: int) -> None:
        warehouse = Warehouse(str(tmp_path))
        _, rows = block.decode(
            load("event"), frame_of([event(f"e{number}", NOON)], seq=number).payload
        )
        files = warehouse.write_files(EVENTS, rows)
        positions = Positions.of([("p-0", number, number)])
        warehouse.add(EVENTS, Added(files, positions, {"demo": ("2026-01-01",)}, NOON))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(8)))
    assert ids(tmp_path) == [f"e{n}" for n in range(8)]
    assert Warehouse(str(tmp_path)).positions(EVENTS).to_json() == '{"p-0":[[0,7]]}'


def test_damaged_blocks_become_dead_letters_and_the_rest_goes_on(tmp_path: Path) -> None:
    good = frames(0, 1)
    torn = replace(frame_of([event("x", NOON)], seq=1), payload=b"Obj\x01 nonsense")
    lost = Frame("p-0", 2, 4, b"junk bytes", damaged=True)
    archive(tmp_path, [*good, torn, lost])
    warehouse = Warehouse(str(tmp_path))
    assert ids(tmp_path) == ["e0"]
    assert warehouse.positions(EVENTS).to_json() == '{"p-0":[[0,4]]}'
    letters = pl.from_arrow(warehouse.table(DEAD_LETTERS).scan().to_arrow())
    assert isinstance(letters, pl.DataFrame)
    assert sorted(letters["original"].to_list()) == [b"Obj\x01 nonsense", b"junk bytes"]
    assert set(letters["reason"]) == {"damaged_block"}
    archive(tmp_path, [*good, torn, lost], warehouse.positions(EVENTS))  # as after a restart
    assert warehouse.table(DEAD_LETTERS).scan().to_arrow().num_rows == 2


def test_files_hold_one_day_each(tmp_path: Path) -> None:
    rows = [event(f"e{n}", NOON + n * 86_400_000_000) for n in range(3)]
    archive(tmp_path, [frame_of(rows)])
    assert len(Warehouse(str(tmp_path)).files(_snapshot(tmp_path), [(NOON, NOON + 1)])) == 1


def _snapshot(directory: Path) -> int:
    current = Warehouse(str(directory)).table(EVENTS).current_snapshot()
    assert current is not None
    return current.snapshot_id
