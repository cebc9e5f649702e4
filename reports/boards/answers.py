"""Remembers answers for a short time, so that many people looking at one board ask once."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path

FRESH_S = 10.0  # this long nobody looks whether the tables changed
KEPT_S = 60.0  # and no longer than this: cohorts and schemas change without the tables
_MOST = 512
_AT_ONCE = 2  # each question takes all cores that there are


@dataclass(frozen=True)
class _Kept:
    value: bytes
    made_at: float
    stamp: Hashable


class Answers:
    """Answers as JSON, by what was asked. Threads may share it.

    A question that many ask at once is asked once, the others wait for it. An answer is used again
    while it is FRESH_S old, and then for as long as `stamp` stays what it was, up to KEPT_S.
    """

    def __init__(
        self, stamp: Callable[[], Hashable], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stamp, self._clock = stamp, clock
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._asking: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(_AT_ONCE)

    def get(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """The answer, remembered or made now. What `make` raises is not remembered."""
        if (found := self._usable(key)) is not None:
            return found
        with self._lock:
            asking = self._asking.setdefault(key, threading.Lock())
        with asking:
            if (found := self._usable(key)) is not None:
                return found
            try:
                return self._made(key, make)
            finally:
                with self._lock:
                    self._asking.pop(key, None)

    def _made(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        with self._slots:
            stamp, made_at = self._stamp(), self._clock()  # first: it is never newer than it says
            value = make()
        with self._lock:
            self._kept[key] = _Kept(value, made_at, stamp)
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return value

    def _usable(self, key: Hashable) -> bytes | None:
        with self._lock:
            kept = self._kept.get(key)
        if kept is None:
            return None
        age = self._clock() - kept.made_at
        if age < FRESH_S or (age < KEPT_S and kept.stamp == self._stamp()):
            return kept.value
        return None


def stamp_of(*paths: Path) -> tuple[tuple[int, int], ...]:
    """When files were last written, and how long they are; zeros for those that are not there."""
    found = []
    for path in paths:
        try:
            seen = path.stat()
            found.append((seen.st_mtime_ns, seen.st_size))
        except FileNotFoundError:
            found.append((0, 0))
    return tuple(found)
