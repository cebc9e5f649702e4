"""`python -m catalog`, as a person types it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.fixture
def run(tmp_path):
    environ = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")}

    def call(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        given = {"HEADWATER_DATA_DIR": str(tmp_path / "data")} | settings
        command = [sys.executable, "-m", "catalog", *words]
        return subprocess.run(
            command, env=environ | given, capture_output=True, text=True, timeout=60, check=False
        )

    return call


def test_project_key_list(run):
    made = run("add-project", "shop", "--time-zone=Europe/London")
    assert made.returncode == 0, made.stderr
    assert "python -m catalog add-key shop SOURCE" in made.stdout
    key = run("add-key", "shop", "web").stdout.strip()
    assert run("list").stdout.splitlines() == ["shop  Europe/London", f"  web  {key}"]


def test_errors_are_one_line_and_code_1(run):
    for words, wanted in [
        (["add-project", "Shop"], "'Shop' is no slug"),
        (["add-key", "gone", "web"], "project 'gone' is not in the catalogue"),
    ]:
        failed = run(*words)
        assert failed.returncode == 1
        assert failed.stderr.startswith("catalog: ")
        assert wanted in failed.stderr
        assert len(failed.stderr.splitlines()) == 1


def test_a_bad_setting(run):
    failed = run("list", HEADWATER_REPORTS_PORT="x")
    assert failed.returncode == 1
    assert failed.stderr.startswith("catalog: HEADWATER_REPORTS_PORT='x' is not a whole number")


def test_help_and_unknown_commands(run):
    assert "add-project" in run("--help").stdout
    assert run("drop-everything").returncode == 2
