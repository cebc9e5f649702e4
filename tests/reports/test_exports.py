"""Exports over HTTP with the real worker process: whole, downloadable, cancelled, taken over."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from flask.testing import FlaskClient

from reports.exports.asked import Asked
from reports.exports.work import environment, see_to_it, slots_of
from reports.warehouse.slots import NoRoom
from tests.reports import exports_world, world
from tests.reports.exports_world import EVIL, download, ended, export, lines_of, shelf
from tests.streams import NOON

LONG = "SELECT a.event_id FROM events a, events b, events c, events d, events e"  # 130 M rows


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("exports")
    exports_world.fill(made)
    return made


@pytest.fixture
def client(directory: Path) -> FlaskClient:
    return exports_world.app(directory).test_client()


@pytest.fixture
def apart(directory: Path) -> FlaskClient:
    """Exports are made by a process of their own."""
    return exports_world.app(directory, apart=True).test_client()


def test_a_query_is_exported_whole_with_its_manifest(client):
    sql = "SELECT name, COUNT(*) AS n FROM events GROUP BY name ORDER BY n DESC, name"
    job = export(client, sql=sql, format="csv", name="By name!")
    assert (job["state"], job["title"], job["rows"]) == ("done", "By name!", 3)
    assert job["files"][0]["name"] == "by-name.csv"
    data = download(client, job)
    assert list(csv.reader(io.StringIO(data.decode(), newline=""))) == [
        ["name", "n"], ["view", "39"], ["Order Completed", "2"], [f"'{EVIL}", "1"],
    ]  # fmt: skip
    manifest = json.loads(download(client, job, 1))
    assert manifest == job["manifest"]
    assert manifest["what"] == {"sql": sql}
    assert manifest["files"] == [
        {"name": "by-name.csv", "rows": 3, "bytes": len(data),
         "sha256": hashlib.sha256(data).hexdigest()}
    ]  # fmt: skip
    assert (manifest["rows"], manifest["bytes"]) == (3, len(data))
    assert manifest["status"] == "exact"
    assert manifest["as_of"].startswith("20")
    assert manifest["complete_until"] is not None
    assert "an apostrophe stands before" in manifest["format_options"]["formulas"]
    sums = download(client, job, 2).decode()
    assert sums == f"{manifest['files'][0]['sha256']}  by-name.csv\n"


def test_more_rows_than_the_page_may_show_are_all_there(directory):
    small = exports_world.app(directory, sql_max_rows=5).test_client()
    sql = "SELECT event_id FROM events ORDER BY event_id"
    assert small.post("/p/demo/api/sql", json={"sql": sql}).get_json()["truncated"]
    job = export(small, sql=sql, format="jsonl")
    found = [row["event_id"] for row in lines_of(download(small, job))]
    assert len(found) == 42
    assert found == sorted(found)


def test_parameters_are_bound(client):
    sql = "SELECT event_id FROM events WHERE event_id = @id"
    job = export(client, sql=sql, parameters={"id": "e3' OR '1'='1"}, format="jsonl")
    assert (job["state"], job["rows"]) == ("done", 0)
    job = export(client, sql=sql, parameters={"id": "e3"}, format="jsonl")
    assert lines_of(download(client, job)) == [{"event_id": "e3"}]


def test_events_are_exported_once_each_and_only_ones_own(client):
    job = export(client, table="events", format="jsonl")
    rows = lines_of(download(client, job))
    assert len(rows) == job["rows"] == 42
    assert {row["project"] for row in rows} == {"demo"}
    properties = {f"e{n}": {"n": n, "price": 1.10} for n in range(40)}
    assert {row["event_id"]: row["properties"] for row in rows} == {
        **properties, "o1": None, "o2": None
    }  # fmt: skip
    assert job["manifest"]["left_out"] == {"duplicates": 6, "suppressed": 0}
    assert job["files"][0]["name"] == "events.jsonl"


def test_days_are_those_of_the_zone_and_columns_those_asked_for(client):
    day = "2026-09-22"  # NOON and the twelve hours after it, and the day after
    job = export(client, table="events", dates=f"{day}..{day}", format="parquet",
                 columns=["event_id", "event_time"])  # fmt: skip
    path = shelf(Path(client.application.extensions["exports"].settings.data_dir)).directory
    found = pq.read_table(path / "demo" / job["id"] / "files" / "events.parquet")
    assert found.column_names == ["event_id", "event_time"]
    start, end = world.us(2026, 9, 21, 23), world.us(2026, 9, 22, 23)
    times = [t.timestamp() * 1e6 for t in found["event_time"].to_pylist()]
    assert times
    assert all(start <= at < end for at in times)


@pytest.mark.parametrize("format_", ["csv", "json", "jsonl", "parquet"])
def test_an_answer_to_a_question(client, format_):
    question = {"dates": "2026-09-01..2026-10-31", "by": "month"}
    job = export(client, kind="revenue", question=question, format=format_)
    assert (job["state"], job["rows"]) == ("done", 2)
    columns = {column["name"]: column for column in job["manifest"]["columns"]}
    assert columns["net"]["unit"] == "money"
    if format_ == "json":
        found = json.loads(download(client, job))
        assert sum(row["net"] for row in found) == 2499


def test_people_are_exported_as_a_query_without_a_cap(directory):
    small = exports_world.app(directory, sql_max_rows=2).test_client()
    job = export(small, sql="SELECT * FROM people", format="jsonl")
    found = lines_of(download(small, job))
    assert [row["person"] for row in found if row["person"]] == [*dict.fromkeys(
        row["person"] for row in found)]  # fmt: skip
    assert len(found) > 2
    assert {"u0", "u1", "u2", "u3"} <= {row["person"] for row in found}
    assert {column["name"] for column in job["manifest"]["columns"]} >= {"person", "traits"}


def test_a_download_goes_on_where_it_broke_off(client):
    job = export(client, table="events", format="csv")
    url, whole = job["files"][0]["url"], download(client, job)
    first = client.get(url, buffered=True)
    etag = first.headers["ETag"]
    assert etag == f'"{job["files"][0]["sha256"]}"'
    assert int(first.headers["Content-Length"]) == len(whole)
    assert "attachment" in first.headers["Content-Disposition"]
    rest = client.get(url, headers={"Range": "bytes=100-", "If-Range": etag}, buffered=True)
    assert rest.status_code == 206
    assert rest.headers["Content-Range"] == f"bytes 100-{len(whole) - 1}/{len(whole)}"
    assert whole[:100] + rest.data == whole
    other = client.get(url, headers={"Range": "bytes=100-", "If-Range": '"another"'}, buffered=True)
    assert (other.status_code, other.data) == (200, whole)
    assert client.get(url, headers={"If-None-Match": etag}, buffered=True).status_code == 304
    past = {"Range": f"bytes={len(whole)}-"}
    assert client.get(url, headers=past, buffered=True).status_code == 416


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "give one of sql, kind and table"),
        ({"sql": "SELECT 1", "table": "events"}, "there is sql and table"),
        ({"sql": "DROP TABLE events"}, "DROP is not allowed"),
        ({"sql": "SELECT nme FROM nothing"}, "there is no table 'nothing'"),
        ({"sql": "SELECT 1", "format": "xlsx"}, "format"),
        ({"sql": "SELECT 1", "dates": "today"}, "dates and columns go with table"),
        ({"sql": "SELECT 1", "format": "json", "raw": True}, "raw goes with format csv"),
        ({"table": "passwords"}, "table='passwords' is none of events"),
        ({"table": "events", "dates": "1 May"}, "dates='1 May' are no days"),
        ({"table": "events", "columns": ["a\"; --"]}, "columns: "),
        ({"kind": "nonsense"}, "kind='nonsense' is none of"),
        ({"kind": "revenue", "question": {"by": 3}}, "by"),
        ({"sql": 3}, "sql"),
        ({"sql": "SELECT @a", "parameters": {"a": {}}}, "parameter"),
        ({"path": "/etc/passwd", "sql": "SELECT 1"}, "path"),
        ({"table": "events", "name": "x" * 201}, "name="),
    ],
)  # fmt: skip
def test_what_cannot_be_exported_says_why(client, asked, message):
    answer = client.post("/p/demo/api/exports", json=asked)
    assert answer.status_code == 400
    assert message in answer.get_json()["message"]


def test_an_error_in_sql_has_its_place(client):
    answer = client.post("/p/demo/api/exports", json={"sql": "SELECT 1\nFROM nothing"})
    assert (answer.get_json()["line"], answer.get_json()["column"]) == (2, 6)


def test_a_query_that_fails_says_so(client):
    job = export(client, sql="SELECT CAST('x' AS INT64) AS a FROM events", format="csv")
    assert job["state"] == "failed"
    assert "Could not convert" in job["message"]
    assert job["files"] == []


def test_a_query_that_takes_too_long_is_stopped(directory):
    slow = exports_world.app(directory, export_timeout_s=2).test_client()
    job = export(slow, sql=LONG, format="csv")
    assert job["state"] == "failed"
    assert "stopped after 2 s (HEADWATER_EXPORT_TIMEOUT_S)" in job["message"]


def test_a_query_that_needs_too_much_memory_is_stopped(directory):
    small = exports_world.app(directory, sql_memory_mb=300).test_client()
    job = export(small, sql="SELECT REPEAT(event_id, 1000000000) AS a FROM events", format="csv")
    assert job["state"] == "failed"
    assert "needs more than 300 MB" in job["message"]


def running(client: FlaskClient, **asked: Any) -> dict[str, Any]:
    """An export that has begun to write rows."""
    id_ = client.post("/p/demo/api/exports", json=asked).get_json()["id"]
    until = time.monotonic() + 100
    while time.monotonic() < until:
        job: dict[str, Any] = client.get(f"/p/demo/api/exports/{id_}").get_json()
        if job["state"] == "running" and job["rows"]:
            return job
        time.sleep(0.1)
    raise AssertionError(job)


def test_one_that_runs_shows_progress_and_can_be_cancelled(apart):
    client, job = apart, running(apart, sql=LONG, format="csv")
    time.sleep(0.6)
    later = client.get(f"/p/demo/api/exports/{job['id']}").get_json()
    assert later["rows"] > job["rows"] > 0
    assert later["bytes"] > 0
    assert client.post(f"/p/demo/api/exports/{job['id']}/cancel").status_code == 200
    started = time.monotonic()
    assert ended(client, job["id"])["state"] == "cancelled"
    assert time.monotonic() - started < 20
    assert client.get(f"/p/demo/api/exports/{job['id']}/files/query.csv").status_code == 404


def test_removing_one_that_runs_stops_it(apart, directory):
    client, job = apart, running(apart, sql=LONG, format="csv")
    assert client.delete(f"/p/demo/api/exports/{job['id']}").status_code == 204
    assert client.get(f"/p/demo/api/exports/{job['id']}").status_code == 404
    assert not (directory / "exports" / "demo" / job["id"]).exists()


def test_a_job_whose_process_was_killed_is_taken_over(tmp_path):
    exports_world.fill(tmp_path)
    settings = world.settings(tmp_path)
    kept = shelf(tmp_path)
    job = kept.add("demo", {"sql": LONG, "format": "csv"}, "me")
    worker = subprocess.Popen(
        [sys.executable, "-m", "reports.exports.work"], env=environment(settings)
    )
    until = time.monotonic() + 100
    while not (now := kept.get("demo", job.id)).rows and time.monotonic() < until:
        time.sleep(0.05)
    assert now.state == "running"
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    assert [one.id for one in kept.open_jobs()] == [job.id]
    # The next to look at the list has it taken over; then it is what it should be.
    kept.put(replace(kept.get("demo", job.id), asked={"sql": "SELECT 1 AS a", "format": "csv"}))
    client = exports_world.app(tmp_path, apart=True).test_client()
    client.get("/p/demo/api/exports")
    found = ended(client, job.id)
    assert (found["state"], found["rows"], found["attempts"]) == ("done", 1, 2)


def test_a_job_whose_process_ends_every_time_fails(tmp_path):
    exports_world.fill(tmp_path)
    kept = shelf(tmp_path)
    job = kept.add("demo", {"sql": "SELECT 1 AS a", "format": "csv"}, "me")
    kept.put(replace(job, state="running", attempts=3))
    client = exports_world.app(tmp_path).test_client()
    client.get("/p/demo/api/exports")
    found = ended(client, job.id)
    assert found["state"] == "failed"
    assert "its process ended 3 times" in found["message"]


def test_each_job_runs_once_however_many_processes_there_are(tmp_path):
    exports_world.fill(tmp_path)
    settings = world.settings(tmp_path, exports_at_once=3)
    kept = shelf(tmp_path)
    jobs = [kept.add("demo", {"sql": f"SELECT {n} AS a", "format": "csv"}, "me") for n in range(4)]
    command = [sys.executable, "-m", "reports.exports.work"]
    workers = [subprocess.Popen(command, env=environment(settings)) for _ in range(3)]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    found = [kept.get("demo", job.id) for job in jobs]
    assert [(job.state, job.attempts, job.rows) for job in found] == [("done", 1, 1)] * 4


def test_looking_again_and_again_starts_one_process_for_each_place(tmp_path):
    exports_world.fill(tmp_path)
    settings = world.settings(tmp_path, exports_at_once=1)
    kept = shelf(tmp_path)
    job = kept.add("demo", {"sql": "SELECT 1 AS a", "format": "csv"}, "me")
    for _ in range(5):
        see_to_it(settings)
        with pytest.raises(NoRoom):  # taken at once, not when the process has begun
            slots_of(settings).take(None, 0)
    until = time.monotonic() + 100
    while kept.get("demo", job.id).state != "done" and time.monotonic() < until:
        time.sleep(0.1)
    slots_of(settings).take(None, 60).give_back()  # and given back with its end
    assert kept.get("demo", job.id).attempts == 1


def test_exports_expire(tmp_path):
    exports_world.fill(tmp_path)
    kept = shelf(tmp_path)
    old = kept.add("demo", {"sql": "SELECT 1", "format": "csv"}, "me")
    new = kept.add("demo", {"sql": "SELECT 2", "format": "csv"}, "me")
    kept.put(replace(old, state="done", expires_at=1))
    kept.put(replace(new, state="failed"))
    client = exports_world.app(tmp_path).test_client()
    listed = client.get("/p/demo/api/exports").get_json()["exports"]
    assert [one["id"] for one in listed] == [new.id]
    assert not kept.path(old).exists()


def test_nobody_sees_the_exports_of_another_project(client):
    job = export(client, sql="SELECT 1 AS a", format="csv")
    url = f"/p/other/api/exports/{job['id']}"
    for address in (url, f"{url}/files/query.csv"):
        assert client.get(address).status_code == 404
    assert client.post(f"{url}/cancel").status_code == 404
    assert client.delete(url).status_code == 404
    assert client.get("/p/other/api/exports").get_json()["exports"] == []


@pytest.mark.parametrize("name", ["../job.json", "job.json", "..%2Fjob.json", "/etc/passwd", "x"])
def test_only_files_of_the_manifest_can_be_had(client, name):
    job = export(client, sql="SELECT 1 AS a", format="csv")
    assert client.get(f"/p/demo/api/exports/{job['id']}/files/{name}").status_code in (404, 308)


@pytest.mark.parametrize("id_", ["x", "..", "0" * 24, "%2e%2e", "A" * 24])
def test_an_export_that_is_not_there(client, id_):
    assert client.get(f"/p/demo/api/exports/{id_}").status_code == 404


def test_titles_say_what_it_is():
    assert Asked(sql="SELECT 1\nFROM x").title == "SELECT 1"
    assert Asked(kind="revenue").stem == "revenue"
    assert Asked(sql="SELECT 1", name="=Ümläut/../x").stem == "ml-ut-x"
    assert Asked(sql="SELECT 1").stem == "query"


def test_noon_is_where_this_file_thinks():
    assert world.us(2026, 9, 21, 12) == NOON
