"""The streaming job on Flink: right numbers, and nothing lost or doubled when parts are killed.

`KILLS=20 pytest -s -m journey tests/journeys/test_flink.py` kills the pipeline that often.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import observed
from tests.flink import Flink, flink_or_skip
from tests.journeys.test_kill import Client
from tests.system import System, wait_for

pytestmark = [pytest.mark.journey, pytest.mark.timeout(1500)]

KILLS = int(os.environ.get("KILLS", "2"))
SHOWN_S = 180  # starting Flink and Python on a busy machine, and a replay


@pytest.fixture(autouse=True)
def _flink() -> None:
    flink_or_skip()


@contextmanager
def running(data: Path) -> Iterator[tuple[System, str]]:
    """Collector and reports, without a pipeline; and a write key of project `shop`."""
    with System(data, sql_max_rows=1_000_000) as system:
        system.run("catalog", "add-project", "shop", "--time-zone=Europe/London")
        key = system.key("shop")
        system.start_collector()
        system.start_reports()
        yield system, key


def ingest(system: System, *flags: str, runner: str = "flink") -> None:
    system.start("ingest", "beam_pipelines.run", "ingest", f"--runner={runner}", *flags)


def first_pane(system: System) -> None:
    wait_for(
        lambda: exit_code(system) is not None or system.live("shop")["events_today"] > 0,
        seconds=SHOWN_S,
        what="first pane",
    )
    assert exit_code(system) is None, system.log("ingest")[-4000:]


def exit_code(system: System) -> int | None:
    """Of a pipeline that ended by itself; None while it runs. It stays for `System` to reap."""
    looked = os.waitid(os.P_PID, system.pid("ingest"), os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return looked.si_status if looked else None


def wait_for_failure(system: System) -> None:
    """The pipeline notices that it has lost its Flink, and says so to whoever started it."""
    wait_for(lambda: exit_code(system) == 1, seconds=120, what="the pipeline's failure")
    system.kill("ingest")


def live(system: System) -> list[list[object]]:
    return system.sql(
        "shop",
        "SELECT statistic, SUM(value) FROM live_minutes "
        "WHERE statistic IN ('events', 'revenue') GROUP BY statistic ORDER BY statistic",
    )


def assert_exact(system: System, answered: dict[str, int]) -> float:
    """Archive, exact table and live numbers are what was answered 200. How long it took, in s."""
    began = time.monotonic()
    right = [["events", len(answered)], ["revenue", sum(answered.values())]]
    wait_for(lambda: live(system) == right, seconds=SHOWN_S, what=f"live numbers {right}")
    took = time.monotonic() - began
    wait_for(
        lambda: system.ledger("shop")["in_flight"] == 0,
        seconds=SHOWN_S,
        what="everything in the archive",
    )
    system.run("beam_pipelines.run", "rollup")
    assert system.ledger("shop")["counted"] == len(answered)
    counted = [row[0] for row in system.sql("shop", "SELECT event_id FROM events")]
    assert sorted(counted) == sorted(answered)
    return took


def assert_like_an_undisturbed_run(system: System, calm: Path) -> None:
    """The same blocks once more through Prism, with nobody killed: every number is the same."""
    with System(calm, bus=f"spool:{system.data / 'spool'}") as other:
        other.run("catalog", "add-project", "shop", "--time-zone=Europe/London")
        ingest(other, runner="prism")
        rows = sum(observed.archived(system.data).values())
        wait_for(
            lambda: (
                sum(observed.archived(calm).values()) == rows
                and observed.live(calm) == observed.live(system.data)
            ),
            seconds=SHOWN_S,
            what="the same live numbers",
        )
        other.run("beam_pipelines.run", "rollup")
    assert observed.archived(calm) == observed.archived(system.data)
    assert observed.daily(calm, "shop") == observed.daily(system.data, "shop") != {}


def test_numbers_on_flink_are_what_was_answered(tmp_path: Path) -> None:
    with running(tmp_path / "data") as (system, key):
        began = time.monotonic()
        ingest(system)
        with Client(system, key) as client:
            first_pane(system)
            started_s = time.monotonic() - began
            time.sleep(5)
        took_s = assert_exact(system, client.answered)
        final = time.time_ns() // 60_000_000_000 * 60_000_000
        wait_for(
            lambda: observed.complete_until(system.data) >= final,
            seconds=90,
            what="the watermark passes the end of the minute",
        )
        assert system.kill("ingest", signal.SIGTERM) == 0
        exact = observed.daily(system.data, "shop")
        for runner in ("prism", "flink"):  # a bounded job, which `direct` has just done
            again = ("rollup", "--all_days", f"--runner={runner}")
            assert system.run("beam_pipelines.run", *again).stdout.startswith("exact tables from")
            assert observed.daily(system.data, "shop") == exact != {}
    print(f"\nfirst pane after {started_s:.1f} s; {len(client.answered):,} events, "
          f"all live {took_s:.1f} s after the last answer")  # fmt: skip


def test_pipeline_killed_at_random_moments(tmp_path: Path) -> None:
    seed = random.randrange(1000)
    moments = random.Random(seed)
    print(f"\nseed {seed}")
    with running(tmp_path / "data") as (system, key):
        ingest(system)
        with Client(system, key) as client:
            first_pane(system)
            for number in range(KILLS):
                pause = moments.uniform(0, 25)  # in the middle of a start, a replay or a checkpoint
                time.sleep(pause)
                system.kill("ingest")
                ingest(system)
                print(f"kill {number + 1} after {pause:.1f} s, {len(client.answered):,} answered")
        took_s = assert_exact(system, client.answered)
        print(f"{len(client.answered):,} events right {took_s:.1f} s after the last answer")
        system.kill("ingest")
        assert_like_an_undisturbed_run(system, tmp_path / "calm")


def test_job_server_killed_and_pipeline_killed_beside_it(tmp_path: Path) -> None:
    with running(tmp_path / "data") as (system, key), Flink(tmp_path / "flink") as flink:
        flink.start_job_server()
        at = f"--job_endpoint={flink.endpoint}"
        ingest(system, at)
        with Client(system, key) as client:
            first_pane(system)
            # The job stays behind on the server, without a worker: the next run takes its place.
            system.kill("ingest")
            ingest(system, at)
            wait_for(
                lambda: "left over" in system.log("ingest"), seconds=60, what="the old job's end"
            )
            time.sleep(15)
            flink.kill("job server")
            wait_for_failure(system)
            refused = system.run("beam_pipelines.run", "ingest", "--runner=flink", at, check=False)
            assert refused.returncode == 2
            assert "no job server answers" in refused.stderr
            flink.start_job_server()
            ingest(system, at)
        assert_exact(system, client.answered)


def test_task_manager_lost(tmp_path: Path) -> None:
    with running(tmp_path / "data") as (system, key), Flink(tmp_path / "flink") as flink:
        flink.start_cluster(task_managers=2)
        at = f"--job_endpoint={flink.endpoint}"
        ingest(system, at)
        with Client(system, key) as client:
            first_pane(system)
            (busy,) = flink.busy_task_managers()
            flink.kill(busy)
            wait_for_failure(system)
            ingest(system, at)  # on the task manager that is left
        assert_exact(system, client.answered)
        assert flink.busy_task_managers() not in ([], [busy])
