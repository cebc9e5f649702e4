"""Queries as jobs: progress, pages, cancelling from anywhere, limits, what dies and expires."""

from __future__ import annotations

import json
import multiprocessing
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient

from reports.query import processes
from reports.query.jobs import KEPT, KEPT_S, Job
from tests.reports import world
from tests.streams import NOON, event
from tests.system import wait_for

ENDLESS = "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT COUNT(*) FROM r"
# Over plain files, of which the engine knows how far it is.
LONG = """SELECT COUNT(*) AS n FROM daily AS a, daily AS b, daily AS c
WHERE CONCAT(a.metric, b.dimensions) > CONCAT(c.dimensions, b.metric)"""
API = "/p/demo/api/sql/jobs"


def many_numbers(directory: Path) -> None:
    """Enough for LONG to take minutes."""
    numbers = [("events", json.dumps({"name": str(n)}), n, None) for n in range(2000)]
    world.count_day(directory, date(2026, 9, 21), *numbers)


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    world.archive(tmp_path, [event(f"e{n}", NOON + n) for n in range(2500)])
    return world.app(tmp_path, sql_timeout_s=250).test_client()


def start(client: FlaskClient, sql: str, **parameters: Any) -> Any:
    answer = client.post(API, json={"sql": sql, "parameters": parameters})
    assert answer.status_code == 202, answer.get_json()
    return answer.get_json()


def look(client: FlaskClient, job: Any) -> Any:
    answer = client.get(f"{API}/{job['id']}")
    assert answer.status_code == 200
    return answer.get_json()


def ended(client: FlaskClient, job: Any) -> Any:
    def state() -> Any:
        found = look(client, job)
        return found if found["state"] != "running" else None

    return wait_for(state, seconds=30, what="the end of the query")


def child_of(client: FlaskClient, job: Any) -> int:
    """Process id of the query's own process, once it has one."""
    directory = Path(client.application.extensions["reports"].live_path).parent

    def pid() -> int | None:
        path = directory / "queries" / "jobs" / "demo" / job["id"] / "job.json"
        found = json.loads(path.read_bytes())["child"]
        return int(found[0]) if found else None

    found = wait_for(pid, seconds=20, what="the query's process")
    assert found is not None
    return found


def test_a_query_gives_its_rows_page_by_page(client: FlaskClient) -> None:
    job = start(client, "SELECT event_id, revenue_minor FROM events ORDER BY event_id")
    assert job["state"] == "running"
    done = ended(client, job)
    assert (done["state"], done["rows"], done["pages"], done["progress"]) == ("done", 2500, 3, 1.0)
    assert (done["columns"], done["types"]) == (["event_id", "revenue_minor"], ["STRING", "INT64"])
    assert done["status"] == "exact"
    assert done["as_of"]
    pages = [client.get(f"{API}/{job['id']}/rows?page={n}").get_json()["rows"] for n in range(3)]
    assert [len(page) for page in pages] == [1000, 1000, 500]
    assert [row for page in pages for row in page] == [
        [name, None] for name in sorted(f"e{n}" for n in range(2500))
    ]
    for page, status in (("3", 404), ("-1", 400), ("x", 400), ("9" * 40, 400)):
        assert client.get(f"{API}/{job['id']}/rows?page={page}").status_code == status


def test_an_answer_without_rows_has_one_empty_page(client: FlaskClient) -> None:
    job = ended(client, start(client, "SELECT name FROM events WHERE name = @x", x="none"))
    assert (job["state"], job["rows"], job["pages"]) == ("done", 0, 0)
    assert client.get(f"{API}/{job['id']}/rows").get_json() == {"rows": []}
    assert client.get(f"{API}/{job['id']}/result.csv").text == "name\r\n"


def test_what_cannot_run_is_refused_at_once_and_what_fails_says_where(client: FlaskClient) -> None:
    for sql, text in (("DROP TABLE events", "DROP is not"), ("SELECT @x", "@x has no value"),
                      ("", "no query")):  # fmt: skip
        refused = client.post(API, json={"sql": sql})
        assert refused.status_code == 400
        assert text in refused.get_json()["message"]
    job = ended(client, start(client, "SELECT name,\n  nme FROM events"))
    assert (job["state"], job["line"], job["column"]) == ("failed", 2, 3)
    assert '"nme"' in job["message"]
    assert client.get(f"{API}/{job['id']}/rows").status_code == 409


def test_progress_is_told_while_it_runs_and_cancel_ends_its_process(
    client: FlaskClient, tmp_path: Path
) -> None:
    many_numbers(tmp_path)
    job = start(client, LONG)
    pid = child_of(client, job)

    def tells() -> Any:
        now = look(client, job)
        return None if now["progress"] is None else now

    found = wait_for(tells, seconds=20, what="progress")
    assert 0 <= found["progress"] <= 1
    assert (found["state"], found["message"]) == ("running", None)
    assert found["seconds"] > 0
    cancelled = client.delete(f"{API}/{job['id']}")
    assert (cancelled.status_code, cancelled.get_json()["state"]) == (200, "cancelled")
    assert processes.started(pid) is None
    assert client.delete(f"{API}/{job['id']}").status_code == 204
    assert client.get(f"{API}/{job['id']}").status_code == 404


def test_any_process_can_look_and_cancel(client: FlaskClient, tmp_path: Path) -> None:
    job = start(client, ENDLESS)
    pid = child_of(client, job)
    program = f"""
import os
from pathlib import Path
from tests.reports import world
client = world.app(Path({str(tmp_path)!r})).test_client()
before = client.get("{API}/{job["id"]}").get_json()["state"]
print(before, client.delete("{API}/{job["id"]}").get_json()["state"], flush=True)
os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "running cancelled", done.stderr
    assert processes.started(pid) is None
    assert look(client, job)["state"] == "cancelled"


def test_a_job_whose_server_was_killed_has_failed(client: FlaskClient, tmp_path: Path) -> None:
    program = f"""
import sys, time
from pathlib import Path
from tests.reports import world
client = world.app(Path({str(tmp_path)!r})).test_client()
print(client.post("{API}", json={{"sql": {ENDLESS!r}}}).get_json()["id"], flush=True)
time.sleep(200)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        job = {"id": server.stdout.readline().decode().strip()}
        assert look(client, job)["state"] == "running"
        pid = child_of(client, job)
        server.kill()
    found = look(client, job)
    assert (found["state"], found["message"]) == (
        "failed", "the process that ran it ended; run it again"
    )  # fmt: skip
    wait_for(lambda: processes.started(pid) is None, seconds=10, what="the end of its process")


def test_one_person_and_all_together_run_only_so_many(tmp_path: Path) -> None:
    world.archive(tmp_path, [event("e", NOON)])
    client = world.app(tmp_path, sql_per_user=1, sql_at_once=2).test_client()
    first = start(client, ENDLESS)
    second = client.post(API, json={"sql": "SELECT 1"})
    assert (second.status_code, second.headers["Retry-After"]) == (429, "1")
    assert "1 queries of yours are running" in second.get_json()["message"]
    now = client.post("/p/demo/api/sql", json={"sql": "SELECT 1"})
    assert now.status_code == 429
    # Others, and pages that ask for nobody in particular, still find a place.
    warehouse = client.application.extensions["reports"].warehouse
    assert warehouse.ask("demo", "SELECT 1", user="ann").rows == [(1,)]
    assert warehouse.ask("demo", "SELECT 1").rows == [(1,)]
    client.delete(f"{API}/{first['id']}")
    assert ended(client, start(client, "SELECT 1"))["state"] == "done"


def _hold(directory: str, ready: Any) -> None:
    warehouse = world.app(Path(directory), sql_at_once=1).extensions["reports"].warehouse
    held = warehouse.slot("bob")
    ready.set()
    time.sleep(200)
    held.give_back()


def test_a_place_of_a_process_that_died_is_free(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(str(tmp_path), ready))
    holder.start()
    assert ready.wait(120)
    client = world.app(tmp_path, sql_at_once=1).test_client()
    assert client.post(API, json={"sql": "SELECT 1"}).status_code == 429
    holder.kill()
    holder.join()
    assert ended(client, start(client, "SELECT 1"))["state"] == "done"


def test_results_expire_and_the_oldest_make_room(client: FlaskClient, tmp_path: Path) -> None:
    directory = tmp_path / "queries" / "jobs" / "demo"
    job = ended(client, start(client, "SELECT 1"))
    path = directory / job["id"] / "job.json"
    held = msgspec.json.decode(path.read_bytes(), type=Job)
    assert held.ended is not None
    held.ended -= KEPT_S - 100
    path.write_bytes(msgspec.json.encode(held))
    assert look(client, job)["state"] == "done"
    held.ended -= 101
    path.write_bytes(msgspec.json.encode(held))
    assert client.get(f"{API}/{job['id']}").status_code == 404
    for n in range(KEPT + 5):
        other = directory / f"{n:022d}"
        other.mkdir()
        old = msgspec.structs.replace(held, id=other.name, ended=time.time() - n)
        (other / "job.json").write_bytes(msgspec.json.encode(old))
    newest = start(client, "SELECT 1")
    left = {found.name for found in directory.iterdir()}
    assert left == {newest["id"], *(f"{n:022d}" for n in range(KEPT))}
    ended(client, newest)


def test_old_results_of_a_quiet_project_go_too(client: FlaskClient, tmp_path: Path) -> None:
    directory = tmp_path / "queries" / "jobs"
    job = ended(client, start(client, "SELECT 1"))
    held = msgspec.json.decode((directory / "demo" / job["id"] / "job.json").read_bytes(), type=Job)
    assert held.ended is not None

    def left_behind() -> Path:
        old = msgspec.structs.replace(held, project="other", ended=held.ended - KEPT_S - 1)
        place = directory / "other" / ("o" * 22)
        place.mkdir(parents=True)
        (place / "job.json").write_bytes(msgspec.json.encode(old))
        return place

    place = left_behind()
    ended(client, start(client, "SELECT 1"))
    assert not place.exists()
    place = left_behind()
    world.app(tmp_path)  # as it starts
    assert not place.exists()
    assert look(client, job)["state"] == "done"


@pytest.mark.parametrize("name", ["x", "../demo", "%2e%2e", "a" * 22, "..%2f..%2fcatalog.db"])
def test_what_is_no_job_is_not_there(client: FlaskClient, name: str) -> None:
    for path in (name, f"{name}/rows", f"{name}/result.csv"):
        assert client.get(f"{API}/{path}").status_code == 404
    assert client.delete(f"{API}/{name}").status_code == 404


def test_a_job_is_of_its_project(client: FlaskClient) -> None:
    job = ended(client, start(client, "SELECT 1"))
    assert client.get(f"/p/other/api/sql/jobs/{job['id']}").status_code == 404
    assert client.get(f"/p/other/api/sql/jobs/{job['id']}/result.json").status_code == 404


def test_files_of_the_result(client: FlaskClient) -> None:
    sql = """
    SELECT '=1+1' AS f, 'a "b"' AS f, -5 AS n, '-5' AS t, [1, 2] AS l, NULL AS z, TRUE AS b,
      'x\\ny' AS two
    """
    job = ended(client, start(client, sql))
    csv = client.get(f"{API}/{job['id']}/result.csv")
    assert csv.headers["Content-Disposition"] == "attachment; filename=result.csv"
    assert csv.data.decode() == (
        "f,f,n,t,l,z,b,two\r\n"
        '\'=1+1,"a ""b""",-5,-5,"[1, 2]",,true,"x\ny"\r\n'
    )  # fmt: skip
    rows = client.get(f"{API}/{job['id']}/result.json").get_json()["rows"]
    assert rows[0]["n"] == -5
    assert list(rows[0].values()) == ["=1+1", 'a "b"', -5, "-5", [1, 2], None, True, "x\ny"]


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_only_the_process_that_was_meant_is_ended(sleeper: subprocess.Popen[bytes]) -> None:
    since = processes.started(sleeper.pid)
    assert since is not None
    assert not processes.end(sleeper.pid, since - 1)
    assert processes.is_alive(sleeper.pid, since)
    assert processes.end(sleeper.pid, since)
    assert sleeper.wait(10) == -signal.SIGKILL
    assert not processes.end(sleeper.pid, since)
