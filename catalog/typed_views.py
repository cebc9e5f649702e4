"""The typed views of a project: one for each registered schema, over all its versions."""

from __future__ import annotations

from catalog.schemas import Registered, SchemaRegistry
from transforms.event_schema import read
from transforms.typed_views import Dialect, typed_view, view_name


def typed_views(
    registry: SchemaRegistry, project: str, *, dialect: Dialect, source: str = "events"
) -> dict[str, str]:
    """SELECT of every view by its name, in order of type and event. Raises NotThere.

    source: table or view with the project's events, each once
    """
    newest = registry.newest(project)
    found: dict[str, str] = {}
    for one in newest:
        versions = [read(v.avro) for v in registry.versions(project, one.type, one.name)]
        found[_free(view_name(one.type, one.name), found)] = typed_view(
            versions,
            one.type,
            one.name,
            dialect=dialect,
            source=source,
            others=_own_names(newest, one.type),
        )
    return found


def _own_names(newest: list[Registered], kind: str) -> list[str]:
    return [one.name for one in newest if one.type == kind and one.name]


def _free(name: str, taken: dict[str, str]) -> str:
    """The name, numbered where an event of another spelling has it already."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free
