"""API tokens: programs act as the user who made one, in one project, within its scopes."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

from sqlalchemy import Select, func, select, update

from catalog import passwords
from catalog.models import ApiToken, Project, User
from catalog.store import Catalog, CatalogError
from catalog.users import Clock, Person, person, project_row, utc_now

Scope = Literal["read", "sql", "export", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
PREFIX = "hw_t_"
MOST_DAYS = 365
_MOST = 100  # of one user
_TOUCH = timedelta(minutes=1)  # how old `used_at` may be: not every request writes


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of one; its secret is not."""

    id: int
    email: str
    project: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None


class Tokens:
    """All tokens. Threads may share it."""

    def __init__(self, catalog: Catalog, clock: Clock = utc_now) -> None:
        self._catalog = catalog
        self._clock = clock

    def make(
        self, email: str, project: str, name: str, scopes: Iterable[str], days: int
    ) -> tuple[str, Token]:
        """The secret, which is shown this once, and what is kept. Raises CatalogError."""
        name, wanted = name.strip(), set(scopes)
        if not 0 < len(name) <= 100:
            raise CatalogError(f"name={name[:40]!r} needs 1 to 100 characters: say what it is for")
        if not wanted or not wanted <= set(SCOPES):
            raise CatalogError(f"scopes={sorted(wanted)} must be some of {', '.join(SCOPES)}")
        if not 1 <= days <= MOST_DAYS:
            raise CatalogError(f"days={days} must be 1 to {MOST_DAYS}")
        secret, now = PREFIX + secrets.token_urlsafe(32), self._clock()
        with self._catalog.session() as session, session.begin():
            owner = session.scalar(select(User).where(User.email == email.strip().lower()))
            if owner is None:
                raise CatalogError(f"no user {email!r}; list them: python -m catalog users")
            place = project_row(session, project)
            if not owner.is_admin and project not in person(session, owner).roles:
                raise CatalogError(f"{owner.email} has no role in {project}")
            total = select(func.count()).where(ApiToken.user_id == owner.id)
            if (session.scalar(total) or 0) >= _MOST:
                raise CatalogError(f"{owner.email} has {_MOST} tokens; revoke some first")
            row = ApiToken(
                digest=passwords.digest(secret),
                user_id=owner.id,
                project_id=place.id,
                name=name,
                scopes=" ".join(scope for scope in SCOPES if scope in wanted),
                created_at=now,
                expires_at=now + timedelta(days=days),
            )
            session.add(row)
            session.flush()
            return secret, _token(row, owner.email, project)

    def find(self, secret: str) -> tuple[Token, Person] | None:
        """It and whose it is; None where it ran out or was revoked, or its user is disabled."""
        now, digest = self._clock(), passwords.digest(secret)
        with self._catalog.session() as session:
            found = session.execute(
                select(ApiToken, User, Project.slug)
                .join(User, User.id == ApiToken.user_id)
                .join(Project, Project.id == ApiToken.project_id)
                .where(ApiToken.digest == digest, ApiToken.expires_at > now)
                .where(User.disabled_at.is_(None))
            ).one_or_none()
            if found is None:
                return None
            row, owner, project = found
            both = _token(row, owner.email, project), person(session, owner)
            if row.used_at is None or now - row.used_at > _TOUCH:
                session.execute(
                    update(ApiToken).where(ApiToken.digest == digest).values(used_at=now)
                )
                session.commit()
            return both

    def of(self, user_id: int) -> list[Token]:
        """Those of a user, the newest first."""
        return self._read(self._query().where(User.id == user_id))

    def all(self) -> list[Token]:
        """The newest first."""
        return self._read(self._query())

    def revoke(self, id: int, user_id: int | None = None) -> Token:  # noqa: A002
        """Refuse it from now on; with a user, only where it is theirs. Raises CatalogError."""
        with self._catalog.session() as session, session.begin():
            query = self._query().where(ApiToken.id == id)
            if user_id is not None:
                query = query.where(User.id == user_id)
            found = session.execute(query).one_or_none()
            if found is None:
                raise CatalogError(f"there is no token {id}; list them: python -m catalog tokens")
            gone = _token(*found)
            session.delete(found[0])
        return gone

    def _query(self) -> Select[ApiToken, str, str]:
        return (
            select(ApiToken, User.email, Project.slug)
            .join(User, User.id == ApiToken.user_id)
            .join(Project, Project.id == ApiToken.project_id)
            .order_by(ApiToken.id.desc())
        )

    def _read(self, query: Select[ApiToken, str, str]) -> list[Token]:
        with self._catalog.session() as session:
            return [_token(*row) for row in session.execute(query)]


def _token(row: ApiToken, email: str, project: str) -> Token:
    return Token(
        id=row.id,
        email=email,
        project=project,
        name=row.name,
        scopes=tuple(row.scopes.split()),
        created_at=row.created_at,
        expires_at=row.expires_at,
        used_at=row.used_at,
    )
