"""Reads and writes the catalogue. `Catalog(url).migrate()` makes or upgrades it."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import available_timezones

import alembic.command
import alembic.config
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from catalog.models import Project, Source, WriteKey
from catalog.policy import DEFAULT_POLICY, MAX_PROPERTIES, SchemaMode, SourcePolicy

_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class CatalogError(ValueError):
    """What was asked for is not there or not allowed; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class KeyOwner:
    """Where events written with a key belong, and what the collector has to heed for them."""

    project: str
    source: str
    policy: SourcePolicy = DEFAULT_POLICY


class Catalog:
    """The catalogue at a SQLAlchemy URL. Safe to share between threads; one per process."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = create_engine(url)

    def migrate(self) -> None:
        """Create the tables, or bring them to this version's shape."""
        if self._engine.url.database and self._engine.dialect.name == "sqlite":
            Path(self._engine.url.database).parent.mkdir(parents=True, exist_ok=True)
        config = alembic.config.Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        config.attributes["engine"] = self._engine
        alembic.command.upgrade(config, "head")

    def add_project(self, slug: str, *, name: str = "", time_zone: str = "UTC") -> None:
        """Make a project. Raises CatalogError for a bad or taken slug or an unknown zone."""
        _check_slug(slug)
        if time_zone not in available_timezones():
            raise CatalogError(
                f"time zone {time_zone!r} is unknown; use an IANA name: Europe/London"
            )
        with Session(self._engine) as session, session.begin():
            if session.scalar(select(Project).where(Project.slug == slug)):
                raise CatalogError(f"project {slug!r} is there already")
            session.add(Project(slug=slug, name=name or slug, time_zone=time_zone))

    def add_key(self, project: str, source: str) -> str:
        """A new write key of a source, which is made if it is not there. Raises CatalogError."""
        key = "hw_" + secrets.token_urlsafe(18)
        with Session(self._engine) as session, session.begin():
            owner = self._source(session, project, source)
            session.add(WriteKey(key=key, source=owner))
        return key

    def ensure_source(self, project: str, source: str) -> None:
        """Make the source if it is not there. Raises CatalogError for an unknown project."""
        with Session(self._engine) as session, session.begin():
            self._source(session, project, source)

    def set_source(self, project: str, source: str, *, schema_mode: SchemaMode) -> None:
        """Change a source, which is made if it is not there. Raises CatalogError."""
        with self.session() as session, session.begin():
            self._source(session, project, source).schema_mode = schema_mode

    def keys(self) -> dict[str, KeyOwner]:
        """Every key in force, oldest first."""
        query = (
            select(WriteKey, Source, Project)
            .join(WriteKey.source)
            .join(Source.project)
            .where(WriteKey.revoked_at.is_(None))
            .order_by(WriteKey.created_at, WriteKey.key)
        )
        with Session(self._engine) as session:
            return {
                key.key: KeyOwner(project.slug, source.slug, _policy(project, source, key))
                for key, source, project in session.execute(query)
            }

    def session(self) -> Session:
        """A session on the catalogue, for the modules that keep a part of it."""
        return Session(self._engine)

    def time_zones(self) -> dict[str, str]:
        """IANA time zone of every project, by slug, in order of making."""
        with Session(self._engine) as session:
            projects = session.scalars(select(Project).order_by(Project.id))
            return {project.slug: project.time_zone for project in projects}

    def _source(self, session: Session, project: str, source: str) -> Source:
        _check_slug(source)
        owner = session.scalar(select(Project).where(Project.slug == project))
        if owner is None:
            raise CatalogError(
                f"project {project!r} is not in the catalogue; "
                f"make it: python -m catalog add-project {project} --time-zone=Europe/London"
            )
        for known in owner.sources:
            if known.slug == source:
                return known
        made = Source(slug=source, project=owner)
        session.add(made)
        return made


def _policy(project: Project, source: Source, key: WriteKey) -> SourcePolicy:
    return SourcePolicy(
        schema_mode=source.schema_mode,
        ip=project.ip,
        respect_dnt=project.respect_dnt,
        bots=project.bots,
        rate_limit_per_s=key.rate_limit_per_s,
        daily_quota=key.daily_quota,
        max_properties=key.max_properties or MAX_PROPERTIES,
    )


def _check_slug(slug: str) -> None:
    if not _SLUG.fullmatch(slug):
        raise CatalogError(f"{slug!r} is no slug: 1-63 of a-z, 0-9, '-' and '_', no '-' in front")
