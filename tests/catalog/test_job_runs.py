"""The book of scheduled jobs: whole lines, newest first, and never an error for whoever reads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from catalog import job_runs
from catalog.job_runs import Look, Run, RunBook


def run(number: int, **fields: object) -> Run:
    given = {"job": "rollup", "flags": ("--a=1",), "started_at": number, "ended_at": number + 5,
             "outcome": "ok", "exit_code": 0, "message": f"run {number}", **fields}  # fmt: skip
    return Run(**given)  # type: ignore[arg-type]


def test_an_empty_book(tmp_path: Path) -> None:
    book = RunBook(tmp_path / "runs")
    assert book.runs() == []
    assert book.last_looks() == {}


def test_runs_come_newest_first(tmp_path: Path) -> None:
    book = RunBook(tmp_path / "runs")
    for number in range(5):
        book.add(run(number))
    assert RunBook(tmp_path / "runs").runs() == [run(n) for n in (4, 3, 2, 1, 0)]
    assert book.runs(2) == [run(4), run(3)]


def test_what_a_crash_left_half_costs_that_line_only(tmp_path: Path) -> None:
    book = RunBook(tmp_path)
    book.add(run(1))
    with (tmp_path / "runs.jsonl").open("ab") as file:
        file.write(b'{"job": "rol')
    assert book.runs() == [run(1)]
    book.add(run(2))
    assert book.runs() == [run(2), run(1)]


def test_the_oldest_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_runs, "MOST", 3)
    book = RunBook(tmp_path)
    for number in range(20):
        book.add(run(number))
        assert book.runs(1) == [run(number)]
    assert 3 <= len((tmp_path / "runs.jsonl").read_bytes().splitlines()) <= 6


def test_a_long_message_is_cut(tmp_path: Path) -> None:
    RunBook(tmp_path).add(run(1, message="x" * 10_000))
    assert len(RunBook(tmp_path).runs()[0].message) == 500


def test_each_lane_has_its_own_look(tmp_path: Path) -> None:
    book = RunBook(tmp_path)
    book.look(7)
    assert book.last_looks() == {"default": Look(at=7)}
    book.look(9, running="compact")
    book.look(8, lane="exports")
    assert book.last_looks() == {"default": Look(at=9, running="compact"), "exports": Look(at=8)}
    (tmp_path / "exports.look").write_text("{")
    assert book.last_looks().keys() == {"default"}


def test_threads_share_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_runs, "MOST", 20)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: RunBook(tmp_path).add(run(n)), range(200)))
    found = RunBook(tmp_path).runs()
    assert len({one.started_at for one in found}) == len(found) >= 20
