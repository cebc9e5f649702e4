"""Jobs and their files: a directory each, so that every report process sees all of them.

`DIRECTORY/PROJECT/ID/job.json` says what is asked and how far it is; `files/` holds what was made,
`manifest.json` last of all. Whoever works on a job holds a lock on `lock`, which the operating
system lets go when that process ends, however it ends: a job that is said to run and is not locked
has lost its process.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

State = Literal["queued", "running", "done", "failed", "cancelled"]
MANIFEST, SUMS = "manifest.json", "SHA256SUMS"
MOST_ATTEMPTS = 3
MOST_JOBS = 200  # of a project
_ID = re.compile(r"[0-9a-f]{24}")
_OPEN = ("queued", "running")


class ShelfError(ValueError):
    """The job cannot be had or changed; the message says why and what to do."""


@dataclass(frozen=True)
class Job:
    """One export. Times in us.

    rows, bytes: written so far
    share:       how much of it is done, 0 to 1; None where that is not known
    message:     why it failed
    attempts:    how often it was begun
    """

    id: str
    project: str
    asked: dict[str, Any]
    author: str
    created_at: int
    expires_at: int
    state: State = "queued"
    started_at: int | None = None
    ended_at: int | None = None
    rows: int = 0
    bytes: int = 0
    share: float | None = None
    message: str = ""
    attempts: int = 0


class Shelf:
    """All jobs. keep_s: how long one is kept, in seconds."""

    def __init__(self, directory: Path, keep_s: float) -> None:
        self.directory, self._keep_us = directory, int(keep_s * 1e6)

    def add(self, project: str, asked: dict[str, Any], author: str) -> Job:
        """Queue one. Raises ShelfError where there are too many."""
        if len(self.all(project)) >= MOST_JOBS:
            raise ShelfError(f"{project} has {MOST_JOBS} exports; remove some first")
        now = _now()
        job = Job(secrets.token_hex(12), project, asked, author, now, now + self._keep_us)
        self.path(job).mkdir(parents=True)
        self.put(job)
        return job

    def put(self, job: Job) -> None:
        """Write down how far it is; nothing where it was removed."""
        path = self.path(job) / "job.json"
        with suppress(FileNotFoundError):
            put_json(path, asdict(job))

    def get(self, project: str, id_: str) -> Job | None:
        """The job as it is written down."""
        if not _ID.fullmatch(id_):
            return None
        try:
            return Job(**json.loads((self.directory / project / id_ / "job.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def all(self, project: str) -> list[Job]:
        """Of a project, newest first."""
        found = [self.get(project, path.name) for path in self._below(project)]
        return sorted((job for job in found if job), key=lambda job: -job.created_at)

    def open_jobs(self) -> list[Job]:
        """Of all projects, oldest first: those that wait, and those whose process is gone."""
        found = [job for project in self._projects() for job in self.all(project)]
        waiting = [job for job in found if job.state in _OPEN and not self.is_locked(job)]
        return sorted(waiting, key=lambda job: job.created_at)

    def path(self, job: Job) -> Path:
        """Its directory."""
        return self.directory / job.project / job.id

    def files(self, job: Job) -> Path:
        """Where its files are."""
        return self.path(job) / "files"

    def file(self, job: Job, name: str) -> Path | None:
        """One of the files of a job that is done, by a name that its manifest has."""
        if job.state != "done":
            return None
        known = {one["name"] for one in self.manifest(job)["files"]} | {MANIFEST, SUMS}
        return self.files(job) / name if name in known else None

    def manifest(self, job: Job) -> dict[str, Any]:
        """What a job that is done has made."""
        found: dict[str, Any] = json.loads((self.files(job) / MANIFEST).read_text())
        return found

    @contextmanager
    def locked(self, job: Job) -> Iterator[bool]:
        """Does it belong to us until the block ends? False where somebody else has it."""
        try:
            file = (self.path(job) / "lock").open("ab")
        except FileNotFoundError:  # removed
            yield False
            return
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def is_locked(self, job: Job) -> bool:
        """Does somebody work on it?"""
        with self.locked(job) as ours:
            return not ours

    def cancel(self, job: Job) -> None:
        """Have it stopped; whoever works on it looks several times a second."""
        with suppress(FileNotFoundError):
            (self.path(job) / "cancel").touch()
        with self.locked(job) as ours:
            now = self.get(job.project, job.id)
            if ours and now is not None and now.state in _OPEN:
                self.put(replace(now, state="cancelled", ended_at=_now()))

    def is_cancelled(self, job: Job) -> bool:
        """Is it to stop? Also where it was removed."""
        return not self.path(job).exists() or (self.path(job) / "cancel").exists()

    def remove(self, job: Job, wait_s: float = 10.0) -> None:
        """Stop it and remove its files. Raises ShelfError where it does not stop."""
        self.cancel(job)
        until = time.monotonic() + wait_s
        while self.is_locked(job) and self.path(job).exists():
            if time.monotonic() > until:
                raise ShelfError("the export is still being stopped; remove it in a moment")
            time.sleep(0.05)
        # Away under another name first: nobody reads a directory that is half there.
        gone = self.directory / f".gone-{job.id}"
        with suppress(FileNotFoundError):
            self.path(job).rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def expire(self, now_us: int | None = None) -> int:
        """Remove what is past its time and not being worked on; how many."""
        now, count = now_us or _now(), 0
        for project in self._projects():
            for job in self.all(project):
                if job.expires_at <= now and not self.is_locked(job):
                    self.remove(job)
                    count += 1
        return count

    def _projects(self) -> list[str]:
        return [path.name for path in self._below("") if path.name[0] != "."]

    def _below(self, name: str) -> list[Path]:
        try:
            return [path for path in (self.directory / name).iterdir() if path.is_dir()]
        except FileNotFoundError:
            return []


def put_json(path: Path, value: Any) -> None:
    """Write a file whole or not at all."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with draft.open("w") as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _now() -> int:
    return time.time_ns() // 1000
