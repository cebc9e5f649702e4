"""Replays of dead letters that are started from a page: a preview, or the thing itself.

Each lies in a directory of its own below `replays/PROJECT/`, so that whichever report process is
asked can say how it is going:

    job.json       what was asked, by whom and when
    edits.toml     how letters are mended, where that was asked
    progress.json  how far the job is, written by the job
    output.txt     what it printed
    done.json      {"exit_code"}; not there while it runs, or where its process was killed
    alive          locked as long as its process lives

The process is `python -m reports.health.replaying DIRECTORY`; it outlives the one that started it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from pathlib import Path
from typing import IO, Any, Literal

from catalog.settings import SETTINGS, Settings
from transforms import edits as edit_rules
from transforms.mapping import MappingError

State = Literal["running", "done", "failed"]
MOST_EDITS = 100_000  # characters
KEPT = 50  # of a project; those that run stay beyond it
_MOST_OUTPUT = 200_000  # bytes shown, from the end
_PREVIEW = re.compile(r"^(\w+): ([\d,]+) letters, ([\d,]+) would pass now$", re.MULTILINE)
_RESULT = re.compile(
    r"^([\d,]+) dead letters tried: ([\d,]+) are events now \((\S+)\), "
    r"([\d,]+) were refused again, ([\d,]+) of erased people left out$",
    re.MULTILINE,
)


class ReplayError(ValueError):
    """It cannot be started; the message says why and what to do."""


class Busy(ReplayError):
    """Another one is under way."""


@dataclass(frozen=True)
class Replay:
    """One of them as it is now.

    is_preview: nothing is written; started_at: us
    counts: by reason (letters, those that would pass), of a preview that ended
    result: tried, returned, refused, suppressed, of a replay that ended
    """

    id: str
    is_preview: bool
    state: State
    started_at: int
    author: str
    flags: list[str]
    has_edits: bool
    done: int | None
    total: int | None
    output: str
    counts: list[dict[str, Any]] = field(default_factory=list)
    result: dict[str, Any] | None = None


class Replays:
    """Those of one data directory. Threads and processes may share it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._directory = settings.path("replays")

    def start(
        self,
        project: str,
        flags: list[str],
        edits: str,
        *,
        is_preview: bool,
        author: str,
        now: int,
    ) -> str:
        """Start one, and return its id. Raises ReplayError; Busy while another is under way.

        flags: which letters, as the replay job takes them
        """
        if len(edits) > MOST_EDITS:
            raise ReplayError(f"the edits are longer than {MOST_EDITS:,} characters")
        if edits.strip():
            try:
                edit_rules.parse(edits)
            except MappingError as error:
                raise ReplayError(f"edits: {error}") from error
        self._directory.mkdir(parents=True, exist_ok=True)
        what = "preview" if is_preview else "replay"
        with (self._directory / f"{what}.lock").open("a") as only_one:
            try:
                flock(only_one, LOCK_EX | LOCK_NB)
            except BlockingIOError:
                raise Busy(f"another {what} is under way; wait until it has ended") from None
            id_ = f"{now:016d}-{secrets.token_hex(8)}"
            place = self._directory / project / id_
            place.mkdir(parents=True)
            command = ["replay", f"--project={project}", *flags]
            if edits.strip():
                (place / "edits.toml").write_text(edits)
                command.append(f"--edits={place / 'edits.toml'}")
            asked = {
                "command": [*command, "--dry_run"] if is_preview else command,
                "flags": flags,
                "is_preview": is_preview,
                "author": author,
                "started_at": now,
            }
            (place / "job.json").write_text(json.dumps(asked))
            self._run(place, only_one)
        self._forget_old(project)
        return id_

    def _run(self, place: Path, only_one: IO[str]) -> None:
        """The process inherits both locks, and they are let go of when it ends, however it does."""
        with (place / "alive").open("a") as alive:
            flock(alive, LOCK_EX)
            locks = (only_one.fileno(), alive.fileno())
            process = subprocess.Popen(
                [sys.executable, "-m", "reports.health.replaying", str(place), *map(str, locks)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=os.environ | _environment(self._settings),
                start_new_session=True,  # a report process that ends does not take it along
                pass_fds=locks,
            )
        threading.Thread(target=process.wait, daemon=True).start()  # or it stays as a zombie

    def find(self, project: str, id_: str) -> Replay | None:
        """One of a project's; None where it has none of that id."""
        place = self._directory / project / id_
        if not re.fullmatch(r"[0-9a-f-]+", id_) or not (place / "job.json").exists():
            return None
        return _read(place)

    def newest(self, project: str, most: int = 10) -> list[Replay]:
        """The newest of a project, newest first."""
        return [_read(place) for place in self._places(project)[:most]]

    def _places(self, project: str) -> list[Path]:
        there = (self._directory / project).glob("*/job.json")
        return sorted((path.parent for path in there), reverse=True)

    def _forget_old(self, project: str) -> None:
        for place in self._places(project)[KEPT:]:
            with suppress(FileNotFoundError):  # somebody else removes it
                if not _is_alive(place):  # it ended, or was killed
                    shutil.rmtree(place, ignore_errors=True)


def _environment(settings: Settings) -> dict[str, str]:
    """The settings, so that the job works on the same data."""
    values = {s.variable: (getattr(settings, s.name), s.default) for s in SETTINGS}
    return {name: str(value) for name, (value, usual) in values.items() if value != usual}


def _is_alive(place: Path) -> bool:
    """Does its process hold the lock?"""
    with (place / "alive").open("a") as file:
        try:
            flock(file, LOCK_SH | LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _read(place: Path) -> Replay:
    asked = json.loads((place / "job.json").read_text())
    is_alive = _is_alive(place)
    ended = _json(place / "done.json")  # after: it is written before the lock is let go
    state: State = "running"
    if ended is not None:
        state = "done" if ended["exit_code"] == 0 else "failed"
    elif not is_alive:
        state = "failed"
    output = _tail(place / "output.txt")
    if state == "failed" and ended is None:
        output += "\nIts process ended without a word: it was killed, or the machine went down."
    progress = _json(place / "progress.json") or {}
    return Replay(
        id=place.name,
        is_preview=asked["is_preview"],
        state=state,
        started_at=asked["started_at"],
        author=asked["author"],
        flags=asked["flags"],
        has_edits=(place / "edits.toml").exists(),
        done=progress.get("done"),
        total=progress.get("total"),
        output=output.strip(),
        counts=previewed(output) if asked["is_preview"] else [],
        result=replayed(output),
    )


def previewed(output: str) -> list[dict[str, Any]]:
    """By reason, what the job said would become of the letters."""
    return [
        {"reason": reason, "letters": _number(letters), "would_pass": _number(passed)}
        for reason, letters, passed in _PREVIEW.findall(output)
    ]


def replayed(output: str) -> dict[str, Any] | None:
    """What the job said became of the letters; None where it said nothing of the kind."""
    found = _RESULT.search(output)
    if found is None:
        return None
    tried, returned, run, refused, suppressed = found.groups()
    return {
        "run": run,
        "tried": _number(tried),
        "returned": _number(returned),
        "refused": _number(refused),
        "suppressed": _number(suppressed),
    }


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def _json(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _MOST_OUTPUT))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
