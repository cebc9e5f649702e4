"""Keeps what projects and keys ask of the collector, and the list of suppressed people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from catalog.models import Project, Suppression, WriteKey
from catalog.policy import BotHandling, IpHandling
from catalog.store import Catalog, CatalogError
from transforms.suppression import digest


@dataclass(frozen=True, slots=True)
class Suppressed:
    """Digests of suppressed people by project, and which state of the list it is.

    version: (number of people, newest entry): changes with each change
    """

    version: tuple[int, int]
    by_project: Mapping[str, frozenset[bytes]]


def set_project(
    catalog: Catalog,
    slug: str,
    *,
    ip: IpHandling | None = None,
    respect_dnt: bool | None = None,
    bots: BotHandling | None = None,
    raw_days: int | None = None,
    aggregate_days: int | None = None,
) -> None:
    """Change what is given; None stays as it is. Raises CatalogError for an unknown project.

    raw_days, aggregate_days: how long it keeps events and exact numbers; 0: as the settings say
    """
    with catalog.session() as session, session.begin():
        project = _project(session, slug)
        if ip is not None:
            project.ip = ip
        if respect_dnt is not None:
            project.respect_dnt = respect_dnt
        if bots is not None:
            project.bots = bots
        if raw_days is not None:
            project.raw_days = raw_days or None
        if aggregate_days is not None:
            project.aggregate_days = aggregate_days or None


def kept_days(catalog: Catalog) -> dict[str, tuple[int | None, int | None]]:
    """By project, days that it keeps events and exact numbers; None: as the settings say."""
    with catalog.session() as session:
        query = select(Project.slug, Project.raw_days, Project.aggregate_days)
        return {slug: (raw, exact) for slug, raw, exact in session.execute(query)}


def set_key(catalog: Catalog, key: str, **limits: int | None) -> None:
    """Change limits of a key: rate_limit_per_s, daily_quota, max_properties; None: no own limit.

    Raises CatalogError for an unknown key and for a limit below 1.
    """
    for name, value in limits.items():
        if value is not None and value < 1:
            raise CatalogError(f"{name} {value} is below 1; to stop a key: revoke-key")
    with catalog.session() as session, session.begin():
        found = _key(session, key)
        for name, value in limits.items():
            setattr(found, name, value)


def revoke_key(catalog: Catalog, key: str) -> None:
    """Refuse the key from now on. Raises CatalogError for an unknown one."""
    with catalog.session() as session, session.begin():
        found = _key(session, key)
        found.revoked_at = found.revoked_at or datetime.now(UTC).replace(tzinfo=None)


def suppress(catalog: Catalog, project: str, people: Iterable[str]) -> int:
    """Store nothing of these user or anonymous ids from now on. How many are new."""
    with catalog.session() as session, session.begin():
        owner = _project(session, project)
        known = set(
            session.scalars(select(Suppression.digest).where(Suppression.project_id == owner.id))
        )
        new = {digest(project, person) for person in people} - known
        session.add_all(Suppression(project_id=owner.id, digest=one) for one in sorted(new))
    return len(new)


def unsuppress(catalog: Catalog, project: str, people: Iterable[str]) -> int:
    """Store events of these ids again. How many were suppressed."""
    digests = [digest(project, person) for person in people]
    with catalog.session() as session, session.begin():
        owner = _project(session, project)
        found = session.scalars(
            select(Suppression).where(
                Suppression.project_id == owner.id, Suppression.digest.in_(digests)
            )
        ).all()
        for one in found:
            session.delete(one)
    return len(found)


def count_suppressed(catalog: Catalog, project: str) -> int:
    """How many ids are suppressed. Raises CatalogError for an unknown project."""
    with catalog.session() as session:
        owner = _project(session, project)
        of_project = Suppression.project_id == owner.id
        return session.scalar(select(func.count(Suppression.id)).where(of_project)) or 0


def is_suppressed(catalog: Catalog, project: str, person: str) -> bool:
    """Whether the id is on the list. Raises CatalogError for an unknown project."""
    with catalog.session() as session:
        owner = _project(session, project)
        query = select(Suppression.id).where(
            Suppression.project_id == owner.id, Suppression.digest == digest(project, person)
        )
        return session.scalar(query) is not None


def suppressed(catalog: Catalog, than: Suppressed | None = None) -> Suppressed:
    """The list; `than` itself where it is the same still, which costs next to nothing."""
    with catalog.session() as session:
        count, newest = session.execute(
            select(func.count(Suppression.id), func.coalesce(func.max(Suppression.id), 0))
        ).one()
        version = (count, newest)
        if than is not None and than.version == version:
            return than
        people: dict[str, set[bytes]] = {}
        query = select(Project.slug, Suppression.digest).join(Suppression.project)
        for slug, one in session.execute(query):
            people.setdefault(slug, set()).add(one)
    return Suppressed(version, {slug: frozenset(found) for slug, found in people.items()})


def _project(session: Session, slug: str) -> Project:
    found = session.scalar(select(Project).where(Project.slug == slug))
    if found is None:
        raise CatalogError(
            f"project {slug!r} is not in the catalogue; python -m catalog list shows those that are"
        )
    return found


def _key(session: Session, key: str) -> WriteKey:
    found = session.get(WriteKey, key)
    if found is None:
        raise CatalogError(
            f"key {key[:6]}… is not in the catalogue; python -m catalog list shows those that are"
        )
    return found
