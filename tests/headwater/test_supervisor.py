"""The supervisor over small real processes."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headwater.ground import Occupied, lock
from headwater.supervisor import Child, Patience, Supervisor

QUICK = Patience(first_pause=0.1, longest_pause=0.4, stop=1.0)
GIVE_UP_S = 20.0


def python(name: str, program: str, *args: str) -> Child:
    return Child(name, (sys.executable, "-c", textwrap.dedent(program), *args))


def story(
    *children: Child, until: Callable[[str], bool], out: io.StringIO | None = None
) -> list[str]:
    """Run the children until the output is as wanted; all lines, without the time in front."""
    shown = out if out is not None else io.StringIO()
    supervisor = Supervisor(children, os.environ, shown, patience=QUICK)
    end = time.monotonic() + GIVE_UP_S

    def look() -> None:
        if until(shown.getvalue()) or time.monotonic() > end:
            supervisor.stop()

    supervisor.run(look)
    return [line.split(" ", 1)[1] for line in shown.getvalue().splitlines()]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # nobody may be there to reap an orphan


def wait_until(true: Callable[[], bool], within_s: float = GIVE_UP_S) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


STAYS = "import time; print('here', flush=True); time.sleep(60)"


def test_every_line_carries_its_process_also_those_of_a_traceback():
    lines = story(
        python("one", "print('ready'); 1 / 0"),
        python("other", STAYS),
        until=lambda shown: "ZeroDivisionError" in shown and "here" in shown,
    )
    assert "one       | ready" in lines
    assert "one       | Traceback (most recent call last):" in lines
    assert "one       | ZeroDivisionError: division by zero" in lines
    assert "other     | here" in lines


def test_what_ends_starts_again_after_longer_and_longer_pauses():
    lines = story(
        python("brief", "raise SystemExit(3)"),
        until=lambda shown: shown.count("starts again") == 4,
    )
    said = [line for line in lines if "starts again" in line]
    assert said == [
        f"brief     | ended with exit code 3; starts again in {pause} s"
        for pause in ("0.1", "0.2", "0.4", "0.4")
    ]


def test_the_pause_is_short_again_after_a_settled_life(monkeypatch):
    monkeypatch.setattr("headwater.supervisor._SETTLED_S", 0.0)
    lines = story(
        python("brief", "raise SystemExit(3)"),
        until=lambda shown: shown.count("starts again") == 3,
    )
    assert all(line.endswith("in 0.1 s") for line in lines)


def test_a_child_killed_by_a_signal_is_named_so():
    lines = story(
        python("brief", "import os; os.kill(os.getpid(), 9)"),
        until=lambda shown: "starts again" in shown,
    )
    assert "brief     | killed by SIGKILL; starts again in 0.1 s" in lines


def test_a_program_that_is_not_there_is_said_and_tried_again():
    lines = story(
        Child("gone", ("/no/such/program",)), until=lambda shown: shown.count("again") == 2
    )
    assert lines[0].startswith("gone      | cannot be started: ")
    assert "/no/such/program" in lines[0]


SAYS_BYE = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('bye', flush=True)))
print('here', flush=True)
time.sleep(60)
"""


def test_children_stop_one_after_the_other_and_their_last_words_are_shown():
    names = ["first", "second", "third"]
    lines = story(
        *(python(name, SAYS_BYE) for name in names),
        until=lambda shown: shown.count("here") == 3,
    )
    assert [line.split()[0] for line in lines if line.endswith("bye")] == names


STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
worker = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
print('worker', worker.pid, flush=True)
time.sleep(60)
"""


def test_who_does_not_stop_in_time_is_killed_with_all_its_workers():
    lines = story(python("stubborn", STUBBORN), until=lambda shown: "worker" in shown)
    assert "stubborn  | did not stop within 1 s; killed" in lines
    worker = int(lines[0].rsplit(" ", 1)[1])
    wait_until(lambda: not alive(worker))


LEAVES_A_WORKER = """
import socket, subprocess, sys, time, os
port = int(sys.argv[1])
listening = socket.socket()
listening.bind(('127.0.0.1', port))
listening.listen()
fd = listening.fileno()
subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], pass_fds=[fd])
print('serving', flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_worker_left_behind_does_not_keep_the_port_from_the_next_start(free_port):
    lines = story(
        python("server", LEAVES_A_WORKER, str(free_port)),
        until=lambda shown: shown.count("serving") == 2 or "Address already in use" in shown,
    )
    assert sum(line.endswith("serving") for line in lines) >= 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_are_for_terminals_and_quoted_control_characters_for_nobody():
    paints = python("painter", r"print('\x1b[2J red\x07'); import time; time.sleep(60)")
    plain = story(paints, until=lambda shown: "red" in shown)
    assert plain == ["painter   | ?[2J red?"]
    coloured = story(paints, until=lambda shown: "red" in shown, out=Terminal())
    assert coloured == ["\x1b[33mpainter  \x1b[0m | ?[2J red?"]


class GoneTerminal(io.StringIO):
    def write(self, text: str) -> int:
        super().write(text)
        raise OSError(5, "Input/output error")


def test_a_terminal_that_went_away_stops_nothing():
    out = GoneTerminal()
    story(
        python("talks", "for i in range(5): print(i)"),
        until=lambda shown: "| 4" in shown,
        out=out,
    )
    assert "| 4" in out.getvalue()


SUPERVISES = """
import io, os, sys
from pathlib import Path
from headwater.ground import lock
from headwater.supervisor import Child, Supervisor
held = lock(Path(sys.argv[1]))
child = Child("child", (sys.executable, "-u", "-c", sys.argv[2]))
Supervisor([child], os.environ, sys.stdout, keep_open=[held.fileno()]).run()
"""


@pytest.fixture
def supervised(tmp_path):
    """Start a supervisor of its own over one program; it and the child's process id."""
    started = []

    def start(program: str) -> tuple[subprocess.Popen[str], int]:
        command = [sys.executable, "-c", SUPERVISES, str(tmp_path), textwrap.dedent(program)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process, int(process.stdout.readline().rsplit(" ", 1)[1])

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
SAYS_PID = "import os, time; print('pid', os.getpid()); time.sleep(60)"


@needs_linux
def test_children_do_not_outlive_a_killed_supervisor(supervised, tmp_path):
    process, child = supervised(SAYS_PID)
    process.kill()
    process.wait()  # until then it may hold the lock itself
    wait_until(lambda: not alive(child))
    lock(tmp_path).close()


@needs_linux
def test_the_directory_stays_locked_while_a_child_of_a_killed_supervisor_works(
    supervised, tmp_path
):
    process, child = supervised(
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SAYS_PID
    )
    process.kill()
    process.wait()
    try:
        with pytest.raises(Occupied, match="still stopping"):
            lock(tmp_path)
    finally:
        os.kill(child, signal.SIGKILL)
    wait_until(lambda: not alive(child))
    lock(tmp_path).close()
