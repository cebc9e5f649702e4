"""Tables of the catalogue. Changing one needs a migration in `catalog/migrations/versions`."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    Boolean,
    DateTime,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    func,
    true,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from catalog.policy import BotHandling, IpHandling, SchemaMode


class Base(DeclarativeBase):
    """Metadata of all tables."""


class Project(Base):
    """One site or product: the wall between tenants, with its time zone."""

    __tablename__ = "projects"

    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(String(63), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    time_zone: Mapped[str] = mapped_column(String(64))
    ip: Mapped[IpHandling] = mapped_column(String(9), server_default="none")
    respect_dnt: Mapped[bool] = mapped_column(Boolean, server_default=true())
    bots: Mapped[BotHandling] = mapped_column(String(4), server_default="flag")
    raw_days: Mapped[int | None] = mapped_column(Integer, default=None)
    aggregate_days: Mapped[int | None] = mapped_column(Integer, default=None)
    created_at: Mapped[datetime] = mapped_column(DateTime, server_default=func.now())
    sources: Mapped[list[Source]] = relationship(back_populates="project")


class Source(Base):
    """One sender within a project: an app, a server, an import."""

    __tablename__ = "sources"
    __table_args__ = (UniqueConstraint("project_id", "slug"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    slug: Mapped[str] = mapped_column(String(63))
    schema_mode: Mapped[SchemaMode] = mapped_column(String(7), server_default="off")
    created_at: Mapped[datetime] = mapped_column(DateTime, server_default=func.now())
    project: Mapped[Project] = relationship(back_populates="sources")
    keys: Mapped[list[WriteKey]] = relationship(back_populates="source")


class WriteKey(Base):
    """Lets a sender write into one source. It ships inside apps, so it is no secret to read by."""

    __tablename__ = "write_keys"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    source_id: Mapped[int] = mapped_column(ForeignKey("sources.id"))
    created_at: Mapped[datetime] = mapped_column(DateTime, server_default=func.now())
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime, default=None)
    rate_limit_per_s: Mapped[int | None] = mapped_column(Integer, default=None)
    daily_quota: Mapped[int | None] = mapped_column(Integer, default=None)
    max_properties: Mapped[int | None] = mapped_column(Integer, default=None)
    source: Mapped[Source] = relationship(back_populates="keys")


class Suppression(Base):
    """Someone of whom a project stores nothing more. The digest of an id, never the id."""

    __tablename__ = "suppressions"
    # Ids are never given twice: the newest one tells whether the list has changed.
    __table_args__ = (UniqueConstraint("project_id", "digest"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[datetime] = mapped_column(DateTime, server_default=func.now())
    project: Mapped[Project] = relationship()


class EventSchemaVersion(Base):
    """One version of the schema of a project's events of one type and name. Never changes."""

    __tablename__ = "event_schemas"
    __table_args__ = (UniqueConstraint("project_id", "type", "name", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    type: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(500))  # empty: all of the type without one of its own
    version: Mapped[int]  # from 1, without gaps
    avro: Mapped[str] = mapped_column(Text)  # JSON
    compatibility: Mapped[str] = mapped_column(String(8))  # that the version was held to
    created_at: Mapped[datetime] = mapped_column(DateTime, server_default=func.now())
    project: Mapped[Project] = relationship()


class OwnMetric(Base):
    """A metric that people of a project defined, as JSON of transforms.own_metrics."""

    __tablename__ = "metrics"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str] = mapped_column(String(63))
    definition: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime, server_default=func.now())
    project: Mapped[Project] = relationship()


class DimensionValue(Base):
    """A value of a number's dimensions that stands for itself and not under `(other)`."""

    __tablename__ = "dimension_values"

    project: Mapped[str] = mapped_column(String(63), primary_key=True)
    statistic: Mapped[str] = mapped_column(String(63), primary_key=True)
    value: Mapped[str] = mapped_column(Text, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(DateTime, server_default=func.now())
