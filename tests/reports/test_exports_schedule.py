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
from reports.exports import due, schedules
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


def change(client: FlaskClient, known: str, **changed: Any) -> Any:
    asked = {"name": "All events", "export": {"table": "events", "format": "jsonl"},
             "to": "events", **changed}  # fmt: skip
    return client.put(f"/p/demo/api/exports/schedules/{known}", json=asked)


def put_back(directory: Path, next_at: int, **changed: Any) -> None:
    """As if all had been kept before then."""
    documents = Documents(catalogue(directory))
    for kept in documents.every(schedules.KIND):
        body = {**kept.body, "next_at": next_at, **changed}
        documents.put(kept.project, schedules.KIND, kept.name, body, known=kept.id)


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
    again = change(client, first["id"], at="07:30", name="Renamed").get_json()
    assert (again["id"], again["name"]) == (first["id"], "Renamed")
    assert again["next_at"].endswith(("T07:30:00+00:00", "T07:30:00+01:00"))
    assert change(client, "nobody").status_code == 404
    assert client.delete(f"/p/other/api/exports/schedules/{first['id']}").status_code == 404
    assert client.delete(f"/p/demo/api/exports/schedules/{first['id']}").status_code == 204
    assert client.delete(f"/p/demo/api/exports/schedules/{first['id']}").status_code == 404
    assert client.get("/p/demo/api/exports/schedules").get_json()["schedules"] == []


def test_a_name_that_is_taken_is_refused_and_nothing_is_replaced(client, directory):
    first, second = keep(client).get_json(), keep(client, name="Second").get_json()
    refused = keep(client, name=" All events ", export={"table": "sessions"}, to="elsewhere")
    assert refused.status_code == 409
    assert refused.get_json()["id"] == first["id"]
    assert "name='All events' is taken" in refused.get_json()["message"]
    assert change(client, second["id"], name="All events").status_code == 409
    listed = client.get("/p/demo/api/exports/schedules").get_json()["schedules"]
    assert [(one["name"], one["to"]) for one in listed] == [
        ("All events", "events"),
        ("Second", "events"),
    ]


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
    assert str(target(settings, "demo", f"{tmp_path}/a/y").path) == f"{tmp_path}/a/y/demo"  # type: ignore[attr-defined]
    bucket = target(settings, "demo", "gs://ours/exports/daily")
    assert (bucket.bucket, bucket.prefix) == ("ours", "exports/daily/demo")  # type: ignore[attr-defined]
    for other in ("gs://ours", "gs://ours/exportsX", "gs://ourselves/exports", f"{tmp_path}/ab"):
        with pytest.raises(ExportError, match="is not below"):
            target(settings, "demo", other)


def test_projects_that_export_to_the_same_place_do_not_take_each_others_for_theirs(
    client, directory
):
    shared = str(directory / "exported" / "shared")
    for project in ("demo", "other"):
        asked = {"name": "Events", "export": {"table": "events", "format": "jsonl"}, "to": shared}
        assert client.post(f"/p/{project}/api/exports/schedules", json=asked).status_code == 201
    put_back(directory, world.us(2026, 9, 22, 6))
    assert run(directory, 2026, 9, 22, 7) == 0
    for project in ("demo", "other"):
        at = directory / "exported/shared" / project / "events-2026-09-22" / "manifest.json"
        assert json.loads(at.read_text())["project"] == project


def test_two_schedules_of_one_folder_are_not_each_other(client, directory):
    keep(client, name="All events")
    keep(client, name="All, events!", export={"table": "sessions", "format": "jsonl"})
    put_back(directory, world.us(2026, 9, 22, 5))
    assert run(directory, 2026, 9, 22, 6) == 1
    listed = client.get("/p/demo/api/exports/schedules").get_json()["schedules"]
    assert sorted(one["last_state"] for one in listed) == ["done", "failed"]
    (failed,) = [one for one in listed if one["last_state"] == "failed"]
    assert "is another export: its name, what differ" in failed["last_said"]
    # What is there is the export that is wanted: it is done, whoever made it.
    put_back(directory, world.us(2026, 9, 22, 5), covered=None)
    run(directory, 2026, 9, 22, 7)
    listed = client.get("/p/demo/api/exports/schedules").get_json()["schedules"]
    assert sorted(one["last_state"] for one in listed) == ["done", "failed"]


@pytest.mark.parametrize("table", ["events", "sessions"])
def test_a_change_while_it_runs_is_not_undone(client, directory, monkeypatch, table):
    keep(client)
    put_back(directory, world.us(2026, 9, 22, 5))
    documents = Documents(catalogue(directory))
    make = due.made

    def changed_meanwhile(*given: Any) -> Any:
        (kept,) = documents.every(schedules.KIND)
        export = {"table": table, "format": "jsonl"}
        change(client, kept.id, at="07:30", every="week", export=export)
        return make(*given)

    monkeypatch.setattr(due, "made", changed_meanwhile)
    assert run(directory, 2026, 9, 22, 6) == 0
    (kept,) = documents.every(schedules.KIND)
    assert (kept.body["schedule"]["at"], kept.body["schedule"]["every"]) == ("07:30", "week")
    assert kept.body["next_at"] > world.us(2026, 9, 23)
    assert kept.body["last_state"] == "done"
    # What another export held says nothing of this one.
    assert kept.body["covered"] == ("2026-09-21" if table == "events" else None)
