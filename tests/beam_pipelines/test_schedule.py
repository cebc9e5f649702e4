"""The schedule notes what became of each run, and goes on whatever became of it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from beam_pipelines.jobs import schedule
from beam_pipelines.jobs.schedule import Entry
from beam_pipelines.progress import note, progress_bar
from catalog.job_runs import RunBook
from catalog.settings import Settings, read
from catalog.store import Catalog


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HEADWATER_DATA_DIR", str(tmp_path))
    made = read({"HEADWATER_DATA_DIR": str(tmp_path)})
    Catalog(made.catalog_url).migrate()
    return made


def book(config: Settings) -> RunBook:
    return RunBook(config.path("runs"))


def test_a_run_is_noted_with_its_outcome_and_last_line(
    config: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    began = time.time_ns() // 1000
    schedule._run_if_due(Entry("rollup", lambda _: True, ("--grains=day", "--dry_run")), [], config)
    (run,) = book(config).runs()
    assert (run.job, run.flags, run.outcome, run.exit_code) == (
        "rollup",
        ("--grains=day", "--dry_run"),
        "ok",
        0,
    )
    assert began <= run.started_at < run.ended_at <= time.time_ns() // 1000
    assert run.message == capfd.readouterr().out.strip().split("\n")[-1]
    look = book(config).last_looks()["default"]
    assert (look.running, look.at >= run.ended_at) == ("", True)


def test_a_run_that_fails_is_noted_with_what_it_said(
    config: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    schedule._run_if_due(Entry("rollup", lambda _: True, ("--grains=century",)), [], config)
    (run,) = book(config).runs()
    assert run.outcome == "failed"
    assert run.exit_code != 0
    assert "century" in run.message
    assert "century" in capfd.readouterr().out  # shown as well, as it came


def test_nothing_to_do_is_a_look_and_no_run(config: Settings) -> None:
    schedule._run_if_due(Entry("rollup", lambda _: False), [], config)
    assert book(config).runs() == []
    assert book(config).last_looks().keys() == {"default"}


def test_while_a_job_runs_the_look_says_which(config: Settings, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from catalog.job_runs import RunBook;"
        f"looks = RunBook(Path({str(config.path('runs'))!r})).last_looks();"
        "print(looks['default'].running, flush=True);"
        "sys.exit(3)"
    )
    book(config).look(1, running="compact")
    assert schedule._run_shown([sys.executable, "-c", code]) == (3, "compact")


def test_a_book_that_cannot_be_written_stops_no_job(
    config: Settings, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    config.path("runs").write_text("a file where the directory should be")
    schedule._run_if_due(Entry("rollup", lambda _: True, ("--help",)), [], config)
    assert "usage" in capfd.readouterr().out
    assert "not noted" in caplog.text


def test_progress_can_be_read_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "progress.json"
    monkeypatch.setenv("PROGRESS_FILE", str(path))
    with progress_bar("letters", 10, "letters") as directory:
        note(directory, "a", 3)
        deadline = time.monotonic() + 10
        while not (path.exists() and '"done": 3' in path.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        note(directory, "b", 7)
    assert path.read_text() == '{"title": "letters", "done": 10, "total": 10}'
