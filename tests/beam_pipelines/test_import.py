"""Importing a file: progress, dead letters, twice is once, and clear refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.run import main
from catalog import policies
from catalog.store import Catalog
from schemas_avro.tables import DEAD_LETTERS, EVENTS, Table

MAPPING = """
[event]
type = "track"
name = "{what}"
user_id = "{who}"
timestamp = "{when}"
revenue = "{price}"
currency = "EUR"
"""
CSV = (
    "when,who,what,price\n"
    '2024-02-29T12:00:00Z,ann,"a, quoted\nname",1.50\n'
    "2024-02-29T12:00:01Z,bob,view,\n"
    "2024-02-29T12:00:02Z,bob,view,\n"
    "2024-02-29T12:00:02Z,bob,sale,many\n"
    "yesterday,bob,view,\n"
    "too,few\n"
)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADWATER_DATA_DIR", str(tmp_path / "data"))
    catalog = Catalog(f"sqlite:///{tmp_path}/data/catalog.db")
    catalog.migrate()
    catalog.add_project("shop")
    return tmp_path


def bring(data: Path, text: str, mapping: str = MAPPING, name: str = "in.csv") -> int:
    (data / name).write_text(text)
    (data / "map.toml").write_text(mapping)
    given = [f"--input={data / name}", f"--mapping={data / 'map.toml'}", "--project=shop"]
    return main(["import", *given])


def rows(data: Path, table: Table) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (
        Warehouse(str(data / "data/archive")).table(table).scan().to_arrow().to_pylist()
    )
    return found


def test_good_rows_are_events_and_bad_ones_dead_letters_with_their_text(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bring(data, CSV) == 0
    assert (
        "6 rows read, 3 events, 3 dead letters, 0 of erased people left out; 6 rows new"
        in capsys.readouterr().out
    )
    events = sorted(rows(data, EVENTS), key=lambda r: r["event_id"])
    assert [(e["event_id"], e["name"], e["revenue_minor"]) for e in events] == [
        ("in.csv:1", "a, quoted\nname", 150),
        ("in.csv:2", "view", None),
        ("in.csv:3", "view", None),
    ]
    letters = {r["dead_letter_id"]: r for r in rows(data, DEAD_LETTERS)}
    assert {k: v["reason"] for k, v in letters.items()} == {
        "import:in.csv:4": "bad_money",
        "import:in.csv:5": "bad_time",
        "import:in.csv:6": "unreadable",
    }
    assert letters["import:in.csv:6"]["original"] == b"too,few"
    assert b'"many"' in letters["import:in.csv:4"]["original"]


def test_of_erased_people_nothing_is_kept(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    catalog = Catalog(f"sqlite:///{data}/data/catalog.db")
    policies.suppress(catalog, "shop", ["bob"])
    assert bring(data, CSV) == 0
    out = capsys.readouterr().out
    assert "6 rows read, 1 events, 1 dead letters, 4 of erased people left out" in out
    assert [row["user_id"] for row in rows(data, EVENTS)] == ["ann"]
    assert [row["original"] for row in rows(data, DEAD_LETTERS)] == [b"too,few"]


def test_a_second_import_adds_nothing(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bring(data, CSV)
    before = rows(data, EVENTS)
    capsys.readouterr()
    bring(data, CSV)
    assert "0 rows new in the archive, 2 blocks were there already" in capsys.readouterr().out
    assert rows(data, EVENTS) == before


def test_a_file_that_has_grown_brings_the_same_ids_again(data: Path) -> None:
    bring(data, CSV)
    bring(data, CSV + "2024-02-29T13:00:00Z,eve,view,\n")
    ids = [row["event_id"] for row in rows(data, EVENTS)]
    assert sorted(set(ids)) == ["in.csv:1", "in.csv:2", "in.csv:3", "in.csv:7"]


def test_json_lines_take_the_same_way(data: Path) -> None:
    text = '{"what":"view","who":7,"when":"2024-01-01T00:00:00Z"}\n\nnot json\n[1]\n'
    assert bring(data, text, 'format = "jsonl"\n' + MAPPING, "in.jsonl") == 0
    assert [(r["user_id"], r["name"]) for r in rows(data, EVENTS)] == [("7", "view")]
    assert sorted(r["reason"] for r in rows(data, DEAD_LETTERS)) == ["not_an_object", "unreadable"]


@pytest.mark.parametrize("text", ["", "when,who,what,price\n"])
def test_an_empty_file_is_no_error(data: Path, text: str) -> None:
    assert bring(data, text) == 0
    assert rows(data, EVENTS) == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--input=/nowhere.csv"], "--input='/nowhere.csv' is no file"),
        (["--project=nope"], "project 'nope' is not in the catalogue"),
        (["--archive=ftp:x"], "--archive='ftp:x' must look like iceberg:PATH"),
    ],
)
def test_mistakes_name_the_flag_and_the_value(
    data: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    (data / "in.csv").write_text(CSV)
    (data / "map.toml").write_text(MAPPING)
    given = [f"--input={data / 'in.csv'}", f"--mapping={data / 'map.toml'}", "--project=shop"]
    assert main(["import", *given, *flags]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ("[event", "not TOML"),
        ("[event]\nname = 'x'", "needs a type"),
        ("[event]\ntype = 'track'\ncolour = 'x'", "'colour' is no event field"),
        ("sort = 1\n[event]\ntype = 'track'", "'sort' is no key"),
        ("time_zone = 'Mars'\n[event]\ntype = 'track'", "'Mars' is unknown"),
        ("format = 'xls'\n[event]\ntype = 'track'", "'xls' must be one of csv, jsonl, parquet"),
    ],
)
def test_a_bad_mapping_is_explained(
    data: Path, capsys: pytest.CaptureFixture[str], mapping: str, message: str
) -> None:
    assert bring(data, CSV, mapping) == 2
    assert message in capsys.readouterr().err


def test_help_and_unknown_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "ingest" in capsys.readouterr().out
    assert main(["dance"]) == 2
    assert "no job 'dance'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["rollup", "--help"])
    assert stop.value.code == 0
    assert "--all_days" in capsys.readouterr().out
