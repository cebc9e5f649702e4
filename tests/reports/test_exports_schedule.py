"""Scheduled exports: made once, whole or not at all, no day missed or twice; where they may go."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from beam_pipelines.jobs.schedule import SCHEDULE
from catalog.documents import Documents
from headwater.manifest import problems
from reports.exports import schedules
from reports.exports.asked import ExportError
from reports.exports.due import run_due
from reports.exports.targets import target
from reports.exports.work import environment
from tests.reports import exports_world, world
from tests.reports.exports_world import catalogue


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    exports_world.fill(tmp_path)
    for name, value in environment(world.settings(tmp_path)).items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.fixture
def client(directory: Path) -> FlaskClient:
    return exports_world.app(directory).test_client()


def keep(client: FlaskClient, **changed: Any) -> Any:
    asked = {
        "name": "All events", "export": {"table": "events", "format": "jsonl"},
        "every": "day", "at": "06:00", "to": "events", **changed,
    }  # fmt: skip
    return client.post("/p/demo/api/exports/schedules", json=asked)


def put_back(directory: Path, next_at: int) -> None:
    """As if it had been kept before then."""
    documents = Documents(catalogue(directory))
    (kept,) = documents.every(schedules.KIND)
    documents.put(
        "demo", schedules.KIND, kept.name, {**kept.body, "next_at": next_at}, known=kept.id
    )


def run(directory: Path, *at: int) -> int:
    return run_due(world.settings(directory), world.us(*at))


def made(directory: Path) -> dict[str, dict[str, Any]]:
    below = directory / "exported" / "demo" / "events"
    found = {}
    for path in sorted(below.iterdir()):
        assert list(problems(path)) == []
        found[path.name] = json.loads((path / "manifest.json").read_text())
    return found


def test_each_day_is_exported_once_and_missed_runs_are_caught_up_once(client, directory):
    assert keep(client).status_code == 201
    put_back(directory, world.us(2026, 9, 22, 5))  # 06:00 in London
    assert run(directory, 2026, 9, 22, 4) == 0
    assert not (directory / "exported").exists()
    assert run(directory, 2026, 9, 22, 5, 1) == 0
    assert run(directory, 2026, 9, 22, 5, 2) == 0  # not again
    assert list(made(directory)) == ["all-events-2026-09-22"]
    assert run(directory, 2026, 9, 25, 12) == 0  # nothing ran for three days
    found = made(directory)
    assert list(found) == ["all-events-2026-09-22", "all-events-2026-09-25"]
    assert found["all-events-2026-09-22"]["what"]["dates"] == "2026-09-21..2026-09-21"
    assert found["all-events-2026-09-25"]["what"]["dates"] == "2026-09-22..2026-09-24"
    ids = [
        json.loads(line)["event_id"]
        for name in found
        for line in (directory / "exported/demo/events" / name / "events.jsonl")
        .read_text()
        .splitlines()
    ]
    assert len(ids) == len(set(ids))
    listed = client.get("/p/demo/api/exports/schedules").get_json()["schedules"]
    assert listed[0]["last_state"] == "done"
    assert listed[0]["next_at"] == "2026-09-26T06:00:00+01:00"
    assert listed[0]["last_said"].endswith("/all-events-2026-09-25")


def test_one_that_was_cut_off_leaves_nothing_half_and_is_made_again(client, directory):
    keep(client)
    put_back(directory, world.us(2026, 9, 22, 5))
    half = directory / "exported" / "demo" / "events" / ".all-events-2026-09-22.dead"
    half.mkdir(parents=True)
    (half / "events.jsonl").write_text("{")
    assert run(directory, 2026, 9, 22, 6) == 0
    assert [path.name for path in half.parent.iterdir()] == ["all-events-2026-09-22"]
    assert list(made(directory)) == ["all-events-2026-09-22"]


def test_one_that_fails_says_why_is_tried_again_and_misses_no_day(client, directory):
    keep(client)
    put_back(directory, world.us(2026, 9, 22, 5))
    blocked = directory / "exported"
    blocked.write_text("a file where a folder should be")
    assert run(directory, 2026, 9, 22, 5, 1) == 1
    listed = client.get("/p/demo/api/exports/schedules").get_json()["schedules"]
    assert listed[0]["last_state"] == "failed"
    assert listed[0]["last_said"]
    blocked.unlink()
    assert run(directory, 2026, 9, 22, 5, 5) == 0  # not yet again
    assert not blocked.exists()
    assert run(directory, 2026, 9, 22, 5, 12) == 0
    assert made(directory)["all-events-2026-09-22"]["what"]["dates"] == "2026-09-21..2026-09-21"


def test_a_query_each_monday(client, directory):
    export = {"sql": "SELECT COUNT(*) AS n FROM events", "format": "csv"}
    keep(client, name="Count", export=export, every="week")
    put_back(directory, world.us(2026, 9, 28, 5))
    assert run(directory, 2026, 9, 30, 12) == 0
    found = made(directory)
    assert list(found) == ["count-2026-09-28"]
    text = (directory / "exported/demo/events/count-2026-09-28/query.csv").read_text()
    assert text.split() == ["n", "42"]


def test_the_command_that_the_schedule_of_jobs_starts(client, directory):
    (entry,) = [entry for entry in SCHEDULE if entry.job == "exports"]
    settings = world.settings(directory)
    assert not entry.due(settings)
    keep(client)
    assert not entry.due(settings)
    put_back(directory, world.us(2026, 9, 22, 5))
    assert entry.due(settings)
    done = subprocess.run(entry.command(["--ignored"]), env=os.environ, check=False, timeout=120)
    assert done.returncode == 0
    assert entry.command([])[:2] == [sys.executable, "-m"]
    assert len(made(directory)) == 1
    assert not entry.due(settings)


def test_a_schedule_can_be_changed_and_removed(client, directory):
    first = keep(client).get_json()
    again = keep(client, at="07:30").get_json()
    assert again["id"] == first["id"]
    assert again["next_at"].endswith(("T07:30:00+00:00", "T07:30:00+01:00"))
    assert client.delete(f"/p/other/api/exports/schedules/{first['id']}").status_code == 404
    assert client.delete(f"/p/demo/api/exports/schedules/{first['id']}").status_code == 204
    assert client.delete(f"/p/demo/api/exports/schedules/{first['id']}").status_code == 404
    assert client.get("/p/demo/api/exports/schedules").get_json()["schedules"] == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"to": "../../etc"}, "to='../../etc' names no place"),
        ({"to": "/etc"}, "is not below"),
        ({"to": ""}, "names no place"),
        ({"to": "gs://anybodys/bucket"}, "is not below"),
        ({"at": "24:00"}, "at"),
        ({"every": "hour"}, "every"),
        ({"name": ""}, "name"),
        ({"export": {"sql": "DROP TABLE events"}}, "DROP is not allowed"),
        ({"export": {"table": "events", "dates": "soon"}}, "are no days"),
        ({"more": 1}, "more"),
    ],
)
def test_a_schedule_that_cannot_be_kept_says_why(client, changed, message):
    answer = keep(client, **changed)
    assert answer.status_code == 400
    assert message in answer.get_json()["message"]


def test_a_link_does_not_lead_out_of_the_folder(tmp_path):
    (tmp_path / "exported" / "demo").mkdir(parents=True)
    (tmp_path / "exported" / "demo" / "out").symlink_to("/etc")
    with pytest.raises(ExportError, match="is not below"):
        target(world.settings(tmp_path), "demo", "out/there")


def test_folders_and_buckets_that_the_settings_allow(tmp_path):
    settings = world.settings(tmp_path, export_to=f"{tmp_path}/a, gs://ours/exports")
    assert str(target(settings, "demo", "x").path) == f"{tmp_path}/a/demo/x"  # type: ignore[attr-defined]
    assert str(target(settings, "demo", f"{tmp_path}/a/y").path) == f"{tmp_path}/a/y"  # type: ignore[attr-defined]
    bucket = target(settings, "demo", "gs://ours/exports/daily")
    assert (bucket.bucket, bucket.prefix) == ("ours", "exports/daily")  # type: ignore[attr-defined]
    for other in ("gs://ours", "gs://ours/exportsX", "gs://ourselves/exports", f"{tmp_path}/ab"):
        with pytest.raises(ExportError, match="is not below"):
            target(settings, "demo", other)
