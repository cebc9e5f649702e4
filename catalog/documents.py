"""What people of a project save under a name: queries, cohorts, dashboards, notes, schedules.

One shelf for all of it. What a body means, its kind's owner knows and checks before it is put here.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session

from catalog.models import Project, SavedDocument
from catalog.store import Catalog, CatalogError

MOST = 1_000  # of a kind in a project
MOST_BYTES = 1 << 20  # of one, as JSON


@dataclass(frozen=True, slots=True)
class Document:
    """One saved thing. id: stays when it is renamed; unguessable, 128 bits. Times are in UTC."""

    id: str
    project: str
    kind: str
    name: str
    body: Any
    author: str
    created_at: datetime
    updated_at: datetime


class Documents:
    """The shelf, of all projects. Threads may share it."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def put(
        self, project: str, kind: str, name: str, body: Any, *, author: str = "", known: str = ""
    ) -> Document:
        """Save it; one of the same name, or with the id `known`, is replaced.

        Raises CatalogError for an empty or too long name, one that is taken by another document,
        a body that is too large, and one document too many.
        """
        name, text = name.strip(), msgspec.json.encode(body).decode()
        if not 0 < len(name) <= 200:
            raise CatalogError(f"name={name[:40]!r} needs 1 to 200 characters")
        if len(text) > MOST_BYTES:
            raise CatalogError(f"{kind} {name!r} is larger than {MOST_BYTES >> 20} MB as JSON")
        now = datetime.now(UTC).replace(tzinfo=None)
        with self._catalog.session() as session, session.begin():
            owner = session.scalar(select(Project).where(Project.slug == project))
            if owner is None:
                raise CatalogError(f"no project {project!r}; list them: python -m catalog list")
            row = self._row(session, owner, kind, name, known)
            if row is None:
                row = SavedDocument(
                    id=secrets.token_urlsafe(16), project_id=owner.id, kind=kind, created_at=now
                )
            row.name, row.body, row.updated_at = name, text, now
            row.author = row.author or author
            session.add(row)
            session.flush()
            return _document(row, project)

    def _row(
        self, session: Session, owner: Project, kind: str, name: str, known: str
    ) -> SavedDocument | None:
        of_kind = select(SavedDocument).where(
            SavedDocument.project_id == owner.id, SavedDocument.kind == kind
        )
        named = session.scalar(of_kind.where(SavedDocument.name == name))
        if not known:
            total = select(func.count()).select_from(of_kind.subquery())
            if named is None and (session.scalar(total) or 0) >= MOST:
                raise CatalogError(f"{owner.slug} has {MOST:,} of {kind}; remove some first")
            return named
        found = session.scalar(of_kind.where(SavedDocument.id == known))
        if found is None:
            raise CatalogError(f"{owner.slug} has no {kind} with id {known!r}")
        if named is not None and named.id != known:
            raise CatalogError(f"{owner.slug} has another {kind} named {name!r}")
        return found

    def all(self, project: str, kind: str) -> list[Document]:
        """Of a kind, by name."""
        return self._read(self._of(project, kind).order_by(SavedDocument.name))

    def named(self, project: str, kind: str, name: str) -> Document | None:
        """The one of a name."""
        found = self._read(self._of(project, kind).where(SavedDocument.name == name))
        return found[0] if found else None

    def named_anywhere(self, kind: str, name: str) -> list[Document]:
        """Those of a name in all projects: where the name tells nobody which one it is of."""
        query = select(SavedDocument, Project.slug).join(Project)
        return self._read(query.where(SavedDocument.kind == kind, SavedDocument.name == name))

    def get(self, project: str, kind: str, known: str) -> Document | None:
        """The one with an id."""
        found = self._read(self._of(project, kind).where(SavedDocument.id == known))
        return found[0] if found else None

    def every(self, kind: str) -> list[Document]:
        """Of a kind in all projects: for jobs that go through them."""
        query = select(SavedDocument, Project.slug).join(Project)
        return self._read(query.where(SavedDocument.kind == kind).order_by(SavedDocument.name))

    def remove(self, project: str, kind: str, known: str) -> None:
        """Forget it. Raises CatalogError where there is none."""
        with self._catalog.session() as session, session.begin():
            ids = select(Project.id).where(Project.slug == project)
            gone = session.execute(
                delete(SavedDocument).where(
                    SavedDocument.project_id.in_(ids),
                    SavedDocument.kind == kind,
                    SavedDocument.id == known,
                )
            )
            if not gone.rowcount:  # type: ignore[attr-defined]
                raise CatalogError(f"{project} has no {kind} with id {known!r}")

    def _of(self, project: str, kind: str) -> Select[SavedDocument, str]:
        query = select(SavedDocument, Project.slug).join(Project)
        return query.where(Project.slug == project, SavedDocument.kind == kind)

    def _read(self, query: Select[SavedDocument, str]) -> list[Document]:
        with self._catalog.session() as session:
            return [_document(row, slug) for row, slug in session.execute(query)]


def _document(row: SavedDocument, project: str) -> Document:
    return Document(
        id=row.id,
        project=project,
        kind=row.kind,
        name=row.name,
        body=msgspec.json.decode(row.body),
        author=row.author,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
