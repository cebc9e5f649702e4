"""What the pages for engineers look at: days, and whose events."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from flask import request

from reports.cohorts.routes import cohort_names

PRESETS = (
    ("today", "Today"),
    ("yesterday", "Yesterday"),
    ("last_7_days", "Last 7 days"),
    ("last_30_days", "Last 30 days"),
    ("last_90_days", "Last 90 days"),
)


@dataclass(frozen=True)
class Scope:
    """Of the address, as questions have it.

    dates, cohort: what is asked for; cohorts: those that can be
    """

    dates: str
    cohort: str
    cohorts: tuple[str, ...]

    @property
    def choices(self) -> list[tuple[str, str]]:
        """Presets of dates, and what was asked where it is none of them."""
        is_known = self.dates in dict(PRESETS)
        return [*PRESETS, *([] if is_known else [(self.dates, self.dates)])]

    @property
    def asked(self) -> dict[str, str]:
        """Fields of a question."""
        return {"dates": self.dates, "cohort": self.cohort}

    @property
    def query(self) -> str:
        """For the address of another page of the same scope."""
        return urlencode({name: value for name, value in self.asked.items() if value})


def scope(project: str, usual: str = "last_30_days") -> Scope:
    """?dates=&cohort=, or the usual dates and everybody."""
    dates, cohort = request.args.get("dates") or usual, request.args.get("cohort", "")
    return Scope(dates, cohort, cohort_names(project))
