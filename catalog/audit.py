"""The audit log: who did what, when and from where. Entries are added, read and, when old, removed.

None is ever changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, inspect, select

from catalog.models import AuditEntry
from catalog.store import Catalog
from catalog.users import Clock, utc_now

MOST = 500  # entries of one answer


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. actor: address, of a token its name too, or who else; at: UTC.

    Neither target nor outcome ever holds a password, a token, or a value of a query.
    """

    id: int
    at: datetime
    actor: str
    address: str
    action: str
    project: str
    target: str
    outcome: str


class Audit:
    """The log of all projects. Threads may share it."""

    def __init__(self, catalog: Catalog, clock: Clock = utc_now) -> None:
        self._catalog = catalog
        self._clock = clock

    def add(
        self,
        action: str,
        target: str = "",
        outcome: str = "ok",
        *,
        actor: str,
        address: str = "",
        project: str = "",
    ) -> None:
        """Write one line. What is longer than its column is cut."""
        now = self._clock()
        row = _row(now, action, target, outcome, actor=actor, address=address, project=project)
        with self._catalog.session() as session, session.begin():
            session.add(row)

    def exists(self) -> bool:
        """Whether the catalogue was made: before, nothing can be written down."""
        with self._catalog.session() as session:
            return inspect(session.connection()).has_table(AuditEntry.__tablename__)

    def count_before(self, until: datetime) -> int:
        """How many entries are older than an instant, UTC."""
        with self._catalog.session() as session:
            query = select(func.count()).where(AuditEntry.at < until)
            return session.scalar(query) or 0

    def prune(self, until: datetime, *, actor: str) -> int:
        """Remove what is older than an instant, UTC, and write down that, by whom and how many.

        Both or neither: no entry is ever gone without one that says so. With none to remove,
        nothing is written.
        """
        with self._catalog.session() as session, session.begin():
            gone = session.execute(delete(AuditEntry).where(AuditEntry.at < until))
            removed: int = gone.rowcount  # type: ignore[attr-defined]
            if removed:
                session.add(
                    _row(
                        self._clock(),
                        "audit.prune",
                        f"before {until.isoformat(sep=' ', timespec='minutes')}",
                        f"{removed:,} entries",
                        actor=actor,
                    )
                )
        return removed

    def find(
        self,
        *,
        actor: str = "",
        action: str = "",
        project: str = "",
        outcome: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Entry]:
        """The newest first. actor, outcome: part of the text; action: its beginning.

        since, until: from and before an instant, UTC; before: an id, to read on from.
        """
        query = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(min(limit, MOST))
        if actor:
            query = query.where(AuditEntry.actor.contains(actor, autoescape=True))
        if action:
            query = query.where(AuditEntry.action.startswith(action, autoescape=True))
        if outcome:
            query = query.where(AuditEntry.outcome.contains(outcome, autoescape=True))
        if project:
            query = query.where(AuditEntry.project == project)
        if since is not None:
            query = query.where(AuditEntry.at >= since)
        if until is not None:
            query = query.where(AuditEntry.at < until)
        if before is not None:
            query = query.where(AuditEntry.id < before)
        with self._catalog.session() as session:
            return [
                Entry(r.id, r.at, r.actor, r.address, r.action, r.project, r.target, r.outcome)
                for r in session.scalars(query)
            ]


def _row(
    at: datetime,
    action: str,
    target: str,
    outcome: str,
    *,
    actor: str,
    address: str = "",
    project: str = "",
) -> AuditEntry:
    return AuditEntry(
        at=at,
        actor=actor[:400],
        address=address[:45],
        action=action[:63],
        project=project[:63],
        target=target[:500],
        outcome=outcome[:200],
    )
