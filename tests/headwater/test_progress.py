"""Progress on a terminal: real commands on a pseudo-terminal, which a person would look at."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.reports import exports_world
from tests.reports.browsing import serving
from tests.reports.test_exports import LONG
from tests.reports.test_query_jobs import ENDLESS
from tests.system import ROOT

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"  # the cursor


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("progress")
    exports_world.fill(directory)
    app = exports_world.app(directory, apart=True, export_part_mb=1)
    with serving(app) as found:
        yield found


class Terminal:
    """A command whose standard error is a terminal, and what that has got so far."""

    def __init__(self, *words: str) -> None:
        ours, theirs = pty.openpty()
        kept = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")}
        environ = {**kept, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "headwater", *words],
            cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs,
        )  # fmt: skip
        os.close(theirs)
        self.raw = ""
        self._reader = threading.Thread(target=self._read, args=(ours,), daemon=True)
        self._reader.start()

    def _read(self, ours: int) -> None:
        with suppress(OSError):  # the other end is closed
            while data := os.read(ours, 4096):
                self.raw += data.decode(errors="replace")
        os.close(ours)

    @property
    def text(self) -> str:
        return _CONTROL.sub("", self.raw)

    def shows(self, pattern: str, seconds: float = 120) -> None:
        until = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            assert time.monotonic() < until, f"{pattern!r} was never shown: {self.text[-500:]!r}"
            assert self.process.poll() is None or re.search(pattern, self.text), self.text
            time.sleep(0.05)

    def ends(self, seconds: float = 120) -> tuple[int, str]:
        """Exit code, and standard output."""
        out, _ = self.process.communicate(timeout=seconds)
        self._reader.join(10)
        return self.process.returncode, out.decode()


def test_a_query_shows_how_long_it_runs_until_ctrl_c(address: str) -> None:
    terminal = Terminal("query", ENDLESS, "--project=demo", f"--server={address}")
    terminal.shows(r"\b0\.\d s")
    terminal.shows(r"\b[2-9]\.\d s")  # it goes on
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.ends() == (130, "")
    assert terminal.text.rstrip().endswith("headwater query: cancelled")
    assert terminal.raw.count(_HIDE) == terminal.raw.count(_SHOW) > 0


def test_the_bar_of_a_query_is_gone_when_its_rows_come(address: str) -> None:
    sql = "SELECT COUNT(*) AS n FROM events a, events b, events c, events d"
    terminal = Terminal("query", sql, "--project=demo", f"--server={address}", "--format=csv")
    code, out = terminal.ends()
    assert (code, out.split()) == (0, ["n", str(42**4)])
    bar, said = terminal.raw.rsplit(_SHOW, 1)
    assert re.search(r"running|\d\.\d s", _CONTROL.sub("", bar))
    assert _CONTROL.sub("", said).strip().startswith("1 row in ")
    assert "━" not in said
    assert "\x1b[2K" in terminal.raw  # the line was wiped


def test_an_export_shows_its_rows_until_ctrl_c(address: str, tmp_path: Path) -> None:
    words = ("--project=demo", f"--server={address}", "--out", str(tmp_path / "out"))
    terminal = Terminal("export", "--sql", LONG, *words)
    terminal.shows(r"running, [\d,]{5,} rows")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.ends()[0] == 130
    assert "--resume goes on from here" in terminal.text


def test_an_export_shows_what_is_fetched_and_then_the_summary(address: str, tmp_path: Path) -> None:
    words = ("--project=demo", f"--server={address}", "--out", str(tmp_path / "out"))
    sql = "SELECT a.event_id, b.event_id AS other FROM events a, events b, events c"
    terminal = Terminal("export", "--sql", sql, *words)
    code, out = terminal.ends()
    assert code == 0, terminal.text
    assert out.startswith(f"{42**3:,} rows, ")
    assert re.search(r"download .*[\d.]+/[\d.]+ [kM]?B", terminal.text)
    verified = Terminal("export", "verify", str(tmp_path / "out"))
    assert verified.ends()[0] == 0
    assert "verify" in verified.text
