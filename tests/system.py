"""The real system in real processes, for journeys: start, ask, kill, wait."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).parent.parent
T = TypeVar("T")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(look: Callable[[], T], *, seconds: float, what: str) -> T:
    """The first truthy answer of `look`; it may raise until then."""
    deadline = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = look()
            if last:
                return last  # type: ignore[return-value]
        except Exception as error:
            last = error
        time.sleep(0.2)
    raise AssertionError(f"{what}: not within {seconds} s; last look: {last!r}")


class System:
    """One data directory and the processes on it. Use as a context manager."""

    def __init__(self, data: Path, **settings: Any) -> None:
        self.data = data
        self.collector_port, self.reports_port = free_port(), free_port()
        given = {
            "data_dir": data,
            "collector_port": self.collector_port,
            "reports_port": self.reports_port,
            "archive_every_s": 1,
            "rollup_every_s": 2,
            **settings,
        }
        self.environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")},
            **{f"HEADWATER_{name.upper()}": str(value) for name, value in given.items()},
            "PYTHONUNBUFFERED": "1",
        }
        if location := os.environ.get("HEADWATER_PRISM_LOCATION"):
            self.environ["HEADWATER_PRISM_LOCATION"] = location
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def collector(self) -> str:
        return f"http://127.0.0.1:{self.collector_port}"

    @property
    def reports(self) -> str:
        return f"http://127.0.0.1:{self.reports_port}"

    def __enter__(self) -> System:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._processes):
            self.kill(name, signal.SIGTERM)

    def start(self, name: str, *module: str) -> None:
        """Start `python -m MODULE…`, its output in `<data>/NAME.log`."""
        self.data.mkdir(parents=True, exist_ok=True)
        with (self.data / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", *module],
                cwd=ROOT,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start_collector(self) -> None:
        self.start("collector", "collector")
        wait_for(lambda: self.get(f"{self.collector}/health"), seconds=30, what="collector")

    def start_reports(self) -> None:
        self.start("reports", "reports")
        wait_for(lambda: self.get(f"{self.reports}/health"), seconds=30, what="reports")

    def start_ingest(self) -> None:
        self.start("ingest", "beam_pipelines.run", "ingest")

    def pid(self, name: str) -> int:
        """Process id of a process that runs."""
        return self._processes[name].pid

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> int:
        """Signal the process and all its children; wait for its end."""
        process = self._processes.pop(name)
        os.killpg(process.pid, how) if how == signal.SIGKILL else process.send_signal(how)
        try:
            return process.wait(30)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)

    def run(self, *module: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `python -m MODULE…` to its end."""
        done = subprocess.run(
            [sys.executable, "-m", *module],
            cwd=ROOT,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        if check and done.returncode:
            raise AssertionError(f"{module} ended with {done.returncode}:\n{done.stderr[-4000:]}")
        return done

    def key(self, project: str, source: str = "web") -> str:
        return self.run("catalog", "add-key", project, source).stdout.split()[-1]

    def log(self, name: str) -> str:
        path = self.data / f"{name}.log"
        return path.read_text() if path.exists() else ""

    @staticmethod
    def get(url: str) -> Any:
        with urllib.request.urlopen(url, timeout=10) as answer:
            body = answer.read()
        try:
            return json.loads(body)
        except ValueError:
            return body.decode()

    @staticmethod
    def post(url: str, body: Any, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """(status, JSON). Raises OSError where nobody answers."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(url, data, headers or {}, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def sql(self, project: str, sql: str) -> list[list[Any]]:
        headers = {"content-type": "application/json"}
        status, answer = self.post(f"{self.reports}/p/{project}/api/sql", {"sql": sql}, headers)
        assert status == 200, answer
        rows: list[list[Any]] = answer["rows"]
        return rows

    def ledger(self, project: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"{self.reports}/p/{project}/api/ledger")
        return found

    def live(self, project: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"{self.reports}/p/{project}/api/live")
        return found


def chromium() -> str | None:
    """Path of the browser, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser")
