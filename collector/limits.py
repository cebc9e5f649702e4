"""How much a key may send: events per second and per UTC day, exact over all worker processes.

The counters lie in a file that all workers map into memory. A request with a limited key costs a
lock and a few bytes, no sync: they outlive every process, and a power cut takes back what the
system had not written yet, some 30 s.
"""

from __future__ import annotations

import fcntl
import logging
import math
import mmap
import os
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

import msgspec

from catalog.policy import SourcePolicy
from collector.problems import Problem
from transforms.candidates import Candidates
from transforms.failures import Reason

log = logging.getLogger(__name__)

BURST_S = 5.0  # what a key that was quiet may send at once, in seconds of its rate
_DAY_S = 86_400
_BACKWARDS_S = 1.0  # a clock that is set back by more must not lock keys out until it catches up
_DIGEST_BYTES = 16
# Digest of the key; when its bucket is full again and when that was noted, epoch s; UTC day and
# events of that day.
_SLOT = struct.Struct("=16sddqq")
_SLOTS = 1 << 14
_SMALLEST_PROPERTY = len(b'"":0,')
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Limits:
    """Token buckets and daily counters of all keys that have limits. Safe between threads.

    path:  file of the counters; made if it is not there
    clock: now in epoch s, the same for all workers
    """

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
        # All of it at once: a page that the disk has no room for kills who writes to it.
        os.posix_fallocate(self._file, 0, _SLOTS * _SLOT.size)
        self._counters = mmap.mmap(self._file, _SLOTS * _SLOT.size)
        self._places: dict[str, int] = {}

    def take(self, key: str, policy: SourcePolicy, events: int) -> None:
        """Count a request's events. Raises Problem 429; then none of them is counted.

        A request with more events than fit a burst is let in when the bucket is full, and what
        follows waits until it is paid for.
        """
        rate, quota = policy.rate_limit_per_s, policy.daily_quota
        if rate is None and quota is None:
            return
        now = self._clock()
        with self._locked():
            at = self._place(key)
            if at is None:
                return
            digest, full_at, noted_at, day, used = _SLOT.unpack_from(self._counters, at)
            full_at = now if noted_at > now + _BACKWARDS_S else max(full_at, now)
            today = int(now // _DAY_S)
            if today > day:
                day, used = today, 0
            if quota is not None and used + events > quota:
                raise _quota_used(quota, used, events, (day + 1) * _DAY_S - now)
            if rate is not None:
                wait = full_at - now + min(events / rate, BURST_S) - BURST_S
                if wait > 0:
                    raise _too_fast(rate, wait)
                full_at += events / rate
            _SLOT.pack_into(self._counters, at, digest, full_at, now, day, used + events)

    def give_back(self, key: str, policy: SourcePolicy, events: int) -> None:
        """Undo `take`, where nothing of the request was stored: the sender will try again."""
        if policy.rate_limit_per_s is None and policy.daily_quota is None:
            return
        with self._locked():
            at = self._place(key)
            if at is None:
                return
            digest, full_at, noted_at, day, used = _SLOT.unpack_from(self._counters, at)
            full_at -= events / policy.rate_limit_per_s if policy.rate_limit_per_s else 0.0
            used = max(0, used - events)
            _SLOT.pack_into(self._counters, at, digest, full_at, noted_at, day, used)

    def close(self) -> None:
        """Give the file back."""
        self._counters.close()
        os.close(self._file)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Nobody else counts: no thread, no process. The lock of a killed process is free.

        The file's lock is one for all threads of a process: one that leaves would open it for
        other processes while the next one counts.
        """
        with self._lock:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def _place(self, key: str) -> int | None:
        """Where the key's counters lie; None when there is no room for more keys."""
        known = self._places.get(key)
        if known is not None:
            return known
        digest = blake2b(key.encode(), digest_size=_DIGEST_BYTES).digest()
        first = int.from_bytes(digest[:4], "big")
        for step in range(_SLOTS):
            at = (first + step) % _SLOTS * _SLOT.size
            found = self._counters[at : at + _DIGEST_BYTES]
            if found == bytes(_DIGEST_BYTES):
                self._counters[at : at + _DIGEST_BYTES] = digest
            elif found != digest:
                continue
            self._places[key] = at
            return at
        log.error("no room for the limits of one more key: it is not limited")
        return None


def refuse_too_many_properties(candidates: Candidates, most: int) -> Candidates:
    """Those with more than `most` properties at the top level are refused.

    Only properties long enough to hold so many are looked at.
    """
    shortest = most * _SMALLEST_PROPERTY
    properties = candidates.columns.get("properties") or ()
    if max(map(len, properties), default=0) <= shortest:
        return candidates
    return candidates.refuse(
        {
            place: (
                Reason.TOO_MANY_PROPERTIES,
                f"{count:,} properties; at most {most:,} an event",
            )
            for place, text in zip(candidates.places, properties, strict=False)
            if len(text) > shortest and (count := _members(text)) > most
        }
    )


def _members(text: bytes) -> int:
    """Members of a JSON object, 0 where it is broken: that is judged elsewhere."""
    try:
        return len(_OBJECT.decode(text))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return 0


def _quota_used(quota: int, used: int, events: int, wait_s: float) -> Problem:
    return Problem(
        429,
        "quota_exceeded",
        f"{used:,} of {quota:,} events of this UTC day are used, {events:,} more are too many; "
        "send them tomorrow",
        _whole(wait_s),
    )


def _too_fast(rate: int, wait_s: float) -> Problem:
    return Problem(
        429,
        "rate_limited",
        f"more than {rate:,} events per second with this key; try again later",
        _whole(wait_s),
    )


def _whole(wait_s: float) -> int:
    return max(1, math.ceil(wait_s))
