"""Exporting: every row once, files that are what the manifest says, cut off and gone on with."""

from __future__ import annotations

import csv
import hashlib
import json
import random
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner

from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.run import main
from beam_pipelines.steps import export as export_step
from beam_pipelines.steps.archive import Archive
from catalog import policies
from catalog.store import Catalog
from schemas_avro.tables import EVENTS
from tests import brute
from tests.streams import DAY_US, NOON, event, frame_of, random_events
from transforms.positions import Positions


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADWATER_DATA_DIR", str(tmp_path / "data"))
    catalog = Catalog(f"sqlite:///{tmp_path}/data/catalog.db")
    catalog.migrate()
    for project in ("demo", "shop"):
        catalog.add_project(project)
    return tmp_path


def ingest(data: Path, *blocks: list[dict[str, Any]]) -> None:
    """Each block a file of its own in the archive."""
    for rows in blocks:
        seq = sum(len(held) for held in _held(data))
        with beam.Pipeline(BundleBasedDirectRunner()) as root:
            frames = root | beam.Create([frame_of(rows, seq=seq)])
            frames | Archive(str(data / "data/archive"), EVENTS, Positions())


def _held(data: Path) -> list[range]:
    positions = Warehouse(str(data / "data/archive")).positions(EVENTS)
    return [range(a, b + 1) for ranges in positions.by_producer.values() for a, b in ranges]


def export(data: Path, *flags: str, to: str = "out") -> int:
    return main(["export", f"--output={data / to}", "--project=demo", *flags])


def manifest(data: Path, to: str = "out") -> dict[str, Any]:
    """The manifest, once every file is what it says."""
    found: dict[str, Any] = json.loads((data / to / "manifest.json").read_text())
    there = {path.name for path in (data / to).iterdir()}
    assert there == {file["name"] for file in found["files"]} | {"manifest.json"}
    for file in found["files"]:
        content = (data / to / file["name"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file["sha256"]
        assert len(content) == file["bytes"]
    assert sum(file["rows"] for file in found["files"]) == found["rows"]
    return found


def read(data: Path, to: str = "out") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for file in manifest(data, to)["files"]:
        path = data / to / file["name"]
        match path.suffix:
            case ".csv":
                with path.open(newline="") as opened:
                    rows += csv.DictReader(opened)
            case ".jsonl":
                rows += map(json.loads, path.read_text().splitlines())
            case _:
                rows += pq.read_table(path).to_pylist()
    return rows


def repeated(seed: int = 1) -> list[list[dict[str, Any]]]:
    """Blocks of 600 events over three days; every tenth is sent again, some a day later."""
    events = random_events(600, days=3, seed=seed)
    again = [{**row, "received_time": row["received_time"] + n} for n, row in
             enumerate(events[::10])]  # fmt: skip
    moved = [{**row, "event_time": row["event_time"] - DAY_US // 4} for row in again[::2]]
    return [events[:300], events[300:] + again[1::2], moved]


def day(number: int) -> str:
    return datetime.fromtimestamp((NOON + number * DAY_US) / 1e6, UTC).date().isoformat()


@pytest.mark.parametrize("format_", ["csv", "jsonl", "parquet"])
def test_each_event_is_exported_once(data: Path, format_: str) -> None:
    blocks = repeated()
    ingest(data, *blocks)
    assert export(data, f"--format={format_}") == 0
    sent = [
        {**row, "producer": "p-0", "seq": seq, "row": n}
        for seq, rows in enumerate(blocks)
        for n, row in enumerate(rows)
    ]
    kept, repeats = brute.first_copies(sent)
    found = read(data)
    wanted = sorted((row["event_id"], row["seq"], row["row"]) for row in kept)
    assert sorted((r["event_id"], int(r["seq"]), int(r["row"])) for r in found) == wanted
    about = manifest(data)
    assert (about["repeats_left_out"], about["duplicates"]) == (len(repeats), "removed")
    money = sum(row.get("revenue_minor") or 0 for row in kept)
    assert sum(int(row.get("revenue_minor") or 0) for row in found) == money


def test_a_range_takes_the_first_copy_wherever_it_lies(data: Path) -> None:
    late = event("e1", NOON, received_time=NOON + 2 * DAY_US)
    first = event("e1", NOON - DAY_US)  # the same id, the day before, and received before
    ingest(data, [late, event("e2", NOON), event("e3", NOON + DAY_US)], [first])
    assert export(data, f"--from={day(0)}", f"--to={day(0)}") == 0
    assert [row["event_id"] for row in read(data)] == ["e2"]
    assert export(data, f"--from={day(0)}", f"--to={day(0)}", "--keep_repeats", to="all") == 0
    assert sorted(row["event_id"] for row in read(data, "all")) == ["e1", "e2"]
    assert manifest(data, "all")["duplicates"] == "as stored"


def test_other_projects_and_erased_people_stay_out(data: Path) -> None:
    ingest(data, [event("e1", NOON), event("e2", NOON, user_id="u2"),
                  event("e3", NOON, project="shop")])  # fmt: skip
    policies.suppress(Catalog(f"sqlite:///{data}/data/catalog.db"), "demo", ["u2"])
    assert export(data) == 0
    assert [row["event_id"] for row in read(data)] == ["e1"]
    about = manifest(data)
    assert (about["erased_left_out"], about["erasures"]) == (1, "applied")


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@A1", "\t=1", "\r=1", "\n=1", "\uff1d1", "\uff0b1", "\uff0d1", "\uff201"],
)
def test_no_cell_is_a_formula(data: Path, text: str) -> None:
    ingest(data, [event("e1", NOON, name=text, user_id='say "no", ok')])
    assert export(data) == 0
    (row,) = read(data)
    assert row["name"] == "'" + text
    assert row["user_id"] == 'say "no", ok'


def test_json_lines_hold_json_and_no_nulls(data: Path) -> None:
    properties = '{"amount": 1.10,\n "big": 123456789012345678901, "deep": {"a": [null]}}'
    ingest(data, [event("e1", NOON, properties=properties, context="{broken")])
    assert export(data, "--format=jsonl", "--columns=event_id,properties,context,city") == 0
    (row,) = read(data)
    wanted = {"event_id": "e1", "properties": json.loads(properties), "context": "{broken"}
    assert row == wanted
    assert b"1.10, " in next((data / "out").glob("*.jsonl")).read_bytes()


def test_files_are_split_by_size_with_nothing_lost(data: Path) -> None:
    rows = [event(f"e{n}", NOON + n, properties=json.dumps({"text": "x" * 60})) for n in
            range(70_000)]  # fmt: skip
    ingest(data, rows)
    assert export(data, "--file_mb=5", "--columns=event_id,event_time,properties") == 0
    assert len(manifest(data)["files"]) > 1
    assert sorted(row["event_id"] for row in read(data)) == sorted(row["event_id"] for row in rows)


def test_an_export_cut_off_goes_on_at_the_same_snapshot(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(data, *repeated())
    assert export(data, to="whole") == 0
    monkeypatch.setattr("beam_pipelines.jobs.export._PART_FILES", 1)
    kept = export_step.keep_receipt
    done: list[str] = []

    def dies(directory: str, stem: str, receipt: Any) -> None:
        if len(done) == 2:
            raise OSError("killed")
        done.append(stem)
        kept(directory, stem, receipt)

    with monkeypatch.context() as patch:
        patch.setattr(export_step, "keep_receipt", dies)
        with pytest.raises(Exception, match="killed"):
            export(data)
    assert not (data / "out/manifest.json").exists()
    ingest(data, [event("later", NOON)])
    written: list[str] = []
    monkeypatch.setattr(
        export_step, "keep_receipt", lambda d, s, r: (written.append(s), kept(d, s, r))
    )
    assert export(data) == 0
    assert not set(written) & set(done)
    ids = [row["event_id"] for row in read(data)]
    assert sorted(ids) == sorted(row["event_id"] for row in read(data, "whole"))
    assert "later" not in ids
    before = manifest(data)
    assert export(data) == 0  # complete: nothing more to do
    assert manifest(data) == before


def test_the_daily_table_is_exported_too(data: Path) -> None:
    ingest(data, *repeated())
    assert main(["rollup"]) == 0
    assert (
        export(data, "--table=daily", "--format=jsonl", f"--from={day(0)}", f"--to={day(0)}") == 0
    )
    found = read(data)
    assert {row["day"] for row in found} == {day(0)}
    about = manifest(data)
    assert (about["erasures"], about["repeats_left_out"]) == ("as computed", 0)


@pytest.mark.parametrize("rows", [[], [event("e1", NOON, project="shop")]])
def test_nothing_to_export_is_a_manifest_without_files(
    data: Path, rows: list[dict[str, Any]]
) -> None:
    if rows:
        ingest(data, rows)
    assert export(data) == 0
    assert manifest(data)["files"] == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--format=xls"], "--format='xls' is none of csv, jsonl, parquet"),
        (["--table=people"], "--table='people' is none of"),
        (["--columns=colour"], "'colour' is no column"),
        (["--from=2024-02-30"], "is no day"),
        (["--file_mb=0"], "--file_mb=0 must be 1 or more"),
        (["--project=nope"], "project 'nope' is not in the catalogue"),
    ],
)
def test_mistakes_are_named(
    data: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    assert export(data, *flags) == 2
    assert message in capsys.readouterr().err
    assert not (data / "out").exists()


def test_a_directory_with_something_else_in_it_is_left_alone(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ingest(data, [event("e1", NOON)])
    (data / "out").mkdir()
    (data / "out/letter.txt").write_text("dear")
    assert export(data) == 2
    assert "is not empty and holds no export" in capsys.readouterr().err
    assert export(data, to="other") == 0
    assert export(data, "--format=jsonl", to="other") == 2
    assert "holds another export: format = 'csv', not 'jsonl'" in capsys.readouterr().err


@pytest.mark.journey
def test_killed_at_any_moment_and_gone_on_with_it_is_the_same_export(data: Path) -> None:
    blocks = [[event(f"e{b}-{n}", NOON + n) for n in range(2_000)] for b in range(6)]
    ingest(data, *blocks)
    assert export(data, "--format=jsonl", to="whole") == 0
    wanted = {row["event_id"] for row in read(data, "whole")}
    command = [sys.executable, "-m", "beam_pipelines.run", "export", "--project=demo",
               "--format=jsonl", f"--output={data / 'out'}"]  # fmt: skip
    rng = random.Random(8)
    for _ in range(6):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(1, 6))
        process.kill()
        process.wait()
    assert export(data, "--format=jsonl") == 0
    found = [row["event_id"] for row in read(data)]
    assert (len(found), set(found)) == (len(wanted), wanted)
