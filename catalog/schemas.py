"""The registry of event schemas: versions that never change, each held to a compatibility rule."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, select
from sqlalchemy.exc import IntegrityError

from catalog.models import EventSchemaVersion, Project
from catalog.store import Catalog, CatalogError
from transforms.event_schema import EventSchema, SchemaError, read, subject
from transforms.schema_compatibility import (
    COMPATIBILITIES,
    Change,
    Compatibility,
    Finding,
    changes,
    findings,
)


@dataclass(frozen=True, slots=True)
class Registered:
    """One version. type, name: of the events; an empty name: all of the type without their own.

    version:       from 1
    avro:          the record as registered, JSON
    compatibility: the rule that it was held to
    """

    project: str
    type: str
    name: str
    version: int
    avro: str
    compatibility: Compatibility
    created_at: datetime

    @property
    def title(self) -> str:
        """As people call it."""
        return f"{self.type} {self.name!r}" if self.name else f"every {self.type}"


class NotThere(CatalogError):
    """No such project, schema or version."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What a registration would make. unchanged: the newest version where it says the same."""

    type: str
    name: str
    version: int
    compatibility: Compatibility
    unchanged: Registered | None


class Incompatible(CatalogError):
    """The version is refused; `findings` says why, field by field."""

    def __init__(self, after: Registered, rule: Compatibility, found: Sequence[Finding]) -> None:
        listed = "; ".join(map(str, found))
        super().__init__(
            f"{after.title} is not {rule} compatible with version {after.version}: {listed}"
        )
        self.findings = tuple(found)


class SchemaRegistry:
    """Schemas of all projects in the catalogue."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def register(
        self,
        project: str,
        text: str,
        *,
        kind: str | None = None,
        name: str | None = None,
        compatibility: Compatibility | None = None,
    ) -> Registered:
        """Keep `text`, an Avro record in JSON, as the next version; the same again is no new one.

        kind, name:    type and name of the events; None: as the record's attribute
                       `event` says
        compatibility: with the newest version; None: the rule of that one, BACKWARD for the first

        Raises Incompatible, or CatalogError for a schema that cannot be used.
        """
        planned = self.plan(project, text, kind=kind, name=name, compatibility=compatibility)
        if planned.unchanged:
            return planned.unchanged
        try:
            with self._catalog.session() as session, session.begin():
                session.add(
                    EventSchemaVersion(
                        project_id=session.scalars(
                            select(Project.id).where(Project.slug == project)
                        ).one(),
                        type=planned.type,
                        name=planned.name,
                        version=planned.version,
                        avro=text,
                        compatibility=planned.compatibility,
                    )
                )
        except IntegrityError:
            raise CatalogError(
                f"version {planned.version} of {planned.name!r} was registered by somebody else "
                "just now; try again"
            ) from None
        return self.version(project, planned.type, planned.name, planned.version)

    def plan(
        self,
        project: str,
        text: str,
        *,
        kind: str | None = None,
        name: str | None = None,
        compatibility: Compatibility | None = None,
    ) -> Planned:
        """What `register` would do; raises what it would raise."""
        schema, kind, called = readable(text, kind, name)
        older = self.versions(project, kind, called)
        newest = older[-1] if older else None
        rule = checked_rule(compatibility or (newest.compatibility if newest else "BACKWARD"))
        if newest is None:
            return Planned(kind, called, 1, rule, None)
        if json.loads(newest.avro) == json.loads(text) and rule == newest.compatibility:
            return Planned(kind, called, newest.version, rule, newest)
        if found := findings(schema, _read(newest.avro), rule):
            raise Incompatible(newest, rule, found)
        return Planned(kind, called, newest.version + 1, rule, None)

    def versions(self, project: str, kind: str, name: str) -> list[Registered]:
        """All versions of one schema, oldest first. Raises NotThere for an unknown project."""
        self._check_project(project)
        query = _QUERY.where(
            Project.slug == project,
            EventSchemaVersion.type == kind,
            EventSchemaVersion.name == name,
        )
        return self._read(query)

    def version(self, project: str, kind: str, name: str, number: int | None = None) -> Registered:
        """One version; None: the newest. Raises NotThere."""
        found = self.versions(project, kind, name)
        wanted = [one for one in found if number in (None, one.version)]
        if not wanted:
            have = f"; there are 1 to {len(found)}" if found else ""
            which = f"version {number} of the " if number is not None else ""
            raise NotThere(
                f"project {project!r} has no {which}schema of {kind} {name!r}{have}; "
                f"python -m catalog schema list {project}"
            )
        return wanted[-1]

    def newest(self, project: str) -> list[Registered]:
        """The newest version of every schema of a project, by type and name."""
        self._check_project(project)
        found = self._read(_QUERY.where(Project.slug == project))
        return list({(one.type, one.name): one for one in found}.values())

    def all(self) -> list[Registered]:
        """Every version of every project; versions of one schema oldest first."""
        return self._read(_QUERY)

    def diff(self, project: str, kind: str, name: str, old: int, new: int) -> list[Change]:
        """What differs between two versions. Raises NotThere."""
        before, after = (self.version(project, kind, name, number) for number in (old, new))
        return changes(_read(before.avro), _read(after.avro))

    def _read(self, query: Select[*tuple[Any, ...]]) -> list[Registered]:
        with self._catalog.session() as session:
            return [_registered(row) for row in session.execute(query)]

    def _check_project(self, project: str) -> None:
        if project not in self._catalog.time_zones():
            raise NotThere(
                f"project {project!r} is not in the catalogue; "
                f"make it: python -m catalog add-project {project}"
            )


_QUERY = (
    select(
        Project.slug,
        EventSchemaVersion.type,
        EventSchemaVersion.name,
        EventSchemaVersion.version,
        EventSchemaVersion.avro,
        EventSchemaVersion.compatibility,
        EventSchemaVersion.created_at,
    )
    .join(EventSchemaVersion.project)
    .order_by(
        Project.slug,
        EventSchemaVersion.type,
        EventSchemaVersion.name,
        EventSchemaVersion.version,
    )
)


def _registered(row: Row[*tuple[Any, ...]]) -> Registered:
    return Registered(*row)


def checked_rule(rule: str) -> Compatibility:
    """Raises CatalogError for what is no rule."""
    for known in COMPATIBILITIES:
        if rule == known:
            return known
    raise CatalogError(f"compatibility {rule!r} is none of {', '.join(COMPATIBILITIES)}")


def _read(text: str) -> EventSchema:
    try:
        return read(text)
    except SchemaError as error:
        raise CatalogError(str(error)) from error


def readable(
    text: str, given_type: str | None, given_name: str | None
) -> tuple[EventSchema, str, str]:
    """(schema, type, name); what is given goes before what the record says. Raises CatalogError."""
    schema = _read(text)
    own_type, own_name = schema.event or ("track", "")
    kind = given_type or own_type
    called = given_name if given_name is not None else (own_name if kind == own_type else "")
    try:
        return schema, *subject(kind, called)
    except SchemaError as error:
        raise CatalogError(
            f"{error}; give --name, or the record an attribute "
            '"event": {"type": "track", "name": "…"}'
        ) from error
