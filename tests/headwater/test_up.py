"""`headwater up` as a person has it: the real system, stopped, started again, killed."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.headwater.test_supervisor import alive, wait_until

pytestmark = pytest.mark.journey
START_S = 90.0


class System:
    """One run of `headwater up`, with what it has printed."""

    def __init__(self, environ: dict[str, str]) -> None:
        command = [sys.executable, "-m", "headwater", "up"]
        self.process = subprocess.Popen(
            command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with self.process.stdout as output:
            self.lines.extend(output)  # grows line by line

    def shown(self) -> str:
        return "".join(self.lines)

    def wait_for(self, pattern: str) -> str:
        def there() -> bool:
            assert self.process.poll() is None, self.shown()
            return re.search(pattern, self.shown()) is not None

        wait_until(there, START_S)
        return re.search(pattern, self.shown())[1]

    def pids(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(30)


@pytest.fixture
def system(tmp_path, free_ports):
    collector, reports = free_ports
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")}
    prism = {k: v for k, v in os.environ.items() if k == "HEADWATER_PRISM_LOCATION"}
    environ = (
        kept
        | prism
        | {
            "HEADWATER_DATA_DIR": str(tmp_path / "data"),
            "HEADWATER_COLLECTOR_PORT": str(collector),
            "HEADWATER_REPORTS_PORT": str(reports),
        }
    )
    started: list[System] = []

    def start() -> System:
        started.append(System(environ))
        return started[-1]

    yield start
    for one in started:
        one.end()


def post(url: str, key: str) -> tuple[int, object]:
    who = base64.b64encode(f"{key}:".encode()).decode()
    request = urllib.request.Request(
        url, b'{"userId": "u1", "event": "Signed Up"}', {"Authorization": f"Basic {who}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status, json.load(answer)


def test_up_down_and_up_again(system: Callable[[], System]):
    first = system()
    key = first.wait_for(r"Write key  (\S+)")
    url = first.wait_for(r"curl .* (http://\S+/v1/track)")
    assert post(url, key) == (200, {"success": True})

    # A second one on the same directory is told so, and the first goes on.
    second = system()
    assert second.process.wait(30) == 1
    wait_until(lambda: "another headwater runs on" in second.shown())
    assert post(url, key) == (200, {"success": True})

    # A collector that is killed comes back.
    collector = first.pids()[0]
    os.kill(collector, signal.SIGKILL)
    first.wait_for(r"(collector +\| killed by SIGKILL; starts again in 1 s)")

    # Ctrl-C: all end, in order, with code 0.
    pids = first.pids()
    first.process.send_signal(signal.SIGINT)
    assert first.process.wait(60) == 0
    assert not any(map(alive, pids))
    assert "did not stop" not in first.shown()

    # The next start is the same system; kill -9 of it leaves nothing running.
    again = system()
    assert again.wait_for(r"Write key  (\S+)") == key
    pids = again.pids()
    assert len(pids) == 4
    again.process.kill()
    wait_until(lambda: not any(map(alive, pids)), 40)
