"""What retention took out of a table, so that the ledger still adds up without it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta

# A day's numbers need the 32 days before it (an order that repeats one does not count), and its
# zone may be 14 hours off UTC.
_REACH = timedelta(days=33)


@dataclass(frozen=True, slots=True)
class Gone:
    """Of one project. `+` adds the counts.

    until:    UTC days before this one are gone
    rows:     rows taken out while their day could still be counted; of an aggregate table the
              events and repeats that its rows stood for
    imported: of those, rows that came from files and never were on the bus
    late:     rows that came when their day was gone already: kept until the next run, not counted;
              late_imported of them from files
    """

    until: date = date.min
    rows: int = 0
    imported: int = 0
    late: int = 0
    late_imported: int = 0

    def __add__(self, other: Gone) -> Gone:
        return Gone(
            max(self.until, other.until),
            self.rows + other.rows,
            self.imported + other.imported,
            self.late + other.late,
            self.late_imported + other.late_imported,
        )


@dataclass(frozen=True)
class Keeping:
    """How long things are kept, in days. Raises ValueError where numbers would go before events.

    by_project: (raw, aggregate); None: as the default
    """

    raw_days: int
    aggregate_days: int
    by_project: Mapping[str, tuple[int | None, int | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for project in ("", *self.by_project):
            raw, aggregate = self.days(project)
            if aggregate < raw:
                whose = f"project {project!r}" if project else "the settings"
                raise ValueError(
                    f"{whose}: exact numbers of {aggregate} days would go before events of {raw}, "
                    "and come back with the next rollup; keep them as long at least"
                )

    def days(self, project: str) -> tuple[int, int]:
        """(raw, aggregate) of one project."""
        raw, aggregate = self.by_project.get(project, (None, None))
        return raw or self.raw_days, aggregate or self.aggregate_days

    def raw_until(self, project: str, today: date) -> date:
        """UTC days before this one go. One more is kept, for zones where it is yesterday still."""
        return today - timedelta(days=self.days(project)[0] + 1)

    def aggregates_until(self, project: str, today: date) -> date:
        """Days of the project's zone before this one go."""
        return today - timedelta(days=self.days(project)[1])

    def latest_raw(self, today: date) -> date:
        """Before this day some project may have events that go."""
        return max(self.raw_until(project, today) for project in ("", *self.by_project))

    def latest_aggregates(self, today: date) -> date:
        """Before this day some project may have numbers that go."""
        return max(self.aggregates_until(project, today) for project in ("", *self.by_project))


@dataclass(frozen=True)
class Retired:
    """By project. `+` adds what another run took out."""

    by_project: Mapping[str, Gone] = field(default_factory=dict)

    def __add__(self, other: Retired) -> Retired:
        projects = self.by_project.keys() | other.by_project.keys()
        return Retired({p: self.of(p) + other.of(p) for p in projects})

    def of(self, project: str) -> Gone:
        """What is gone of one project."""
        return self.by_project.get(project, Gone())

    def is_final(self, project: str, day: date) -> bool:
        """Can the day no more be computed, because events it needs are gone?"""
        until = self.of(project).until
        return until != date.min and day < until + _REACH

    def total(self) -> Gone:
        """All projects together; `until` is the latest."""
        return sum(self.by_project.values(), start=Gone())

    def to_json(self) -> str:
        """As stored in a snapshot property."""
        found = {
            p: {**asdict(gone), "until": gone.until.isoformat()}
            for p, gone in sorted(self.by_project.items())
        }
        return json.dumps(found, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Retired:
        """Inverse of to_json."""
        return cls(
            {
                p: Gone(**{**found, "until": date.fromisoformat(found["until"])})
                for p, found in json.loads(text).items()
            }
        )
