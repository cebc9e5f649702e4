"""The list of suppressed people, as each collector process holds it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from catalog.policies import Suppressed
from transforms import suppression
from transforms.candidates import Candidates

log = logging.getLogger(__name__)


class SuppressionList:
    """A copy of the catalogue's list, renewed every `refresh_s` as the keys are.

    load:  the list, given the copy in hand; the copy itself where nothing has changed
    clock: now in s
    While the catalogue cannot be read, the copy stays in use.
    """

    def __init__(
        self,
        load: Callable[[Suppressed | None], Suppressed],
        refresh_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._load, self._refresh_s, self._clock = load, refresh_s, clock
        self._lock = threading.Lock()
        self._copy = load(None)
        self._loaded_at = clock()

    def filter(self, candidates: Candidates, project: str) -> Candidates:
        """The candidates without those of suppressed people: `.suppressed` are their places.

        For every request, before anything of it is stored: as event or as dead letter.
        """
        if self._clock() - self._loaded_at > self._refresh_s:
            self._renew()
        people = self._copy.by_project.get(project)
        return suppression.suppress(candidates, project, people) if people else candidates

    def _renew(self) -> None:
        if not self._lock.acquire(blocking=False):  # another thread is at it
            return
        try:
            self._copy = self._load(self._copy)
        except Exception as error:  # the copy in hand is better than refusing events
            log.warning(
                "suppressions not renewed, the old copy serves on: %s", type(error).__name__
            )
        finally:
            self._loaded_at = self._clock()
            self._lock.release()
