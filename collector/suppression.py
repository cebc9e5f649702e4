"""The list of suppressed people, as each collector process holds it."""

from __future__ import annotations

from collections.abc import Callable

from catalog.policies import Suppressed
from collector.renewed import Renewed
from transforms import suppression
from transforms.candidates import Candidates


class SuppressionList:
    """Whose events leave no trace, by a copy of the catalogue; see Renewed."""

    def __init__(
        self,
        load: Callable[[Suppressed | None], Suppressed],
        refresh_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._people = Renewed("suppressions", load, refresh_s, clock)

    def filter(self, candidates: Candidates, project: str) -> Candidates:
        """The candidates without those of suppressed people: `.suppressed` are their places.

        For every request, before anything of it is stored: as event or as dead letter.
        """
        people = self._people().by_project.get(project, frozenset())
        return suppression.suppress(candidates, project, people)
