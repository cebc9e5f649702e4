"""Compaction changes how the archive lies on disk, and nothing else."""

from __future__ import annotations

import json
import os
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from pyiceberg.exceptions import CommitFailedException

from beam_pipelines.connectors import maintenance, sweep
from beam_pipelines.connectors.maintenance import files_by_day, rewrite, swap
from beam_pipelines.connectors.warehouse import Added, Warehouse, summary
from beam_pipelines.jobs import compact, rollup
from beam_pipelines.options import CompactOptions, RollupOptions, parse
from beam_pipelines.steps.compact import compact as compact_one
from beam_pipelines.steps.compact import tasks_of
from catalog.settings import read
from catalog.store import Catalog
from schemas_avro import block, derive, load
from schemas_avro.tables import BASED_ON, DAILY, DEAD_LETTERS, EVENTS, POSITIONS, TOUCHED
from tests.streams import DAY_US, NOON, event, frame_of, random_events
from transforms.positions import Positions

CONFIG = read({})
HOUR_US = 3_600_000_000
NEW_DAY = datetime.fromtimestamp(NOON / 1e6 + 9 * 86_400, UTC).date()


def add(directory: Path, rows: list[dict[str, Any]], seq: int, producer: str = "p-0") -> None:
    """One block into the archive, in files of its own."""
    warehouse = Warehouse(str(directory))
    _, frame = block.decode(load("event"), frame_of(rows, producer, seq).payload)
    days = {datetime.fromtimestamp(r["event_time"] / 1e6, UTC).date().isoformat() for r in rows}
    files = warehouse.write_files(EVENTS, frame)
    until = max(r["received_time"] for r in rows)
    positions = Positions.of([(producer, seq, seq)])
    warehouse.add(EVENTS, Added(files, positions, {"demo": tuple(sorted(days))}, until))


def many(directory: Path, blocks: int, days: int = 2, seed: int = 1) -> list[dict[str, Any]]:
    rows = random_events(blocks * 20, days, seed)
    for seq in range(blocks):
        add(directory, rows[seq * 20 : seq * 20 + 20], seq)
    return rows


def run(directory: Path, **options: Any) -> None:
    given = {"memory_mb": 256, "grace_h": 24.0, "dry_run": False, "runner": "direct", **options}
    compact.start(CompactOptions(archive=f"iceberg:{directory}", **given), [], CONFIG)


def contents(directory: Path) -> pl.DataFrame:
    """All rows of the archive with all their columns, in the order of their lineage."""
    rows = pl.DataFrame(Warehouse(str(directory)).table(EVENTS).scan().to_arrow())
    return rows.sort("producer", "seq", "row")


def files(directory: Path) -> list[int]:
    return [len(day) for day in files_by_day(Warehouse(str(directory)), EVENTS).values()]


def test_one_file_a_day_with_the_same_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many(tmp_path, blocks=12)
    before, held = contents(tmp_path), Warehouse(str(tmp_path)).positions(EVENTS)
    assert max(files(tmp_path)) == 12
    run(tmp_path)
    assert set(files(tmp_path)) == {1}
    assert "with 240 rows; 0 doubled" in capsys.readouterr().out
    assert contents(tmp_path).equals(before)
    assert Warehouse(str(tmp_path)).positions(EVENTS) == held
    again = Warehouse(str(tmp_path)).table(EVENTS).current_snapshot()
    run(tmp_path)
    assert Warehouse(str(tmp_path)).table(EVENTS).current_snapshot() == again


def test_files_are_sorted_by_type_and_time_in_the_table_s_own_types(tmp_path: Path) -> None:
    rows = random_events(300, 1, seed=5)
    for row in rows[::3]:
        row["type"] = "page"
    for seq in range(6):
        add(tmp_path, rows[seq * 50 : seq * 50 + 50], seq)
    run(tmp_path)
    for day in files_by_day(Warehouse(str(tmp_path)), EVENTS).values():
        written = pq.ParquetFile(day[0].path.removeprefix("file://"))
        assert written.schema_arrow.equals(derive.arrow(load("event")), check_metadata=False)
        found = written.read(["type", "event_time"]).to_pylist()
        assert found == sorted(found, key=lambda r: (r["type"], r["event_time"]))
        assert {written.metadata.row_group(0).column(0).compression} == {"ZSTD"}


def test_rollup_sees_no_day_changed_and_computes_the_same(tmp_path: Path) -> None:
    many(tmp_path / "archive", blocks=8)
    url = f"sqlite:///{tmp_path}/catalog.db"
    catalog = Catalog(url)
    catalog.migrate()
    catalog.add_project("demo")

    flags = [f"--archive=iceberg:{tmp_path}/archive", f"--catalog={url}"]

    def computed() -> list[dict[str, Any]]:
        rollup.start(*parse(RollupOptions, "rollup", [*flags, "--all_days"], CONFIG), CONFIG)
        table = Warehouse(f"{tmp_path}/archive").table(DAILY).scan().to_arrow()
        return table.drop_columns(["computed_at"]).to_pylist()

    before = sorted(computed(), key=str)
    run(tmp_path / "archive")
    warehouse = Warehouse(f"{tmp_path}/archive")
    due, _ = parse(RollupOptions, "rollup", flags, CONFIG)
    assert not rollup.is_due(due)
    assert sorted(computed(), key=str) == before
    # Expired or not, what came after the last rollup is still known by day.
    add(tmp_path / "archive", [event("new", NOON + 9 * DAY_US)], seq=99)
    run(tmp_path / "archive")
    sweep.expire(warehouse, before_us=1 << 62)
    assert rollup.is_due(due)
    based_on = int(summary(warehouse.table(DAILY))[BASED_ON])
    assert warehouse.changes(based_on).touched == {"demo": {NEW_DAY}}


def test_a_row_that_is_there_twice_is_written_once_and_its_day_computed_anew(
    tmp_path: Path,
) -> None:
    rows = many(tmp_path, blocks=4, days=1)
    before = contents(tmp_path)
    warehouse = Warehouse(str(tmp_path))
    _, frame = block.decode(load("event"), frame_of(rows[20:40], "p-0", 1).payload)
    table = warehouse.table(EVENTS)  # what must not happen: a block's rows added past the ledger
    table.add_files(
        list(warehouse.write_files(EVENTS, frame)),
        snapshot_properties={POSITIONS: warehouse.positions(EVENTS).to_json()},
    )
    add(tmp_path, [rows[0]], seq=9)  # a repeat that a client sent: another row of the ledger
    assert contents(tmp_path).height == 101
    run(tmp_path)
    found = contents(tmp_path)
    assert found.height == 81
    assert found.filter(pl.col("seq") < 9).equals(before)
    touched = json.loads(summary(warehouse.table(EVENTS))[TOUCHED])
    assert list(touched) == ["demo"]


def test_many_kinds_of_rows_survive(tmp_path: Path) -> None:
    rng = random.Random(3)
    odd = ["", "ß ☃ \U0001f600", "x" * 200_000, '{"a": [1, {"b": null}]}', "\x00nul"]
    rows = [
        event(f"e{n}", NOON + rng.randrange(1000), properties=rng.choice(odd),
              user_id=rng.choice([None, *odd[:2]]), revenue_minor=rng.choice([None, -(1 << 62)]))
        for n in range(60)
    ]  # fmt: skip
    for seq in range(6):
        add(tmp_path, rows[seq * 10 : seq * 10 + 10], seq)
    before = contents(tmp_path)
    run(tmp_path)
    assert files(tmp_path) == [1]
    assert contents(tmp_path).equals(before)


def test_dead_letters_are_merged_too(tmp_path: Path) -> None:
    warehouse = Warehouse(str(tmp_path))
    for n in range(3):
        letter = {"dead_letter_id": f"d{n // 2}", "project": "", "source": "p-0", "step": "decode",
                  "reason": "damaged_block", "message": "no", "original": b"\x00\xff",
                  "received_time": 0, "producer": "p-0", "seq": n // 2}  # fmt: skip
        rows = pl.DataFrame([letter], schema=derive.wire(load("dead_letter")), orient="row")
        files_ = warehouse.write_files(DEAD_LETTERS, rows)
        warehouse.add(DEAD_LETTERS, Added(files_, Positions(), {}, 0))
    run(tmp_path)
    found = warehouse.table(DEAD_LETTERS).scan().to_arrow().to_pylist()
    # A crash between letter and block repeats the letter, under its id.
    assert sorted(row["dead_letter_id"] for row in found) == ["d0", "d1"]
    assert {row["original"] for row in found} == {b"\x00\xff"}


def test_it_runs_while_ingest_commits(tmp_path: Path) -> None:
    many(tmp_path, blocks=10, days=1)

    def ingest() -> None:
        for seq in range(100, 130):
            add(tmp_path, [event(f"n{seq}", NOON)], seq)

    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(ingest)
        for _ in range(3):
            run(tmp_path)
        writing.result()
    run(tmp_path)
    found = contents(tmp_path)
    assert found.height == 230
    assert found.select("producer", "seq", "row").is_unique().all()
    assert set(files(tmp_path)) == {1}
    assert Warehouse(str(tmp_path)).positions(EVENTS).to_json() == '{"p-0":[[0,9],[100,129]]}'


def test_a_crash_before_the_commit_leaves_the_old_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(tmp_path, blocks=5, days=1)
    before, count = contents(tmp_path), files(tmp_path)

    def crash(*_: Any, **__: Any) -> None:
        raise SystemExit("killed")

    with monkeypatch.context() as broken:
        broken.setattr(Warehouse, "commit", crash)
        day = next(iter(files_by_day(Warehouse(str(tmp_path)), EVENTS).values()))
        with pytest.raises(SystemExit):
            compact_one(tasks_of(EVENTS, day)[0], str(tmp_path), 256)
    assert contents(tmp_path).equals(before)
    assert files(tmp_path) == count
    run(tmp_path)
    assert contents(tmp_path).equals(before)


def test_of_two_compactions_one_wins(tmp_path: Path) -> None:
    many(tmp_path, blocks=5, days=1)
    before = contents(tmp_path)
    warehouse = Warehouse(str(tmp_path))
    for day in files_by_day(warehouse, EVENTS).values():
        (task,) = tasks_of(EVENTS, day)
        other = rewrite(warehouse, EVENTS, task.files)
        compact_one(task, str(tmp_path), 256)
        with pytest.raises(maintenance.SupersededError):
            swap(warehouse, EVENTS, [f.path for f in task.files], other.files)
        compact_one(task, str(tmp_path), 256)  # a retried bundle
    assert contents(tmp_path).equals(before)


def test_a_commit_that_keeps_losing_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(tmp_path, blocks=2, days=1)
    warehouse = Warehouse(str(tmp_path))
    monkeypatch.setattr("beam_pipelines.connectors.warehouse.time.sleep", lambda _: None)
    tries = []

    def lose(_: Any) -> None:
        tries.append(1)
        raise CommitFailedException("behind")

    with pytest.raises(CommitFailedException):
        warehouse.commit(EVENTS, lose)
    assert len(tries) == 20


def test_large_files_are_left_and_sizes_stay_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same rules with a hundredth of a percent of the sizes."""
    monkeypatch.setattr(maintenance, "SMALL_BYTES", 6_400)
    monkeypatch.setattr(maintenance, "TARGET_BYTES", 12_800)
    monkeypatch.setattr(maintenance, "ROW_GROUP_ROWS", 10)
    monkeypatch.setattr(maintenance, "BATCH_ROWS", 10)
    noise = random.Random(1)
    rows = [event(f"e{n}", NOON + n, properties=noise.randbytes(100).hex()) for n in range(900)]
    for seq in range(9):
        add(tmp_path, rows[seq * 100 : seq * 100 + 100], seq)
    warehouse = Warehouse(str(tmp_path))
    (day,) = files_by_day(warehouse, EVENTS).values()
    made = rewrite(warehouse, EVENTS, day)
    sizes = [os.path.getsize(maintenance.local(path)) for path in made.files]
    assert len(sizes) > 3
    # The footer comes on top: at this scale it is as large as the rows.
    assert all(6_400 <= size <= 12_800 + 6_400 + 40_000 for size in sizes)
    assert made.rows == 900
    assert tasks_of(EVENTS, [f for f in day if f.bytes >= 64 << 20]) == []


def test_removed_files_go_after_the_grace_period_and_not_before(tmp_path: Path) -> None:
    many(tmp_path, blocks=5, days=1)
    warehouse = Warehouse(str(tmp_path))
    old = {f.path for day in files_by_day(warehouse, EVENTS).values() for f in day}
    run(tmp_path)
    before = contents(tmp_path)
    now = int(datetime.now(UTC).timestamp() * 1e6)
    assert sweep.expire(warehouse, before_us=now + HOUR_US) > 0
    orphan = Path(maintenance.local(min(old))).with_name("2020-01-01-orphan.parquet")
    orphan.write_bytes(b"half written")

    def there() -> set[str]:
        return {p for p in old if os.path.exists(maintenance.local(p))}

    first = sweep.sweep(warehouse, HOUR_US, now + 2 * HOUR_US)  # the first look removes nothing
    assert first.removed == 0
    assert first.waiting > len(old)
    assert there() == old
    assert sweep.sweep(warehouse, HOUR_US, now + 2 * HOUR_US + 1000).removed == 0
    dry = sweep.sweep(warehouse, HOUR_US, now + 4 * HOUR_US, dry_run=True)
    assert (dry.removed, there()) == (0, old)
    last = sweep.sweep(warehouse, HOUR_US, now + 4 * HOUR_US)
    assert last.removed == first.waiting
    assert there() == set()
    assert not orphan.exists()
    assert contents(tmp_path).equals(before)
    assert sweep.sweep(warehouse, HOUR_US, now + 9 * HOUR_US).removed == 0


def test_a_file_that_is_needed_again_is_not_forgotten_in_its_grace(tmp_path: Path) -> None:
    warehouse = Warehouse(str(tmp_path))
    add(tmp_path, [event("a", NOON)], 0)
    _, frame = block.decode(load("event"), frame_of([event("b", NOON)], seq=1).payload)
    late = warehouse.write_files(EVENTS, frame)  # written, to be committed after a long look
    now = int(datetime.now(UTC).timestamp() * 1e6)
    assert sweep.sweep(warehouse, HOUR_US, now).waiting == 1
    positions = Positions.of([("p-0", 1, 1)])
    warehouse.add(EVENTS, Added(late, positions, {"demo": ("2026-09-21",)}, NOON))
    assert sweep.sweep(warehouse, HOUR_US, now + 9 * HOUR_US).removed == 0
    assert contents(tmp_path)["event_id"].to_list() == ["a", "b"]


def test_a_dry_run_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many(tmp_path, blocks=3, days=1)
    Warehouse(str(tmp_path)).table(DEAD_LETTERS)  # whoever opens a warehouse makes its tables
    before = sorted(p for p in tmp_path.rglob("*") if p.is_file())
    run(tmp_path, dry_run=True)
    said = capsys.readouterr().out
    assert "would merge events 20" in said
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == before


def test_an_empty_archive_is_nothing_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path)
    assert capsys.readouterr().out.startswith("0 snapshots forgotten; 0 files")
