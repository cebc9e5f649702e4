"""The exact tables equal a brute-force loop: any order, any blocks, any repeats."""

from __future__ import annotations

import json
import random
from datetime import date
from operator import itemgetter
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from beam_pipelines.connectors.frames import Frame
from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.jobs import rollup
from beam_pipelines.options import RollupOptions
from beam_pipelines.steps.archive import Archive
from catalog.settings import read
from catalog.store import Catalog
from schemas_avro.tables import DAILY, EVENTS, PERIODS, REPEATS
from tests import exact_brute
from tests.brute import daily
from tests.streams import NOON, event, frame_of, order, random_events
from transforms.grid import GRAINS
from transforms.positions import Positions

ZONE = "Europe/London"
CONFIG = read({})


def archive(directory: Path, frames: list[Frame]) -> None:
    with beam.Pipeline(FnApiRunner()) as root:
        root | beam.Create(frames) | Archive(f"{directory}/archive", EVENTS, Positions())


def run(directory: Path, **options: Any) -> None:
    url = f"sqlite:///{directory}/catalog.db"
    catalog = Catalog(url)
    catalog.migrate()
    if "demo" not in catalog.time_zones():
        catalog.add_project("demo", time_zone=ZONE)
    settings = RollupOptions(
        archive=f"iceberg:{directory}/archive",
        catalog=url,
        grains=options.get("grains", "hour,day,week,month"),
        all_days=options.get("all_days", False),
        dry_run=False,
        runner=options.get("runner", "direct"),
    )
    rollup.start(settings, [], CONFIG)


def table(directory: Path, grain: str = "day") -> dict[Any, dict[str, Any]]:
    """The exact table of a grain in the brute-force loop's words."""
    found: dict[Any, dict[str, Any]] = {}
    spec, where = (DAILY, "project != ''") if grain == "day" else (PERIODS, f"grain = '{grain}'")
    scan = Warehouse(f"{directory}/archive").table(spec).scan(row_filter=where)
    for row in scan.to_arrow().to_pylist():
        start = row["period_start"] if grain == "hour" else row["day"]
        day = found.setdefault(start, {"revenue": {}, "names": {}})
        dimensions = json.loads(row["dimensions"])
        match row["metric"]:
            case "revenue":
                day["revenue"][dimensions["currency"]] = row["value"]
            case "events" if dimensions:
                day["names"][dimensions["name"]] = row["value"]
            case "conversion_rate":
                day["buyers"], people = row["value"], row["denominator"]
                assert people == day.setdefault("people", people)
            case "active_users":
                assert row["value"] == day.setdefault("people", row["value"])
            case metric:
                day[metric] = row["value"]
        day["repeats"] = row["duplicates"]
        assert row["events_in"] == day.setdefault("events", row["events_in"])
    return found


def expected(rows: list[dict[str, Any]]) -> dict[date, dict[str, Any]]:
    counted = daily(rows, ZONE)
    for day in counted.values():
        day.update({name: len(day[name]) for name in ("people", "buyers", "orders")})
        day["revenue"], day["names"] = dict(day["revenue"]), dict(day["names"])
    return counted


def repeats(directory: Path) -> set[tuple[Any, ...]]:
    """(kind, producer, seq, row) of what the last rollup left out."""
    found = Warehouse(f"{directory}/archive").table(REPEATS).scan().to_arrow().to_pylist()
    places = [(one["kind"], one["producer"], one["seq"], one["row"]) for one in found]
    assert len(places) == len(set(places)), "each once"
    return set(places)


def expected_repeats(rows: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    """The same by the loop."""
    settled, copies = exact_brute.counted(rows)
    place = itemgetter("producer", "seq", "row")
    orders = {place(row) for row in rows if row.get("order_id") is not None}
    again = {place(row) for row in settled if row.get("order_id") is None} & orders
    return {("event", *place(row)) for row in copies} | {("order", *one) for one in again}


def in_blocks(rows: list[dict[str, Any]], sizes: random.Random, first: int = 0) -> list[Frame]:
    """Rows cut into blocks of two producers, from number `first`; each row learns its place."""
    frames, seqs, at = [], {"a-0": first, "b-0": first}, 0
    while at < len(rows):
        part = rows[at : at + sizes.randrange(1, 60)]
        producer = sizes.choice(sorted(seqs))
        for index, row in enumerate(part):
            row.update(producer=producer, seq=seqs[producer], row=index)
        bare = [{k: v for k, v in r.items() if k not in ("producer", "seq", "row")} for r in part]
        frames.append(frame_of(bare, producer, seqs[producer]))
        seqs[producer] += 1
        at += len(part)
    return frames


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_any_order_any_blocks_any_repeats_give_the_brute_force_numbers(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    rows = random_events(600, days=4, seed=seed)
    for row in rng.sample(rows, 60):  # resent: later received, some across a midnight
        late = rng.randrange(0, 82_800_000_000)  # as far as copies may lie apart
        rows.append({**row, "received_time": row["received_time"] + late,
                     "event_time": row["event_time"] + rng.choice([0, 0, late])})  # fmt: skip
    rng.shuffle(rows)
    frames = in_blocks(rows, rng)
    half = len(frames) // 2
    archive(tmp_path, frames[:half])
    run(tmp_path)
    archive(tmp_path, frames[half:])
    run(tmp_path)
    assert table(tmp_path) == expected(rows)
    assert repeats(tmp_path) == expected_repeats(rows) != set()
    for grain in GRAINS:
        assert table(tmp_path, grain) == exact_brute.periods(rows, grain, ZONE), grain
    before = {grain: table(tmp_path, grain) for grain in GRAINS}
    run(tmp_path, all_days=True)
    assert repeats(tmp_path) == expected_repeats(rows)
    assert {grain: table(tmp_path, grain) for grain in GRAINS} == before


def test_late_events_correct_a_day_that_was_published(tmp_path: Path) -> None:
    first = [order("a", NOON, 1000), event("b", NOON + 5)]
    archive(tmp_path, [frame_of(first, seq=0)])
    run(tmp_path)
    late = [order("c", NOON + 9, -250, received_time=NOON + 40 * 86_400_000_000)]
    archive(tmp_path, [frame_of(late, seq=1)])
    run(tmp_path)
    assert table(tmp_path) == expected(first + late)


def test_a_session_across_midnight_is_one_and_a_late_event_can_join_two(tmp_path: Path) -> None:
    midnight = NOON + 43_200_000_000 - 3_600_000_000  # 24:00 in London's summer time
    minute = 60_000_000
    early = [event("a", midnight - 25 * minute), event("b", midnight + 25 * minute)]
    archive(tmp_path, [frame_of(early, seq=0)])
    run(tmp_path)
    assert [day["sessions"] for day in table(tmp_path).values()] == [1, 1]
    joining = [event("c", midnight - minute)]
    archive(tmp_path, [frame_of(joining, seq=1)])
    run(tmp_path)
    found = table(tmp_path)
    assert found == expected(early + joining)
    assert sum(day["sessions"] for day in found.values()) == 1


def test_with_nothing_new_nothing_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive(tmp_path, [frame_of([event("a", NOON)])])
    run(tmp_path)
    assert "days replaced" in capsys.readouterr().out
    run(tmp_path)
    assert capsys.readouterr().out == ""
