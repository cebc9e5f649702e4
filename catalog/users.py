"""Who may use the pages: people, their roles in projects, and how they prove who they are."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, get_args

from sqlalchemy import delete, func, inspect, select, update
from sqlalchemy.orm import Session

from catalog import passwords
from catalog.models import ApiToken, BrowserSession, Membership, PasswordLink, Project, User
from catalog.store import Catalog, CatalogError

MemberRole = Literal["viewer", "analyst", "admin"]
MEMBER_ROLES: tuple[MemberRole, ...] = get_args(MemberRole)  # each may do what those before may
LINK_H = 72  # hours that a link for setting a password works
_EMAIL = re.compile(r"[^@\s<>,;\x00-\x1f]{1,64}@[^@\s<>,;\x00-\x1f]+")
_LIST = "list them: python -m catalog users"


def utc_now() -> datetime:
    """Now, as the catalogue keeps times: UTC, without zone."""
    return datetime.now(UTC).replace(tzinfo=None)


Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Person:
    """A user. roles: by project. is_admin: of everything. subject: of the OIDC account, if any."""

    id: int
    email: str
    name: str
    is_admin: bool
    disabled: bool
    has_password: bool
    subject: str | None
    roles: Mapping[str, str]
    created_at: datetime


class Users:
    """All users of the catalogue. Threads may share it."""

    def __init__(self, catalog: Catalog, clock: Clock = utc_now) -> None:
        self._catalog = catalog
        self._clock = clock
        self._exist = False

    def exist(self) -> bool:
        """Whether there is any, disabled or not. A catalogue not yet made has none.

        Once there is one, there always is: the last admin cannot go.
        """
        self._exist = self._exist or self._found()
        return self._exist

    def _found(self) -> bool:
        with self._catalog.session() as session:
            url = session.get_bind().engine.url
            if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
                return False
            if not inspect(session.connection()).has_table(User.__tablename__):
                return False
            return session.scalar(select(User.id).limit(1)) is not None

    def add(
        self, email: str, *, name: str = "", password: str | None = None, is_admin: bool = False
    ) -> Person:
        """Make a user; without a password they need a link or the OIDC provider.

        Raises CatalogError for a bad or taken address, a bad password, and a first user who is
        no admin: nobody could make a second.
        """
        email = checked_email(email)
        name = name.strip() or email.partition("@")[0]
        if len(name) > 200:
            raise CatalogError("a name has at most 200 characters")
        if password is not None:
            passwords.check(password, email)
        made = User(
            email=email,
            name=name,
            is_admin=is_admin,
            password_hash=None if password is None else passwords.hashed(password),
            created_at=self._clock(),
        )
        with self._catalog.session() as session, session.begin():
            if session.scalar(select(User.id).where(User.email == email)) is not None:
                raise CatalogError(f"{email} is a user already; {_LIST}")
            if not is_admin and session.scalar(select(User.id).limit(1)) is None:
                raise CatalogError("the first user must be an admin (--admin)")
            session.add(made)
            session.flush()
            return person(session, made)

    def all(self) -> list[Person]:
        """By address."""
        with self._catalog.session() as session:
            rows = session.scalars(select(User).order_by(User.email))
            return [person(session, row) for row in rows]

    def get(self, email: str) -> Person:
        """The one with an address. Raises CatalogError where there is none."""
        with self._catalog.session() as session:
            return person(session, _row(session, email))

    def by_id(self, user_id: int) -> Person:
        """The one with a number. Raises CatalogError where there is none."""
        with self._catalog.session() as session:
            row = session.get(User, user_id)
            if row is None:
                raise CatalogError(f"no user {user_id}; load the page again")
            return person(session, row)

    def set_role(self, email: str, project: str, role: MemberRole | None) -> None:
        """Their role in a project; None: it is no longer there for them. Raises CatalogError."""
        if role is not None and role not in MEMBER_ROLES:
            raise CatalogError(f"role={role!r} is none; use one of {', '.join(MEMBER_ROLES)}")
        with self._catalog.session() as session, session.begin():
            who, where = _row(session, email), project_row(session, project)
            found = session.get(Membership, (who.id, where.id))
            if role is None:
                if found is not None:
                    session.delete(found)
                session.execute(
                    delete(ApiToken).where(
                        ApiToken.user_id == who.id, ApiToken.project_id == where.id
                    )
                )
            elif found is None:
                session.add(Membership(user_id=who.id, project_id=where.id, role=role))
            else:
                found.role = role

    def set_admin(self, email: str, is_admin: bool) -> None:
        """Make them admin of everything, or no longer. Raises CatalogError for the last one."""
        with self._catalog.session() as session, session.begin():
            row = _row(session, email)
            row.is_admin = is_admin
            _keep_an_admin(session)

    def set_disabled(self, email: str, disabled: bool) -> None:
        """Let them in no longer, at once, or again. Raises CatalogError for the last admin."""
        with self._catalog.session() as session, session.begin():
            row = _row(session, email)
            row.disabled_at = (row.disabled_at or self._clock()) if disabled else None
            _keep_an_admin(session)
            if disabled:
                _forget(session, row.id, BrowserSession, PasswordLink)

    def remove(self, email: str) -> None:
        """Forget them, with roles, sessions and tokens. Raises CatalogError for the last admin."""
        with self._catalog.session() as session, session.begin():
            row = _row(session, email)
            _forget(session, row.id, BrowserSession, PasswordLink, ApiToken, Membership)
            session.delete(row)
            _keep_an_admin(session)

    def set_password(self, email: str, password: str) -> None:
        """A new password; whoever is signed in with the old one no longer is."""
        passwords.check(password, checked_email(email))
        made = passwords.hashed(password)
        with self._catalog.session() as session, session.begin():
            _put_password(session, _row(session, email), made)

    def with_password(self, email: str, password: str) -> Person | None:
        """Who that is; None for a wrong password, and as slowly for an unknown or disabled user."""
        with self._catalog.session() as session:
            row = session.scalar(select(User).where(User.email == _plain(email)))
            known = None if row is None else row.password_hash
        if not passwords.verified(known, password) or row is None or row.disabled_at is not None:
            return None
        if known is not None and passwords.outdated(known):
            renewed = passwords.hashed(password)
            with self._catalog.session() as session, session.begin():
                _row(session, email).password_hash = renewed
        with self._catalog.session() as session:
            return person(session, _row(session, email))

    def make_link(self, email: str) -> str:
        """A secret with which the password can be set once, within LINK_H hours."""
        secret = secrets.token_urlsafe(32)
        now = self._clock()
        with self._catalog.session() as session, session.begin():
            row = _row(session, email)
            if row.disabled_at is not None:
                raise CatalogError(f"{row.email} is disabled; enable the account first")
            session.execute(delete(PasswordLink).where(PasswordLink.user_id == row.id))
            expires = now + timedelta(hours=LINK_H)
            session.add(
                PasswordLink(digest=passwords.digest(secret), user_id=row.id, expires_at=expires)
            )
        return secret

    def use_link(self, secret: str, password: str) -> Person:
        """Set the password with a link's secret. Raises CatalogError where the link is no more."""
        digest = passwords.digest(secret)
        with self._catalog.session() as session:
            passwords.check(password, self._of_link(session, digest).email)
        made = passwords.hashed(password)
        with self._catalog.session() as session, session.begin():
            session.execute(  # a second one with the same link waits here, and then finds none
                update(PasswordLink)
                .where(PasswordLink.digest == digest)
                .values(expires_at=PasswordLink.expires_at)
            )
            row = self._of_link(session, digest)
            _put_password(session, row, made)
            return person(session, row)

    def _of_link(self, session: Session, digest: bytes) -> User:
        found = session.scalar(
            select(User)
            .join(PasswordLink, PasswordLink.user_id == User.id)
            .where(PasswordLink.digest == digest, PasswordLink.expires_at > self._clock())
            .where(User.disabled_at.is_(None))
        )
        if found is None:
            raise CatalogError("this link was used already or is too old; ask an admin for another")
        return found

    def with_oidc(
        self,
        issuer: str,
        subject: str,
        email: str,
        *,
        name: str = "",
        domains: Iterable[str] = (),
        role: MemberRole | None = None,
    ) -> Person:
        """Who that account of an OIDC provider is; its address must have been verified there.

        A user of that address is bound to the account on the first time. Nobody with it: one is
        made where the domain is among `domains`, with `role` in every project there is.
        Raises CatalogError for everybody else.
        """
        email = checked_email(email)
        if not self.exist():
            raise CatalogError("make the first user with python -m catalog add-user … --admin")
        with self._catalog.session() as session, session.begin():
            row = session.scalar(
                select(User).where(User.oidc_issuer == issuer, User.oidc_subject == subject)
            )
            if row is None:
                row = session.scalar(select(User).where(User.email == email))
                if row is not None and row.oidc_subject is not None:
                    raise CatalogError(f"{email} belongs to another account of the provider")
            if row is None:
                if email.rpartition("@")[2] not in {domain.strip().lower() for domain in domains}:
                    raise CatalogError(f"{email} has no account here; ask an admin for one")
                row = User(email=email, name=name.strip()[:200] or email, created_at=self._clock())
                session.add(row)
                session.flush()
                for project in session.scalars(select(Project.id)) if role else ():
                    session.add(Membership(user_id=row.id, project_id=project, role=role))
            if row.disabled_at is not None:
                raise CatalogError(f"the account of {email} is disabled; ask an admin")
            row.oidc_issuer, row.oidc_subject = issuer, subject
            session.flush()
            return person(session, row)


def person(session: Session, row: User) -> Person:
    """A row, read out."""
    roles = session.execute(
        select(Project.slug, Membership.role)
        .join(Membership, Membership.project_id == Project.id)
        .where(Membership.user_id == row.id)
        .order_by(Project.id)
    )
    return Person(
        id=row.id,
        email=row.email,
        name=row.name,
        is_admin=row.is_admin,
        disabled=row.disabled_at is not None,
        has_password=row.password_hash is not None,
        subject=row.oidc_subject,
        roles=dict(roles.all()),
        created_at=row.created_at,
    )


def project_row(session: Session, slug: str) -> Project:
    """The project. Raises CatalogError."""
    found = session.scalar(select(Project).where(Project.slug == slug))
    if found is None:
        raise CatalogError(f"no project {slug!r}; list them: python -m catalog list")
    return found


def checked_email(text: str) -> str:
    """In the form that is kept. Raises CatalogError."""
    email = _plain(text)
    if len(email) > 254 or not _EMAIL.fullmatch(email):
        raise CatalogError(f"email={text[:80]!r} is no e-mail address; write ann@example.org")
    return email


def _plain(email: str) -> str:
    return email.strip().lower()


def _row(session: Session, email: str) -> User:
    found = session.scalar(select(User).where(User.email == _plain(email)))
    if found is None:
        raise CatalogError(f"no user {email[:80]!r}; {_LIST}")
    return found


def _put_password(session: Session, row: User, made: str) -> None:
    row.password_hash = made
    _forget(session, row.id, BrowserSession, PasswordLink)


def _forget(
    session: Session,
    user_id: int,
    *tables: type[BrowserSession | PasswordLink | ApiToken | Membership],
) -> None:
    for table in tables:
        session.execute(delete(table).where(table.user_id == user_id))


def _keep_an_admin(session: Session) -> None:
    """Without one, nobody could let anybody in, or the pages would be open again."""
    session.flush()
    admins = select(func.count()).where(User.is_admin, User.disabled_at.is_(None))
    if not session.scalar(admins):
        raise CatalogError("that is the last admin; make another first")
