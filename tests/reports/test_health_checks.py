"""What is well, late, down or not known; what is not known is never called well."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.job_runs import Look, Run
from reports.health import checks
from reports.health.checks import HOUR_US, MINUTE_US, Asked, Check, Flow, worst
from reports.health.probes import collector_figures

NOW = 1_790_000_000_000_000
STATES = st.sampled_from(["ok", "unknown", "late", "down"])


@given(st.lists(STATES, max_size=8))
def test_the_whole_is_as_its_worst_part(states: list[Any]) -> None:
    order = {"ok": 0, "unknown": 1, "late": 2, "down": 3}
    found = worst([Check("x", "X", state, "said") for state in states])
    if not states:
        assert found == "unknown"
    else:
        assert order[found] == max(order[state] for state in states)
    assert (found == "ok") == (bool(states) and set(states) == {"ok"})


@pytest.mark.parametrize(
    ("us", "said"),
    [(0, "0 s"), (-5, "0 s"), (119_999_999, "119 s"), (120_000_000, "2 min"),
     (2 * HOUR_US, "2 h"), (50 * HOUR_US, "2 days")],
)  # fmt: skip
def test_lengths_of_time(us: int, said: str) -> None:
    assert checks.span(us) == said


def test_collector() -> None:
    assert checks.collector(Asked(200), "a", {}).state == "ok"
    full = checks.collector(Asked(503), "a", {})
    assert (full.state, "503" in full.said, bool(full.remedy)) == ("down", True, True)
    gone = checks.collector(Asked(None, error="connection refused"), "http://x:1", {})
    assert gone.state == "down"
    assert "HEADWATER_COLLECTOR_PORT" in gone.remedy


def test_pipeline_without_a_page_is_not_known() -> None:
    assert checks.pipeline(0, None).state == "unknown"
    assert checks.pipeline(1, Asked(200, {"state": "RUNNING"})).state == "ok"
    assert checks.pipeline(1, Asked(503, {"state": "FAILED"})).said == "The job is FAILED."
    assert checks.pipeline(1, Asked(503, {"state": "FAILED"})).state == "down"
    assert checks.pipeline(1, Asked(None, error="x")).state == "down"


FLOW = Flow(accepted=100, in_flight=0, uncounted=0, archived_until=NOW, uncounted_since=None)


@pytest.mark.parametrize(
    ("in_flight", "age_us", "state"),
    [
        (0, 30 * HOUR_US, "ok"),  # nothing waits, however long ago the last one was
        (5, 10_000_000, "ok"),
        (5, 76 * 1_000_000, "late"),
        (5, 16 * MINUTE_US, "down"),
    ],
)
def test_archive(in_flight: int, age_us: int, state: str) -> None:
    flow = replace(FLOW, in_flight=in_flight, archived_until=NOW - age_us)
    assert checks.archive(flow, NOW, every_s=5).state == state


def test_archive_that_is_empty_is_late_once_events_came() -> None:
    flow = replace(FLOW, archived_until=None)
    assert checks.archive(flow, NOW, 5).state == "ok"
    assert checks.archive(replace(flow, in_flight=1), NOW, 5).state == "late"


def test_exact_table() -> None:
    assert checks.exact(FLOW, NOW, 30).state == "ok"
    young = replace(FLOW, uncounted=7, uncounted_since=NOW - 60_000_000)
    assert checks.exact(young, NOW, 30).state == "ok"
    old = replace(young, uncounted_since=NOW - HOUR_US)
    assert checks.exact(old, NOW, 30).state == "late"
    assert "rollup" in checks.exact(old, NOW, 30).remedy


def test_live_numbers() -> None:
    assert checks.live(None, None, NOW).state == "ok"
    assert checks.live(None, NOW, NOW).state == "down"
    assert checks.live(NOW - HOUR_US, NOW - HOUR_US, NOW).state == "ok"
    assert checks.live(NOW - HOUR_US, NOW, NOW).state == "late"


def test_ledger() -> None:
    def state(at: int | None, wrong: list[str], spool: bool = True) -> str:
        return checks.ledger(at, wrong, NOW, 1_800, spool).state

    assert state(NOW, []) == "ok"
    assert state(None, []) == "unknown"
    assert state(NOW, [], spool=False) == "unknown"
    assert state(NOW - HOUR_US, []) == "late"
    assert state(NOW, ["missing 3 of events c:1"]) == "down"
    assert state(NOW - HOUR_US, ["missing 3 of events c:1"]) == "down"


def run(job: str, at: int, outcome: str = "ok") -> Run:
    return Run(job=job, flags=(), started_at=at, ended_at=at + 1, outcome=outcome,  # type: ignore[arg-type]
               exit_code=0)  # fmt: skip


def test_schedule() -> None:
    def state(look: Look | None, *runs: Run, **lanes: Look) -> str:
        looks = {"default": look, **lanes} if look else {}
        return checks.schedule(looks, runs, NOW, 30).state

    alive = Look(at=NOW - 20_000_000)
    stuck = Look(at=NOW - 2 * HOUR_US, running="compact")
    assert state(None) == "unknown"
    assert state(alive) == "ok"
    assert state(Look(at=NOW - 10 * MINUTE_US)) == "down"
    assert state(Look(at=NOW - 10 * MINUTE_US, running="compact")) == "ok"
    assert state(stuck) == "late"
    assert state(stuck, exports=alive) == state(alive, exports=stuck) == "late"
    assert state(alive, run("rollup", 2, "failed"), run("rollup", 1)) == "late"
    assert state(alive, run("rollup", 2), run("rollup", 1, "failed")) == "ok"
    assert state(alive, run("rollup", 3), run("copy", 2, "failed")) == "late"


def test_dead_letters_disk_and_size() -> None:
    assert checks.letters(None, 0).state == "unknown"
    assert checks.letters(0, 0).state == "ok"
    assert checks.letters(100, 5).state == "ok"
    assert checks.letters(100, 6).state == "late"
    assert checks.disk(50, 100).state == "ok"
    assert checks.disk(9, 100).state == "late"
    assert checks.disk(2, 100).state == "down"
    assert checks.disk(0, 0).state == "down"
    assert checks.size(10, 1_000, 1).state == "ok"
    assert checks.size(10, 3_000_000, 3_000).state == "late"


def test_everything_that_is_not_well_says_what_to_do() -> None:
    found = [
        checks.collector(Asked(None, error="x"), "a", {}), checks.collector(Asked(503), "a", {}),
        checks.pipeline(0, None), checks.pipeline(1, Asked(503)),
        checks.archive(replace(FLOW, in_flight=1, archived_until=None), NOW, 5),
        checks.exact(replace(FLOW, uncounted=7, uncounted_since=0), NOW, 30),
        checks.live(None, NOW, NOW), checks.ledger(None, [], NOW, 1, True),
        checks.schedule({}, [], NOW, 30), checks.schedule({"default": Look(at=0)}, [], NOW, 30),
        checks.letters(None, 0), checks.letters(1, 1), checks.disk(0, 1),
        checks.failed("x", "X", "why"),
    ]  # fmt: skip
    assert all(one.state != "ok" for one in found)
    assert all(one.remedy for one in found)


METRICS = """# TYPE headwater_collector_events counter
headwater_collector_events_total{protocol="segment",outcome="accepted"} 120.0
headwater_collector_events_total{protocol="native",outcome="accepted"} 30.0
headwater_collector_events_total{protocol="native",outcome="bad_money"} 7.0
# TYPE headwater_collector_requests counter
headwater_collector_requests_total{route="/v1/b",status="200"} 90.0
headwater_collector_requests_total{route="/v1/b",status="503"} 4.0
# TYPE headwater_collector_waiting_events gauge
headwater_collector_waiting_events 12.0
# TYPE headwater_collector_request_seconds histogram
headwater_collector_request_seconds_bucket{route="/v1/b",le="0.01"} 50.0
headwater_collector_request_seconds_bucket{route="/v1/b",le="0.1"} 98.0
headwater_collector_request_seconds_bucket{route="/v1/b",le="+Inf"} 100.0
headwater_collector_request_seconds_count{route="/v1/b"} 100.0
headwater_collector_request_seconds_sum{route="/v1/b"} 3.0
"""


def test_figures_of_the_collector() -> None:
    assert collector_figures(METRICS) == {
        "accepted": 150,
        "not accepted": 7,
        "answers 5xx": 4,
        "waiting events": 12,
        "queued blocks": 0,
        "p50 s, at most": 0.01,
        "p99 s, at most": None,
    }
    assert collector_figures("")["p50 s, at most"] is None
