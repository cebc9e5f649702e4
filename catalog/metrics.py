"""Metrics that people define for their projects, beside the built-in ones."""

from __future__ import annotations

import msgspec
from sqlalchemy import delete, select

from catalog.models import OwnMetric, Project
from catalog.store import Catalog, CatalogError
from transforms import own_metrics
from transforms.metrics import METRICS
from transforms.own_metrics import MetricDefinition, MetricError

MOST = 100  # of a project: each costs time with every event


_DEFINED = (
    select(Project.slug, OwnMetric.definition)
    .join(Project, OwnMetric.project_id == Project.id)
    .order_by(Project.slug, OwnMetric.name)
)


class MetricStore:
    """Definitions of all projects in the catalogue."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def put(self, project: str, text: str) -> MetricDefinition:
        """Keep the definition, a JSON object; one of the same name is replaced.

        Raises CatalogError for a definition that cannot be used, or one too many.
        """
        try:
            made = own_metrics.read_definition(text)
        except MetricError as error:
            raise CatalogError(str(error)) from error
        if made.name in METRICS:
            raise CatalogError(f"name {made.name!r} is that of a built-in metric; choose another")
        with self._catalog.session() as session, session.begin():
            owner = session.scalar(select(Project).where(Project.slug == project))
            if owner is None:
                raise CatalogError(f"no project {project!r}; list them: python -m catalog list")
            own = session.scalars(select(OwnMetric).where(OwnMetric.project_id == owner.id)).all()
            found = next((one for one in own if one.name == made.name), None)
            if found is None and len(own) >= MOST:
                raise CatalogError(f"{project} has {MOST} metrics of its own, which is the most")
            row = found or OwnMetric(project_id=owner.id, name=made.name)
            row.definition = msgspec.json.encode(made).decode()
            session.add(row)
        return made

    def remove(self, project: str, name: str) -> None:
        """Compute it no longer; what was computed stays. Raises CatalogError for an unknown one."""
        with self._catalog.session() as session, session.begin():
            ids = select(Project.id).where(Project.slug == project)
            gone = session.execute(
                delete(OwnMetric).where(OwnMetric.project_id.in_(ids), OwnMetric.name == name)
            )
            if not gone.rowcount:  # type: ignore[attr-defined]
                raise CatalogError(f"{project} has no metric {name!r} of its own")

    def all(self) -> dict[str, list[MetricDefinition]]:
        """By project, in the order of their names."""
        found: dict[str, list[MetricDefinition]] = {}
        with self._catalog.session() as session:
            for project, text in session.execute(_DEFINED):
                found.setdefault(project, []).append(own_metrics.read_definition(text))
        return found

    def of(self, project: str) -> list[MetricDefinition]:
        """Those of one project, in the order of their names."""
        with self._catalog.session() as session:
            rows = session.execute(_DEFINED.where(Project.slug == project))
            return [own_metrics.read_definition(text) for _, text in rows]
