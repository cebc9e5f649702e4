"""What the handlers of this package share: the project, who asks, and what the body says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from flask import abort, current_app, g, render_template, request

from catalog.documents import Documents
from reports.query.jobs import Jobs
from reports.warehouse.engine import Warehouse
from reports.warehouse.parameters import ParameterError, values_of

MAX_SQL = 100_000  # characters
_View = TypeVar("_View", bound=Callable[..., Any])


class Ask(msgspec.Struct, frozen=True):
    """A query. sql: one SELECT in BigQuery's dialect; parameters: values of its @names."""

    sql: str
    parameters: dict[str, Any] = {}


class Save(msgspec.Struct, frozen=True):
    """A query under a name. parameters: values that it begins with."""

    name: str
    sql: str
    parameters: dict[str, Any] = {}


@dataclass(frozen=True)
class Collaborators:
    """What the handlers call; put in place by `install`."""

    warehouse: Warehouse
    jobs: Jobs
    documents: Documents


def me() -> Collaborators:
    """The collaborators of this app."""
    found: Collaborators = current_app.extensions["queries"]
    return found


def zone_of(project: str) -> str:
    """Time zone of a project; 404 where there is none of that name."""
    zone: str | None = current_app.extensions["reports"].projects().get(project)
    if zone is None:
        abort(404, f"There is no project {project!r}. Make one: python -m catalog add-project")
    return zone


def page(template: str, project: str, **values: Any) -> str:
    """A page of a project."""
    projects = list(current_app.extensions["reports"].projects())
    return render_template(template, project=project, projects=projects, **values)


def user() -> str:
    """Whose jobs these are, and who has a limit: a person, or a token of theirs."""
    return str(getattr(g.get("user"), "actor", "local"))


def author() -> str:
    """The person, as it is shown to others."""
    return str(getattr(g.get("user"), "email", "local"))


def body() -> dict[str, Any]:
    """The request's JSON object; empty where it is none."""
    try:
        found = request.get_json(silent=True)
    except RecursionError:  # [[[[…
        found = None
    return found if isinstance(found, dict) else {}


def asked() -> tuple[str, dict[str, Any]]:
    """The body's query and the values of its parameters. Raises ParameterError."""
    given = body()
    sql = given.get("sql")
    if not isinstance(sql, str) or len(sql) > MAX_SQL:
        raise ParameterError(f'send {{"sql": "SELECT …"}} as JSON, at most {MAX_SQL:,} characters')
    return sql, values_of(given.get("parameters"))


def takes(kind: type[msgspec.Struct]) -> Callable[[_View], _View]:
    """For a handler: what its body is, for the description of the API."""

    def mark(view: _View) -> _View:
        setattr(view, "takes", kind)  # noqa: B010 - the type of a function has no such field
        return view

    return mark
