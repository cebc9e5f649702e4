"""The health page with its parts there, away, hung and failing; never green by not knowing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apache_beam as beam
import polars as pl
import pytest
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner

from beam_pipelines.connectors import ledger_table
from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.health import served
from catalog.job_runs import Run, RunBook
from schemas_avro import derive, load
from tests.reports import world
from tests.reports.world import NOW, Live
from tests.streams import NOON, event
from tests.system import System, free_port, wait_for
from transforms.statistics import Total


def looked(directory: Path, now: int = NOW, **values: Any) -> dict[str, Any]:
    given = {"collector_port": free_port(), **values}
    answer = world.app(directory, now, **given).test_client().get("/p/demo/api/health")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.get_json()
    return {**found, "parts": {check["name"]: check for check in found["checks"]}}


def states(found: dict[str, Any]) -> dict[str, str]:
    return {name: check["state"] for name, check in found["parts"].items()}


def ledger_line(directory: Path, **fields: Any) -> None:
    minute = NOON // 60_000_000 * 60_000_000
    names = ("received", "archived", "duplicates", "dead_lettered", "suppressed", "in_flight",
             "missing", "doubled", "imported")  # fmt: skip
    line = {
        "minute": minute, "project": "demo", "source": "web", **dict.fromkeys(names, 0),
        "computed_at": NOW - 60_000_000, "problems": None, **fields,
    }  # fmt: skip
    rows = pl.DataFrame([line], schema=derive.wire(load("ledger")), orient="row")
    ledger_table.replace_lines(Warehouse(f"{directory}/archive"), rows, minute)


@contextmanager
def mute() -> Iterator[int]:
    """A port that is connected to and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        yield server.getsockname()[1]


def test_an_empty_system_is_not_green(tmp_path: Path) -> None:
    found = looked(tmp_path)
    assert found["state"] == "down"  # no collector
    assert states(found) == {
        "collector": "down", "pipeline": "unknown", "archive": "ok", "exact": "ok", "live": "ok",
        "size": "ok", "ledger": "unknown", "letters": "unknown", "schedule": "unknown",
        "disk": "ok",
    }  # fmt: skip
    assert all(c["remedy"] for c in found["checks"] if c["state"] != "ok")
    assert found["runs"] == []


def test_a_real_collector_is_asked(tmp_path: Path) -> None:
    with System(tmp_path) as system:
        system.run("catalog", "add-project", "demo", "--time-zone=Europe/London")
        key = system.key("demo")
        system.start_collector()
        app = world.app(tmp_path, NOW, collector_port=system.collector_port)
        client = app.test_client()
        found = client.get("/p/demo/api/health").get_json()["checks"][0]
        assert (found["name"], found["state"]) == ("collector", "ok")
        assert system.post(
            f"{system.collector}/v1/events", {"events": [{"name": "a", "user_id": "u"}]},
            {"authorization": f"Bearer {key}"},
        )[0] == 200  # fmt: skip
        accepted = wait_for(
            lambda: client.get("/p/demo/api/health").get_json()["checks"][0]["figures"]["accepted"],
            seconds=20,
            what="the collector's own count",
        )
        assert accepted == 1
        checks = {c["name"]: c for c in client.get("/p/demo/api/health").get_json()["checks"]}
        # One event is on the bus, nobody archives it, and it was never archived before.
        assert (checks["archive"]["state"], checks["archive"]["figures"]["in flight"]) == (
            "late",
            1,
        )
        system.kill("collector")
        gone = client.get("/p/demo/api/health").get_json()["checks"][0]
        assert (gone["state"], gone["remedy"] != "") == ("down", True)


def test_parts_that_hang_are_not_waited_for(tmp_path: Path) -> None:
    with mute() as port:
        began = time.monotonic()
        found = looked(tmp_path, collector_port=port, pipeline_port=port)
        assert time.monotonic() - began < 4  # both at once: a second each, and the app's own start
    assert states(found)["collector"] == states(found)["pipeline"] == "down"
    assert "timed out" in found["parts"]["collector"]["said"]


def test_a_store_that_hangs_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk of the archive does not answer: the others are still shown, and soon."""
    app = world.app(tmp_path, collector_port=free_port())
    released = threading.Event()
    warehouse = app.extensions["reports"].warehouse
    monkeypatch.setattr(warehouse, "read", lambda *_, **__: released.wait(30))
    began = time.monotonic()
    found = app.test_client().get("/p/demo/api/health").get_json()
    assert time.monotonic() - began < 4
    released.set()
    ledger = next(check for check in found["checks"] if check["name"] == "ledger")
    assert ledger["state"] == "unknown"
    assert "no answer within 2 s" in ledger["said"]


def test_a_part_that_fails_is_unknown(tmp_path: Path) -> None:
    world.archive(tmp_path, [event("e", NOON)])
    (tmp_path / "archive" / "iceberg.db").write_bytes(b"not a database at all" * 100)
    found = states(looked(tmp_path))
    assert found["flow"] == found["ledger"] == "unknown"
    assert "archive" not in found


def test_the_pipelines_own_page_is_asked(tmp_path: Path) -> None:
    root = beam.Pipeline(BundleBasedDirectRunner())
    root | beam.Create([1])  # type: ignore[no-untyped-call]
    result = root.run()
    result.wait_until_finish()  # type: ignore[no-untyped-call]
    port = free_port()
    with served("ingest", result, port):
        part = looked(tmp_path, pipeline_port=port)["parts"]["pipeline"]
    assert (part["state"], part["said"]) == ("down", "The job is DONE.")


def test_books_and_live_numbers(tmp_path: Path) -> None:
    world.archive(tmp_path, [event("e", NOON)])
    ledger_line(tmp_path, received=100, archived=90, dead_lettered=10)
    live = Live(tmp_path)
    live.put(NOON, "events", Total(1), '{"name":"view"}')
    live.close()
    found = looked(tmp_path)
    assert states(found)["ledger"] == "ok"
    assert states(found)["letters"] == "late"  # a tenth was refused
    assert found["parts"]["letters"]["figures"] == {"received": 100, "refused": 10}
    assert states(found)["exact"] == "ok"  # young: the next look of the schedule counts it
    assert found["parts"]["exact"]["figures"]["uncounted"] == 1
    assert states(looked(tmp_path, NOW + 3 * 86_400_000_000))["ledger"] == "late"


def test_books_that_do_not_balance_are_shown(tmp_path: Path) -> None:
    ledger_line(tmp_path, received=3, missing=3, problems="3 missing in events c-0:17")
    part = looked(tmp_path)["parts"]["ledger"]
    assert part["state"] == "down"
    assert "c-0:17" in part["said"]


def test_another_projects_books_are_not_shown(tmp_path: Path) -> None:
    ledger_line(tmp_path, project="other", received=3, missing=3, problems="secret")
    found = looked(tmp_path)
    assert states(found)["ledger"] == "unknown"
    assert "secret" not in str(found)


def test_schedule_and_runs(tmp_path: Path) -> None:
    book = RunBook(tmp_path / "runs")
    book.look(NOW - 10_000_000)
    shared = {"flags": ("--grains=day",), "ended_at": NOW, "exit_code": 1}
    book.add(Run(job="rollup", started_at=NOW - 2_500_000, outcome="failed", message="why",
                 **shared))  # type: ignore[arg-type]  # fmt: skip
    found = looked(tmp_path)
    assert states(found)["schedule"] == "late"
    assert "rollup" in found["parts"]["schedule"]["said"]
    (run,) = found["runs"]
    assert (run["job"], run["outcome"], run["seconds"], run["message"]) == (
        "rollup", "failed", 2.5, "why",
    )  # fmt: skip
    page = world.app(tmp_path).test_client().get("/p/demo/health")
    assert page.status_code == 200
    assert "The last run failed of: rollup" in page.text
    assert world.app(tmp_path).test_client().get("/p/nobody/health").status_code == 404


def test_another_bus_is_not_guessed_at(tmp_path: Path) -> None:
    found = states(looked(tmp_path, bus="pubsub:some-project"))
    assert found["archive"] == found["exact"] == found["ledger"] == "unknown"
