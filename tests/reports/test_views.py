"""SQL's `events` holds each event once, whatever rollup and compaction have done so far."""

from __future__ import annotations

import random
from operator import itemgetter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from beam_pipelines.connectors.warehouse import Warehouse as Writer
from beam_pipelines.jobs import compact
from beam_pipelines.options import CompactOptions
from beam_pipelines.steps import compact as steps
from catalog.settings import read
from catalog.store import Catalog
from reports.warehouse.apart import kinds_of
from reports.warehouse.engine import Warehouse
from reports.warehouse.files import WarehouseFiles
from reports.warehouse.views import view
from schemas_avro.tables import EVENTS, REPEATS
from tests import exact_brute
from tests.beam_pipelines.test_rollup import archive, in_blocks, run
from tests.reports import world
from tests.streams import random_events
from transforms.settled import COPIES, ONCE, kind_of

PLACE = itemgetter("producer", "seq", "row")
COMPARES = "row_number"  # in the view: it looks for copies itself


def rows_of(rng: random.Random, first: str, count: int) -> list[dict[str, Any]]:
    """Events of two projects under the same ids; some are there twice already."""
    made = random_events(count, days=3, seed=rng.randrange(1000))
    for row in made:
        row["event_id"] = first + row["event_id"]
    made += [{**row, "project": "other"} for row in rng.sample(made, count // 4)]
    return made + again(made, rng, count // 8)


def again(rows: list[dict[str, Any]], rng: random.Random, count: int) -> list[dict[str, Any]]:
    """Copies, received up to some hours later."""
    late = 22 * 3_600_000_000
    return [
        {**row, "received_time": row["received_time"] + rng.randrange(1, late)}
        for row in rng.sample(rows, count)
    ]


def shown(directory: Path, project: str) -> list[tuple[Any, ...]]:
    """Places of the rows that SQL sees."""
    nothing = Warehouse(world.settings(directory), lambda _: pytest.fail("live was read"))
    found = nothing.ask(project, "SELECT producer, seq, `row` FROM events ORDER BY 1, 2, 3")
    return found.rows


def compares(directory: Path) -> bool:
    return COMPARES in view("events", WarehouseFiles(f"{directory}/archive"), "demo").sql


@pytest.mark.parametrize("seed", [1, 2])
def test_each_event_is_there_once_before_and_after_every_job(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    first = rows_of(rng, "a", 160)
    second = [*rows_of(rng, "b", 80), *again(first, rng, 40)]
    early = in_blocks(rng.sample(first, len(first)), rng)
    late = in_blocks(rng.sample(second, len(second)), rng, first=100)

    def check(rows: list[dict[str, Any]]) -> None:
        counted, copies = exact_brute.counted(rows)
        assert copies
        for project in ("demo", "other"):
            wanted = sorted(PLACE(row) for row in counted if row["project"] == project)
            assert shown(tmp_path, project) == wanted, project

    catalog = Catalog(f"sqlite:///{tmp_path}/catalog.db")
    catalog.migrate()
    catalog.add_project("other")
    archive(tmp_path, early)
    assert compares(tmp_path)
    check(first)
    run(tmp_path)
    assert not compares(tmp_path)
    check(first)
    archive(tmp_path, late)
    assert compares(tmp_path)
    both = [*first, *second]
    check(both)
    compact_all(tmp_path)
    assert compares(tmp_path)
    check(both)
    run(tmp_path)
    assert not compares(tmp_path)
    check(both)
    files = WarehouseFiles(f"{tmp_path}/archive").of(EVENTS)
    assert files.rows == len(both)


JOINS = "ANTI JOIN"  # in the view: it looks which rows `repeats` has


def joins(directory: Path, project: str = "demo") -> bool:
    return JOINS in view("events", WarehouseFiles(f"{directory}/archive"), project).sql


def places_in(directory: Path, kind: str) -> list[tuple[Any, ...]]:
    """Places of the rows in the archive's files of a kind."""
    paths = WarehouseFiles(f"{directory}/archive").of(EVENTS).paths
    rows = [
        row
        for path in paths
        if kind_of(path) == kind
        for row in pl.read_parquet(path, columns=["producer", "seq", "row"]).rows(named=True)
    ]
    return sorted(map(PLACE, rows))


@pytest.mark.parametrize("seed", [3, 4])
def test_compaction_puts_copies_apart_and_the_view_believes_it_while_it_is_true(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    rows = rows_of(rng, "a", 160)
    catalog = Catalog(f"sqlite:///{tmp_path}/catalog.db")
    catalog.migrate()
    catalog.add_project("other", time_zone="Pacific/Auckland")

    def check(*, apart: bool) -> None:
        counted, copies = exact_brute.counted(rows)
        for project in ("demo", "other"):
            wanted = sorted(PLACE(row) for row in counted if row["project"] == project)
            assert shown(tmp_path, project) == wanted, project
        if apart:
            assert not joins(tmp_path)
            assert places_in(tmp_path, COPIES) == sorted(map(PLACE, copies)) != []
            assert places_in(tmp_path, ONCE) == sorted(map(PLACE, counted))

    blocks = in_blocks(rng.sample(rows, len(rows)), rng)
    archive(tmp_path, blocks[::2])
    archive(tmp_path, blocks[1::2])
    run(tmp_path)
    assert joins(tmp_path)
    check(apart=False)
    compact_all(tmp_path)
    check(apart=True)
    assert not compact.plan(Writer(f"{tmp_path}/archive")), "files of copies stay as they are"

    # Originals come by an import: what counted so far does not, and the marks are no longer true.
    older = [{**row, "received_time": row["received_time"] - 1000} for row in rng.sample(rows, 60)]
    archive(tmp_path, in_blocks(older, rng, first=100))
    rows += older
    run(tmp_path)
    assert joins(tmp_path)
    check(apart=False)
    compact_all(tmp_path)
    check(apart=True)

    # A rollup that finds the same again leaves them true.
    run(tmp_path, all_days=True)
    check(apart=True)

    # What rollup has not seen is not put apart.
    archive(tmp_path, in_blocks(again(rows, rng, 30), rng, first=200))
    compact_all(tmp_path)
    counted, _ = exact_brute.counted(rows)
    wanted = sorted(PLACE(row) for row in counted if row["project"] == "demo")
    assert shown(tmp_path, "demo") == wanted


def merged(directory: Path, rows: list[dict[str, Any]], rng: random.Random) -> None:
    """An archive of the rows that rollup has seen and compaction has parted."""
    catalog = Catalog(f"sqlite:///{directory}/catalog.db")
    catalog.migrate()
    catalog.add_project("other", time_zone="America/Los_Angeles")
    blocks = in_blocks(rng.sample(rows, len(rows)), rng)
    archive(directory, blocks[::2])
    archive(directory, blocks[1::2])
    run(directory)
    compact_all(directory)
    assert not joins(directory)


def look(directory: Path, rows: list[dict[str, Any]]) -> None:
    counted, copies = exact_brute.counted(rows)
    assert copies
    for project in ("demo", "other"):
        wanted = sorted(PLACE(row) for row in counted if row["project"] == project)
        assert shown(directory, project) == wanted, project


def apart(directory: Path) -> set[str]:
    """Files that the view takes at their word."""
    files = WarehouseFiles(f"{directory}/archive")
    now = files.of(EVENTS)
    return set(kinds_of(now.paths, now, files.of(REPEATS), "demo"))


def test_a_late_copy_leaves_what_was_parted_before_it_as_it_is(tmp_path: Path) -> None:
    rng = random.Random(5)
    rows = rows_of(rng, "a", 160)
    merged(tmp_path, rows, rng)
    before = apart(tmp_path)
    assert before == set(WarehouseFiles(f"{tmp_path}/archive").of(EVENTS).paths)
    late = again(rows, rng, 3)
    archive(tmp_path, in_blocks(late, rng, first=100))
    rows += late
    look(tmp_path, rows)
    run(tmp_path)
    assert apart(tmp_path) == before
    assert joins(tmp_path), "the file of the late copies is looked up"
    look(tmp_path, rows)
    compact_all(tmp_path)
    assert not joins(tmp_path)
    look(tmp_path, rows)


def test_one_project_s_older_originals_are_nothing_to_another(tmp_path: Path) -> None:
    rng = random.Random(6)
    rows = rows_of(rng, "a", 160)
    merged(tmp_path, rows, rng)
    demo = [row for row in rows if row["project"] == "demo"]
    older = [{**row, "received_time": row["received_time"] - 1000} for row in rng.sample(demo, 60)]
    archive(tmp_path, in_blocks(older, rng, first=100))
    rows += older
    run(tmp_path)
    look(tmp_path, rows)
    files = WarehouseFiles(f"{tmp_path}/archive")
    now, repeats = files.of(EVENTS), files.of(REPEATS)
    taken = {p: kinds_of(now.paths, now, repeats, p).keys() for p in ("demo", "other")}
    parted = {path for path in now.paths if kind_of(path)}
    assert taken["other"] == parted
    assert taken["demo"] < parted


@pytest.mark.parametrize("large", [False, True])
def test_files_that_rollup_had_not_seen_are_parted_when_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    rng = random.Random(7)
    rows = rows_of(rng, "a", 160)
    catalog = Catalog(f"sqlite:///{tmp_path}/catalog.db")
    catalog.migrate()
    catalog.add_project("other")
    blocks = in_blocks(rows, rng)
    archive(tmp_path, blocks[::2])
    archive(tmp_path, blocks[1::2])
    compact_all(tmp_path)
    look(tmp_path, rows)
    if large:  # such files are not merged any more
        monkeypatch.setattr(steps, "SMALL_BYTES", 1)
    warehouse = Writer(f"{tmp_path}/archive")
    assert not compact.plan(warehouse)
    run(tmp_path)
    assert joins(tmp_path)
    compact_all(tmp_path)
    assert not joins(tmp_path)
    assert not compact.plan(warehouse)
    look(tmp_path, rows)


def compact_all(directory: Path) -> None:
    options = CompactOptions(
        archive=f"iceberg:{directory}/archive",
        memory_mb=256,
        grace_h=24.0,
        dry_run=False,
        runner="direct",
    )
    before = Writer(f"{directory}/archive").table(EVENTS).current_snapshot()
    compact.start(options, [], read({}))
    after = Writer(f"{directory}/archive").table(EVENTS).current_snapshot()
    assert before != after, "there were files to merge"
