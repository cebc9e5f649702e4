"""How many queries run at once, on this machine and of one person: files that are locked.

The operating system lets a lock go when its process ends, however it ends; so all processes of the
reports share the count and none of them can lose a place.
"""

from __future__ import annotations

import fcntl
import hashlib
import time
from pathlib import Path
from typing import IO

_LOOK_S = 0.05


class NoRoom(Exception):
    """All places are taken. mine: by this person's own queries."""

    def __init__(self, mine: bool) -> None:
        super().__init__()
        self.mine = mine


class Slot:
    """A place, until it is given back."""

    def __init__(self, locks: list[IO[bytes]]) -> None:
        self._locks = locks

    @property
    def files(self) -> tuple[int, ...]:
        """Descriptors that hold it: a process that inherits them has the place until it ends."""
        return tuple(lock.fileno() for lock in self._locks)

    def give_back(self) -> None:
        """Let somebody else run; a second time it does nothing."""
        while self._locks:
            self._locks.pop().close()


class Slots:
    """Places for `at_once` queries in all and `per_user` of one person."""

    def __init__(self, directory: Path, at_once: int, per_user: int) -> None:
        self._directory, self.at_once, self.per_user = directory, at_once, per_user

    def take(self, user: str | None, wait_s: float) -> Slot:
        """A place, waited for so long. user: None for nobody in particular. Raises NoRoom."""
        self._directory.mkdir(parents=True, exist_ok=True)
        until = time.monotonic() + wait_s
        while True:
            found = self._try(user)
            if isinstance(found, Slot):
                return found
            if time.monotonic() >= until:
                raise found
            time.sleep(_LOOK_S)

    def _try(self, user: str | None) -> Slot | NoRoom:
        slot = Slot([])
        if user is not None:
            # A name may hold anything; its hash is a file's name.
            name = hashlib.sha256(user.encode()).hexdigest()[:32]
            if not self._lock(f"user-{name}", self.per_user, slot):
                return NoRoom(mine=True)
        if not self._lock("all", self.at_once, slot):
            slot.give_back()
            return NoRoom(mine=False)
        return slot

    def _lock(self, name: str, places: int, slot: Slot) -> bool:
        for place in range(places):
            file = (self._directory / f"{name}-{place}.lock").open("ab")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                continue
            slot._locks.append(file)
            return True
        return False
