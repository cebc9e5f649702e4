"""Queries as jobs on real report servers: whichever worker is asked knows all of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from reports.query import processes
from tests.reports import world
from tests.reports.test_query_jobs import ENDLESS
from tests.streams import NOON, event
from tests.system import ROOT, System, wait_for

pytestmark = pytest.mark.journey
ASKED = 24  # each by a connection of its own: both workers get some


def test_both_workers_tell_and_cancel_and_the_command_line_asks(tmp_path: Path) -> None:
    world.catalogue(tmp_path)
    world.archive(tmp_path, [event(f"e{n}", NOON + n) for n in range(2500)])
    with System(tmp_path, reports_workers=2, sql_timeout_s=200, sql_at_once=2) as system:
        system.start_reports()
        api = f"{system.reports}/p/demo/api/sql/jobs"

        def ask(method: str, path: str = "", **more: Any) -> Any:
            answer = httpx.request(method, f"{api}{path}", timeout=30, trust_env=False, **more)
            return answer.status_code, answer.json()

        def states(job: str) -> set[str]:
            return {ask("GET", f"/{job}")[1]["state"] for _ in range(ASKED)}

        first = ask("POST", json={"sql": ENDLESS})[1]["id"]
        second = ask("POST", json={"sql": ENDLESS})[1]["id"]
        for _ in range(4):  # the limit is that of both workers together
            status, answer = ask("POST", json={"sql": "SELECT 1"})
            assert (status, "2 queries are running" in answer["message"]) == (429, True)
        assert states(first) == {"running"}
        path = tmp_path / "queries" / "jobs" / "demo" / first / "job.json"

        def child() -> Any:
            return json.loads(path.read_bytes())["child"]

        found = wait_for(child, seconds=30, what="the query's process")
        assert ask("DELETE", f"/{first}")[1]["state"] == "cancelled"
        assert not processes.is_alive(*found)
        assert states(first) == {"cancelled"}
        assert states(second) == {"running"}
        words = [sys.executable, "-m", "headwater", "query", "--project=demo", "--format=csv"]
        sql = "SELECT COUNT(DISTINCT event_id) AS n FROM events"
        done = subprocess.run(
            [*words, sql], cwd=ROOT, env=system.environ, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout.split()) == (0, ["n", "2500"]), done.stderr
        system.kill("reports")
        system.start_reports()
        assert states(second) == {"failed"}
        told = ask("GET", f"/{second}")[1]["message"]
        assert told == "the process that ran it ended; run it again"
