"""Browsers that are signed in. The cookie holds a random secret, the catalogue its digest."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, or_, select, update

from catalog import passwords
from catalog.models import BrowserSession, User
from catalog.store import Catalog, CatalogError
from catalog.users import Clock, Person, person, utc_now

_TOUCH = timedelta(minutes=1)  # how old `seen_at` may be: not every request writes


@dataclass(frozen=True, slots=True)
class Seen:
    """One session, for its owner to recognise. id: names it without letting anybody in."""

    id: str
    address: str
    agent: str
    created_at: datetime
    seen_at: datetime


class Sessions:
    """All sessions. One ends idle_h hours after its last request, and max_h after its start."""

    def __init__(
        self, catalog: Catalog, idle_h: float, max_h: float, clock: Clock = utc_now
    ) -> None:
        self._catalog = catalog
        self._idle = timedelta(hours=idle_h)
        self._longest = timedelta(hours=max_h)
        self._clock = clock

    def start(self, user_id: int, address: str, agent: str) -> str:
        """The secret of a new one. Always new: what a browser brought along is never taken over."""
        secret, now = secrets.token_urlsafe(32), self._clock()
        with self._catalog.session() as session, session.begin():
            session.execute(delete(BrowserSession).where(self._over(now)))
            session.add(
                BrowserSession(
                    digest=passwords.digest(secret),
                    user_id=user_id,
                    address=address[:45],
                    agent=agent[:200],
                    created_at=now,
                    seen_at=now,
                )
            )
        return secret

    def find(self, secret: str) -> Person | None:
        """Whose it is; None where it ended, or its user was disabled or removed."""
        now, digest = self._clock(), passwords.digest(secret)
        with self._catalog.session() as session:
            found = session.execute(
                select(BrowserSession.seen_at, User)
                .join(User, User.id == BrowserSession.user_id)
                .where(BrowserSession.digest == digest, ~self._over(now))
                .where(User.disabled_at.is_(None))
            ).one_or_none()
            if found is None:
                return None
            seen_at, row = found
            who = person(session, row)
            if now - seen_at > _TOUCH:
                touched = update(BrowserSession).where(BrowserSession.digest == digest)
                session.execute(touched.values(seen_at=now))
                session.commit()
            return who

    def of(self, user_id: int) -> list[Seen]:
        """Those of a user, the newest first."""
        with self._catalog.session() as session:
            rows = session.scalars(
                select(BrowserSession)
                .where(BrowserSession.user_id == user_id, ~self._over(self._clock()))
                .order_by(BrowserSession.seen_at.desc())
            )
            return [Seen(_id(r.digest), r.address, r.agent, r.created_at, r.seen_at) for r in rows]

    def end(self, secret: str) -> None:
        """Sign this browser out; nothing where it is not signed in."""
        with self._catalog.session() as session, session.begin():
            mine = BrowserSession.digest == passwords.digest(secret)
            session.execute(delete(BrowserSession).where(mine))

    def end_one(self, user_id: int, id: str) -> None:  # noqa: A002
        """Sign out the one with an id, of this user. Raises CatalogError where there is none."""
        with self._catalog.session() as session, session.begin():
            of_user = select(BrowserSession).where(BrowserSession.user_id == user_id)
            for row in session.scalars(of_user):
                if _id(row.digest) == id:
                    session.delete(row)
                    return
        raise CatalogError("that session has ended already; load the page again")

    def end_all(self, user_id: int, but: str | None = None) -> int:
        """Sign a user out everywhere, but for one secret. How many there were."""
        kept = passwords.digest(but) if but else b""
        with self._catalog.session() as session, session.begin():
            rows = session.scalars(
                select(BrowserSession).where(
                    BrowserSession.user_id == user_id, BrowserSession.digest != kept
                )
            ).all()
            for row in rows:
                session.delete(row)
        return len(rows)

    def _over(self, now: datetime) -> ColumnElement[bool]:
        return or_(
            BrowserSession.seen_at <= now - self._idle,
            BrowserSession.created_at <= now - self._longest,
        )


def id_of(secret: str) -> str:
    """The id of the session with a secret."""
    return _id(passwords.digest(secret))


def _id(digest: bytes) -> str:
    return digest.hex()[:16]
