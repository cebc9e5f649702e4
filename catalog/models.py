"""Tables of the catalogue. Changing one needs a migration in `catalog/migrations/versions`."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import DateTime, ForeignKey, String, UniqueConstraint, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """Metadata of all tables."""


class Project(Base):
    """One site or product: the wall between tenants, with its time zone."""

    __tablename__ = "projects"

    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(String(63), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    time_zone: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(DateTime, server_default=func.now())
    sources: Mapped[list[Source]] = relationship(back_populates="project")


class Source(Base):
    """One sender within a project: an app, a server, an import."""

    __tablename__ = "sources"
    __table_args__ = (UniqueConstraint("project_id", "slug"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    slug: Mapped[str] = mapped_column(String(63))
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
    source: Mapped[Source] = relationship(back_populates="keys")
