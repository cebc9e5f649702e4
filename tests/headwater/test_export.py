"""`headwater export` against a real server: made, fetched, resumed, verified."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from flask import Flask, request

from headwater.cli import main
from headwater.manifest import problems
from tests.reports import exports_world
from tests.reports.browsing import serving

SQL = "SELECT event_id, name FROM events ORDER BY event_id"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    directory = tmp_path_factory.mktemp("served")
    exports_world.fill(directory)
    return exports_world.app(directory, export_part_mb=1)


@pytest.fixture(scope="module")
def ranges() -> list[str | None]:
    """Range of each request for a file."""
    return []


@pytest.fixture(scope="module")
def address(app: Flask, ranges: list[str | None]) -> Iterator[str]:
    @app.before_request
    def note() -> None:
        if "/files/" in request.path:
            ranges.append(request.headers.get("Range"))

    with serving(app) as found:
        yield found


def run(address: str, *words: Any) -> Result:
    given = ["export", "--server", address, "--project", "demo", *map(str, words)]
    return CliRunner().invoke(main, given)


def test_a_query_comes_whole_and_verified(address, tmp_path):
    out = tmp_path / "out"
    done = run(address, "--sql", SQL, "--out", out)
    assert done.exit_code == 0, done.output
    assert done.output.startswith("42 rows, ")
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "query.csv"]
    assert (out / "query.csv").read_bytes().count(b"\r\n") == 43
    verified = CliRunner().invoke(main, ["export", "verify", str(out)])
    assert verified.exit_code == 0
    assert verified.output.startswith("42 rows, ")


def test_events_by_days_and_a_question(address, tmp_path):
    days = ("--from", "2026-09-21", "--to", "2026-09-22")
    columns = ("--columns", "event_id,name")
    out = ("--out", tmp_path / "a")
    done = run(address, "--events", *days, *columns, "--format", "parquet", *out)
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert found["what"]["dates"] == "2026-09-21..2026-09-22"
    assert [column["name"] for column in found["columns"]] == ["event_id", "name"]
    question = json.dumps({"dates": "2026-09-01..2026-09-30", "by": "month"})
    done = run(address, "--insight", "revenue", "--question", question, "--format", "json",
               "--out", tmp_path / "b")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "b" / "revenue.json").read_text())[0]["net"] == 2499


def test_it_goes_on_where_it_was_cut_off(address, tmp_path, ranges):
    out = tmp_path / "out"
    assert run(address, "--sql", SQL, "--out", out).exit_code == 0
    whole = (out / "query.csv").read_bytes()
    manifest = json.loads((out / "manifest.json").read_text())
    again = tmp_path / "again"
    assert run(address, "--sql", SQL, "--out", again).exit_code == 0
    # As if the connection had been lost in the middle of the file.
    (again / "manifest.json").unlink()
    (again / "query.csv").unlink()
    (again / ".query.csv.part").write_bytes(whole[:300])
    begun(again, address)
    ranges.clear()
    done = run(address, "--resume", "--out", again)
    assert done.exit_code == 0, done.output
    assert ranges == ["bytes=300-"]
    assert (again / "query.csv").read_bytes() == whole
    assert json.loads((again / "manifest.json").read_text())["files"] == manifest["files"]
    done = run(address, "--resume", "--out", again)
    assert (done.exit_code, done.output[:8]) == (0, "42 rows,")


def begun(out: Path, address: str) -> None:
    """As if the newest export had been begun in this folder."""
    listed = httpx.get(f"{address}/p/demo/api/exports", trust_env=False).json()["exports"]
    state = {"project": "demo", "id": listed[0]["id"]}
    (out / ".headwater-export.json").write_text(json.dumps(state))


def test_a_part_that_is_damaged_is_fetched_again(address, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    assert run(address, "--sql", SQL, "--out", tmp_path / "first").exit_code == 0
    begun(out, address)
    (out / ".query.csv.part").write_bytes(b"x" * 100)
    done = run(address, "--resume", "--out", out)
    assert done.exit_code == 1
    assert "came damaged; --resume fetches it again" in done.output
    assert run(address, "--resume", "--out", out).exit_code == 0
    assert list(problems(out)) == []


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda out: (out / "query.csv").unlink(), "query.csv: missing"),
        (lambda out: (out / "query.csv").write_bytes(b"short"), "5 bytes, not"),
        (lambda out: flip(out / "query.csv"), "its bytes are not those that were exported"),
        (lambda out: (out / "more.csv").write_bytes(b""), "more.csv: is not in the manifest"),
        (lambda out: (out / "manifest.json").unlink(), "the export is not complete"),
        (lambda out: (out / "manifest.json").write_text("{}"), "is no manifest of an export"),
        (lambda out: change(out, "rows", 7), "rows of the files do not add up to 7"),
        (lambda out: change(out, "files", [{"name": "../x", "rows": 42, "bytes": 1, "sha256": ""}]),
         "../x: no name of a file in this folder"),
    ],
)  # fmt: skip
def test_verify_finds_what_is_wrong(address, tmp_path, spoil, message):
    out = tmp_path / "out"
    assert run(address, "--sql", SQL, "--out", out).exit_code == 0
    spoil(out)
    done = CliRunner().invoke(main, ["export", "verify", str(out)])
    assert done.exit_code == 1
    assert message in done.output


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[50] ^= 1
    path.write_bytes(data)


def change(out: Path, name: str, value: Any) -> None:
    found = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps({**found, name: value}))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "give one of --sql, --events, --table and --insight"),
        (("--sql", "SELECT 1", "--events"), 2, "give one of"),
        (("--sql", "SELECT 1", "--from", "2026-01-01"), 2, "go with --events"),
        (("--events", "--from", "2026-01-01"), 2, "give both of --from and --to"),
        (("--insight", "revenue", "--question", "{"), 2, "no JSON"),
        (("--sql", "SELECT\n1 FROM x"), 1, "line 2, column 8: there is no table 'x'"),
        (("--events", "--from", "2026-13-01", "--to", "2026-13-02"), 1, "are no days"),
        (("--sql", "SELECT CAST('x' AS INT64) AS a"), 1, "the export failed: "),
        (("--resume",), 1, "holds no export that was begun"),
    ],
)
def test_what_is_wrong_is_said_with_an_exit_code(address, tmp_path, words, code, message):
    done = run(address, "--out", tmp_path / "out", *words)
    assert done.exit_code == code, done.output
    assert message in done.output


def test_a_folder_with_other_things_is_left_alone(address, tmp_path):
    (tmp_path / "mine").write_text("x")
    done = run(address, "--sql", SQL, "--out", tmp_path)
    assert done.exit_code == 1
    assert "is not empty" in done.output


def test_no_server_and_no_project_are_3(address, tmp_path):
    done = run("http://127.0.0.1:1", "--sql", SQL, "--out", tmp_path / "a")
    assert done.exit_code == 3
    assert "no answer from http://127.0.0.1:1" in done.output
    words = ["export", "--server", address, "--project", "nobody", "--sql", "SELECT 1"]
    done = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "b")])
    assert done.exit_code == 3
    assert "There is no project 'nobody'" in done.output


def test_the_query_may_come_from_stdin_and_the_command_runs_by_itself(address, tmp_path):
    command = [
        sys.executable,
        "-m",
        "headwater",
        "export",
        "--server",
        address,
        "--project",
        "demo",
    ]
    done = subprocess.run(
        [*command, "--sql", "-", "--format", "jsonl", "--out", str(tmp_path / "out")],
        input=b"SELECT 1 AS one", capture_output=True, check=False, timeout=120,
        env={k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "query.jsonl").read_text()) == {"one": 1}
