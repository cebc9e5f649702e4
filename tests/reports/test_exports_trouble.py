"""Exports where something goes wrong: removed meanwhile, a full disk, long words, files gone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from reports.exports import making
from reports.exports.apart import Stream
from reports.exports.shelf import Job, Shelf
from reports.warehouse import execute
from reports.warehouse.files import WarehouseFiles
from reports.warehouse.views import TABLES
from tests.reports import exports_world, world
from tests.reports.exports_world import export
from tests.streams import DAY_US, NOON, event


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("exports")
    exports_world.fill(made)
    return made


@pytest.fixture
def client(directory: Path) -> FlaskClient:
    return exports_world.app(directory).test_client()


def test_one_that_is_removed_while_the_list_is_read_is_left_out(client, monkeypatch):
    kept, gone = (export(client, sql="SELECT 1 AS a", format="csv")["id"] for _ in range(2))
    read = Shelf.manifest

    def removed_meanwhile(self: Shelf, job: Job) -> dict[str, Any]:
        if job.id == gone:
            shutil.rmtree(self.path(job), ignore_errors=True)
        return read(self, job)

    monkeypatch.setattr(Shelf, "manifest", removed_meanwhile)
    answer = client.get("/p/demo/api/exports")
    assert answer.status_code == 200
    ids = [one["id"] for one in answer.get_json()["exports"]]
    assert kept in ids
    assert gone not in ids


def test_one_that_is_removed_while_it_is_shown_is_not_there(client, directory):
    gone = export(client, sql="SELECT 1 AS a", format="csv")["id"]
    shutil.rmtree(directory / "exports" / "demo" / gone / "files")
    assert client.get(f"/p/demo/api/exports/{gone}").status_code == 404


@pytest.mark.parametrize(
    "asked", [{"table": "events"}, {"sql": "SELECT event_id FROM events"}, {"kind": "stickiness"}]
)
def test_a_full_disk_is_named_and_not_tried_again(client, monkeypatch, asked):
    def full(engine: Any, *_: Any) -> None:
        engine.execute("COPY (SELECT range, hash(range) FROM range(1000000)) TO '/dev/full'")

    monkeypatch.setattr(making, "write", full)
    job = export(client, **asked)
    assert (job["state"], job["message"], job["attempts"]) == ("failed", "no room on the disk", 1)


def test_a_failure_with_a_long_text_does_not_block_its_process():
    asked = execute.Job("SELECT error(repeat('x', 300000))", (), (), (), {}, 200, 1, None)
    with Stream(asked, 20.0) as stream:
        assert stream.reader() is None or not list(stream.reader() or ())
        failure = stream.failure()
    assert failure is not None
    assert (failure.reason, len(failure.text)) == ("query", 8192)


@pytest.mark.parametrize("table", ["events", "dead_letters"])
def test_only_files_of_the_days_are_read(tmp_path, table):
    for day in range(4):
        at = NOON + day * DAY_US
        rows = [event(f"{day}-{n}", at, user_id="u1") for n in range(3)]
        world.archive(tmp_path, rows)
        world.refuse(tmp_path, [{"received_time": at} for _ in rows])
    world.settle(tmp_path)
    exports_world.catalogue(tmp_path)
    files = WarehouseFiles(f"{tmp_path}/archive").of(TABLES[table]).days
    for path, day in files.items():
        if day - NOON // DAY_US not in (0, 1):  # London's day is on two of UTC
            Path(path).unlink()  # whoever opened it would fail
    client = exports_world.app(tmp_path).test_client()
    job = export(client, table=table, dates="2026-09-22..2026-09-22", format="jsonl")
    assert (job["state"], job["rows"], job["message"]) == ("done", 3, "")
    if table == "events":
        assert job["manifest"]["left_out"] == {"duplicates": 0, "suppressed": 0}
