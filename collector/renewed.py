"""A copy of what the catalogue holds: read often, renewed now and then, kept when it must be."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from collector.waiting import Signal, aside, signal

log = logging.getLogger(__name__)
T = TypeVar("T")


class Renewed(Generic[T]):
    """Call it for the copy, which is renewed when it is older than `refresh_s`.

    what:  for the log, such as "keys"
    load:  reads it; given the copy in hand (None at first), which it may return unchanged
    clock: now in s, monotonic

    One thread renews and the others go on with the copy in hand. While the catalogue cannot be
    read the copy stays in use: ingest does not depend on it.
    """

    def __init__(
        self,
        what: str,
        load: Callable[[T | None], T],
        refresh_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._what, self._load, self._refresh_s, self._clock = what, load, refresh_s, clock
        self._lock = threading.Lock()
        self._waiting: list[Signal] | None = None  # None: no renewal is under way
        self._copy = load(None)
        self._loaded_at = clock()

    def __call__(self) -> T:
        """The copy, at most about `refresh_s` old."""
        return self.not_older_than(self._refresh_s, wait=False)

    def not_older_than(self, age_s: float, *, wait: bool) -> T:
        """The copy, renewed if it is older; wait: for the renewal that is under way."""
        if self._is_older(age_s):
            begins, renewed = self._join(age_s, wait)
            if begins:
                aside(self._renew)
            elif renewed:
                renewed.wait()
        return self._copy

    def _is_older(self, age_s: float) -> bool:
        return self._clock() - self._loaded_at > age_s

    def _join(self, age_s: float, wait: bool) -> tuple[bool, Signal | None]:
        """(whether it is for the caller to renew, what to wait for while another does)."""
        with self._lock:
            if self._waiting is None and self._is_older(age_s):
                self._waiting = []
                return True, None
            if self._waiting is None or not wait:
                return False, None
            self._waiting.append(renewed := signal())
            return False, renewed

    def _renew(self) -> None:
        try:
            self._copy = self._load(self._copy)
        except Exception as error:  # the copy in hand is better than refusing events
            reason = type(error).__name__
            log.warning("%s not renewed, the old copy serves on: %s", self._what, reason)
        finally:
            self._loaded_at = self._clock()
            with self._lock:
                waiting, self._waiting = self._waiting or [], None
            for renewed in waiting:
                renewed.set()
