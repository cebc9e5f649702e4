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
    false,
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


class SavedDocument(Base):
    """Something that people of a project saved, as JSON that its kind's owner understands."""

    __tablename__ = "documents"
    __table_args__ = (UniqueConstraint("project_id", "kind", "name"),)

    id: Mapped[str] = mapped_column(String(22), primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    kind: Mapped[str] = mapped_column(String(31))
    name: Mapped[str] = mapped_column(String(200))
    body: Mapped[str] = mapped_column(Text)
    author: Mapped[str] = mapped_column(String(200), server_default="")
    created_at: Mapped[datetime] = mapped_column(DateTime, server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime, server_default=func.now())
    project: Mapped[Project] = relationship()


class User(Base):
    """Someone who may sign in."""

    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("oidc_issuer", "oidc_subject"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)  # lower case
    name: Mapped[str] = mapped_column(String(200))
    password_hash: Mapped[str | None] = mapped_column(String(200), default=None)  # argon2id
    is_admin: Mapped[bool] = mapped_column(Boolean, server_default=false())
    oidc_issuer: Mapped[str | None] = mapped_column(String(500), default=None)
    oidc_subject: Mapped[str | None] = mapped_column(String(255), default=None)
    disabled_at: Mapped[datetime | None] = mapped_column(DateTime, default=None)
    created_at: Mapped[datetime] = mapped_column(DateTime, server_default=func.now())


class Membership(Base):
    """The role of a user in a project; without one it is not there for them."""

    __tablename__ = "memberships"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    role: Mapped[str] = mapped_column(String(7))


class BrowserSession(Base):
    """A browser that is signed in. The digest of what its cookie holds, never that itself."""

    __tablename__ = "sessions"

    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    address: Mapped[str] = mapped_column(String(45))
    agent: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(DateTime)
    seen_at: Mapped[datetime] = mapped_column(DateTime)


class ApiToken(Base):
    """Lets a program act as a user, in one project, within its scopes. Kept as a digest."""

    __tablename__ = "api_tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str] = mapped_column(String(100))
    scopes: Mapped[str] = mapped_column(String(100))  # separated by blanks
    created_at: Mapped[datetime] = mapped_column(DateTime)
    expires_at: Mapped[datetime] = mapped_column(DateTime)
    used_at: Mapped[datetime | None] = mapped_column(DateTime, default=None)


class PasswordLink(Base):
    """Lets somebody set the password of a user once. Kept as a digest."""

    __tablename__ = "password_links"

    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    expires_at: Mapped[datetime] = mapped_column(DateTime)


class SignInAttempt(Base):
    """A try to sign in that has not succeeded. Digests only: people type passwords anywhere."""

    __tablename__ = "sign_in_attempts"

    id: Mapped[int] = mapped_column(primary_key=True)
    account: Mapped[bytes] = mapped_column(LargeBinary(32), index=True)
    address: Mapped[bytes] = mapped_column(LargeBinary(32), index=True)
    at: Mapped[datetime] = mapped_column(DateTime, index=True)


class AuditEntry(Base):
    """Who did what, when, from where. Names are copied: an entry outlives what it speaks of."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime, index=True)
    actor: Mapped[str] = mapped_column(String(400))
    address: Mapped[str] = mapped_column(String(45))
    action: Mapped[str] = mapped_column(String(63))
    project: Mapped[str] = mapped_column(String(63))
    target: Mapped[str] = mapped_column(String(500))
    outcome: Mapped[str] = mapped_column(String(200))
