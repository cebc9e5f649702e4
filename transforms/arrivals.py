"""What is known of a bus without order: until when everything that was received has come."""

from __future__ import annotations

from collections import deque


class Arrivals:
    """Says how far a reader of Pub/Sub is, from what came lately. All times in us.

    Nobody can ask Pub/Sub for the oldest block it still holds. But it delivers about oldest first,
    what a killed reader held comes back within `window_us`, and so do the first blocks that
    collectors kept on their disks while the bus was away. So as long as older blocks keep coming,
    the oldest of the last `window_us` counts; when nothing comes, the clock does, less the window,
    and only as far as the bus was heard from.
    """

    def __init__(self, window_us: int, began: int) -> None:
        self._window_us = window_us
        self._began = self._heard = began
        # (came, received), received rising: what is newer than a later, older one never counts.
        self._lately: deque[tuple[int, int]] = deque()

    def came(self, received: int, now: int) -> None:
        """A block was delivered at `now` whose first event was received at `received`."""
        while self._lately and self._lately[-1][1] >= received:
            self._lately.pop()
        self._lately.append((now, received))
        self.heard(now)

    def heard(self, now: int) -> None:
        """The bus answered at `now`: what it has, it would deliver."""
        self._heard = max(self._heard, now)

    def complete_until(self, now: int) -> int | None:
        """All that was received before this has come; None: not known yet.

        May fall back when something older comes; who reports it keeps the highest.
        """
        since = now - self._window_us
        while self._lately and self._lately[0][0] < since:
            self._lately.popleft()
        quiet = min(now, self._heard) - self._window_us
        if quiet < self._began:
            return None
        return min(quiet, self._lately[0][1]) if self._lately else quiet
