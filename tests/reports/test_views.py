"""SQL's `events` holds each event once, whatever rollup and compaction have done so far."""

from __future__ import annotations

import random
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from beam_pipelines.connectors.warehouse import Warehouse as Writer
from beam_pipelines.jobs import compact
from beam_pipelines.options import CompactOptions
from catalog.settings import read
from catalog.store import Catalog
from reports.warehouse.engine import Warehouse
from reports.warehouse.files import WarehouseFiles
from reports.warehouse.views import view
from schemas_avro.tables import EVENTS
from tests import exact_brute
from tests.beam_pipelines.test_rollup import archive, in_blocks, run
from tests.reports import world
from tests.streams import random_events

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
