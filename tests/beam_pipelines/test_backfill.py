"""Backfilling: days come out as the ingest code of today would have stored them, once."""

from __future__ import annotations

import random
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apache_beam as beam
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner

from beam_pipelines.connectors.frames import Frame
from beam_pipelines.connectors.maintenance import files_by_day, local, swap
from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.run import main
from beam_pipelines.steps import archive as archive_step
from beam_pipelines.steps import backfill as backfill_step
from beam_pipelines.steps.archive import Archive
from catalog import policies
from catalog.store import Catalog
from schemas_avro import segment
from schemas_avro.tables import EVENTS
from tests.streams import DAY_US, NOON, event, frame_of
from transforms.positions import Positions
from transforms.rework import CLEARABLE

AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADWATER_DATA_DIR", str(tmp_path))
    catalog = Catalog(f"sqlite:///{tmp_path}/catalog.db")
    catalog.migrate()
    for project in ("demo", "shop"):
        catalog.add_project(project)
    return tmp_path


def blocks(days: int = 3) -> list[Frame]:
    """A block a day of two projects, whose user agent says Firefox."""
    return [
        frame_of(
            [
                event(f"e{day}-{n}", NOON + day * DAY_US + n, user_agent=AGENT,
                      user_id=f"u{n % 5}", project=("demo", "shop")[n % 2])
                for n in range(20)
            ],
            seq=day,
        )
        for day in range(days)
    ]  # fmt: skip


def ingest(data: Path, frames: list[Frame]) -> None:
    with beam.Pipeline(BundleBasedDirectRunner()) as root:
        root | beam.Create(frames) | Archive(str(data / "archive"), EVENTS, Positions())


def broken_ingest(data: Path, frames: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a version whose enrichment found wrong browsers and no page hosts."""
    with monkeypatch.context() as patch:
        wrong = pl.lit("Mosaic").alias("browser_name")
        patch.setattr(archive_step, "enrich", lambda rows: rows.with_columns(wrong))
        ingest(data, frames)


def warehouse(data: Path) -> Warehouse:
    return Warehouse(str(data / "archive"))


def rows(data: Path) -> list[dict[str, Any]]:
    found = warehouse(data).table(EVENTS).scan().to_arrow().to_pylist()
    return sorted(found, key=lambda row: row["event_id"])


def snapshot(data: Path) -> int:
    current = warehouse(data).table(EVENTS).current_snapshot()
    assert current is not None
    return current.snapshot_id


def iso(day: int) -> str:
    return datetime.fromtimestamp((NOON + day * DAY_US) / 1e6, UTC).date().isoformat()


def spool(data: Path, frames: list[Frame]) -> str:
    path = data / "kept" / segment.segment_name(0)
    path.parent.mkdir()
    path.write_bytes(b"".join(segment.frame(frame.payload) for frame in frames))
    return str(path)


def test_the_archive_becomes_what_todays_code_stores(
    data: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = tmp_path_factory.mktemp("right")
    ingest(right, blocks())
    broken_ingest(data, blocks(), monkeypatch)
    held = warehouse(data).positions(EVENTS).to_json()
    assert rows(data) != rows(right)
    assert main(["backfill", "--clear=browser_name"]) == 0
    assert rows(data) == rows(right)
    assert warehouse(data).positions(EVENTS).to_json() == held
    ingest(data, blocks())  # a redelivery adds nothing
    assert rows(data) == rows(right)


def test_a_second_backfill_changes_nothing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken_ingest(data, blocks(), monkeypatch)
    assert main(["backfill", "--clear=browser_name"]) == 0
    before = snapshot(data)
    files = sorted((data / "archive/headwater/events/data").iterdir())
    assert main(["backfill", "--clear=browser_name"]) == 0
    assert snapshot(data) == before
    assert sorted((data / "archive/headwater/events/data").iterdir()) == files


def test_the_next_rollup_knows_the_days(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken_ingest(data, blocks(), monkeypatch)
    before = snapshot(data)
    flags = [f"--from={iso(1)}", f"--to={iso(1)}", "--project=shop"]
    assert main(["backfill", "--clear=browser_name", *flags]) == 0
    touched = warehouse(data).changes(before).touched
    assert {p: {day.isoformat() for day in days} for p, days in touched.items()} == {
        "shop": {iso(1)}
    }
    for row in rows(data):
        is_meant = row["project"] == "shop" and row["event_id"].startswith("e1-")
        assert row["browser_name"] == ("Firefox" if is_meant else "Mosaic")


def test_blocks_of_the_bus_bring_back_what_no_column_says(
    data: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = tmp_path_factory.mktemp("right")
    ingest(right, blocks())
    path = spool(data, blocks())
    with monkeypatch.context() as patch:  # a version that lost the name of every event
        lost = pl.lit("?").alias("name")
        patch.setattr(archive_step, "enrich", lambda rows: rows.with_columns(lost))
        ingest(data, blocks())
    assert main(["backfill", f"--blocks={path}"]) == 0
    assert rows(data) == rows(right)


def test_blocks_that_are_missing_are_added_once_and_erased_rows_stay_away(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = blocks()
    ingest(data, frames[:1])
    (file,) = files_by_day(warehouse(data), EVENTS)[datetime.fromisoformat(iso(0)).date()]
    table = pq.read_table(local(file.path))
    kept = table.filter(pa.compute.not_equal(table["user_id"], "u1"))
    erased = file.path.replace(".parquet", "-erased.parquet")
    pq.write_table(kept, local(erased))
    swap(warehouse(data), EVENTS, [file.path], [erased])
    policies.suppress(Catalog(f"sqlite:///{data}/catalog.db"), "demo", ["u1"])
    policies.suppress(Catalog(f"sqlite:///{data}/catalog.db"), "shop", ["u1"])
    path = spool(data, frames)
    with open(path, "ab") as file_:
        file_.write(b"HWB1 torn")
    for _ in range(2):
        assert main(["backfill", f"--blocks={path}"]) == 0
    assert "1 places in the files are no block" in capsys.readouterr().out
    wanted = {f"e{d}-{n}" for d in range(3) for n in range(20) if n % 5 != 1}
    assert [row["event_id"] for row in rows(data)] == sorted(wanted)


def test_a_dry_run_names_the_days_and_changes_nothing(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_ingest(data, blocks(), monkeypatch)
    before = snapshot(data)
    assert main(["backfill", "--dry_run", f"--from={iso(1)}"]) == 0
    out = capsys.readouterr().out
    assert "would read 40 events of 2 days" in out
    assert f"{iso(2)}: 20 events" in out
    assert snapshot(data) == before


def test_a_crash_midway_leaves_days_done_and_days_as_they_were(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_ingest(data, blocks(), monkeypatch)
    swapped: list[int] = []

    def dies(*given: Any, **named: Any) -> None:
        if swapped:
            raise OSError("killed")
        swapped.append(1)
        swap(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(backfill_step, "swap", dies)
        with pytest.raises(Exception, match="killed"):
            main(["backfill", "--clear=browser_name"])
    names = [row["browser_name"] for row in rows(data)]
    assert sorted(names) == ["Firefox"] * 20 + ["Mosaic"] * 40
    assert main(["backfill", "--clear=browser_name"]) == 0
    assert {row["browser_name"] for row in rows(data)} == {"Firefox"}


def test_compaction_at_the_same_time_is_looked_at_again(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_ingest(data, blocks(1), monkeypatch)
    passed: list[int] = []

    def late(there: Warehouse, spec: Any, old: Any, new: Any, **named: Any) -> None:
        if not passed:  # somebody puts another file in place of ours first
            passed.append(1)
            copy = old[0].replace(".parquet", "-compacted.parquet")
            Path(local(copy)).write_bytes(Path(local(old[0])).read_bytes())
            swap(warehouse(data), EVENTS, old, [copy])
        swap(there, spec, old, new, **named)

    monkeypatch.setattr(backfill_step, "swap", late)
    assert main(["backfill", "--clear=browser_name"]) == 0
    assert {row["browser_name"] for row in rows(data)} == {"Firefox"}
    assert len(rows(data)) == 20


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--clear=user_id", "--clear='user_id' cannot be found anew"),
        ("--blocks=/nowhere/*.blocks", "as a pattern fits none"),
        ("--to=32", "--to='32' is no day"),
    ],
)
def test_mistakes_are_named(
    data: Path, capsys: pytest.CaptureFixture[str], flag: str, message: str
) -> None:
    assert main(["backfill", flag]) == 2
    assert message in capsys.readouterr().err


def test_an_empty_archive_is_no_error(data: Path) -> None:
    assert main(["backfill"]) == 0
    assert {"browser_name", "page_host"} <= set(CLEARABLE)
    assert not {"user_id", "properties", "event_time", "revenue_minor"} & set(CLEARABLE)


@pytest.mark.journey
def test_killed_at_any_moment_and_run_again_it_is_the_same_archive(
    data: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = tmp_path_factory.mktemp("right")
    ingest(right, blocks(12))
    broken_ingest(data, blocks(12), monkeypatch)
    command = [sys.executable, "-m", "beam_pipelines.run", "backfill", "--clear=browser_name"]
    rng = random.Random(8)
    for _ in range(6):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(1, 6))
        process.kill()
        process.wait()
        assert {(row["event_id"], row["user_id"]) for row in rows(data)} == {
            (row["event_id"], row["user_id"]) for row in rows(right)
        }
    assert main(["backfill", "--clear=browser_name"]) == 0
    assert rows(data) == rows(right)
    assert warehouse(data).positions(EVENTS) == warehouse(right).positions(EVENTS)
