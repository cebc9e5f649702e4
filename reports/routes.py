"""Pages and JSON of the report server: one handler a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from flask import (
    Blueprint,
    Response,
    abort,
    current_app,
    jsonify,
    redirect,
    render_template,
    request,
)
from flask.typing import ResponseReturnValue

from reports import daily as daily_table
from reports.access.needs import needs
from reports.access.scope import sees_all_projects
from reports.ledger import Books
from reports.ledger_shown import shown
from reports.live.overview import overview
from reports.live.store import LiveStore
from reports.warehouse.engine import Warehouse
from transforms.metrics import METRICS
from transforms.own_metrics import MetricDefinition

bp = Blueprint("reports", __name__)


@dataclass(frozen=True)
class Collaborators:
    """What the handlers call; put in place by `create_app`. metrics: a project's own ones."""

    projects: Callable[[], Mapping[str, str]]
    clock: Callable[[], int]
    live_path: str
    warehouse: Warehouse
    books: Books
    metrics: Callable[[str], Sequence[MetricDefinition]]


def _with() -> Collaborators:
    found: Collaborators = current_app.extensions["reports"]
    return found


def _zone(project: str) -> str:
    """Time zone of a project; 404 where there is none of that name."""
    zone = _with().projects().get(project)
    if zone is None:
        abort(404, f"There is no project {project!r}. Make one: python -m catalog add-project")
    return zone


def _page(template: str, project: str, **values: Any) -> str:
    projects = list(_with().projects())
    return render_template(template, project=project, projects=projects, **values)


@bp.get("/health")
@needs("public")
def health() -> Response:
    """Alive: touches nothing."""
    return jsonify(alive=True)


@bp.get("/")
@needs("viewer")
def home() -> ResponseReturnValue:
    """To the first project; without one, how to make it."""
    projects = list(_with().projects())
    return redirect(f"/p/{projects[0]}/") if projects else render_template("welcome.html")


@bp.get("/p/<project>/")
@needs("viewer")
def live(project: str) -> str:
    """The live page."""
    return _page("live.html", project, zone=_zone(project), whole=sees_all_projects())


@bp.get("/p/<project>/api/live")
@needs("viewer")
def live_json(project: str) -> Response:
    """Live numbers as JSON; cheap enough to ask every second."""
    me = _with()
    return jsonify(overview(LiveStore(me.live_path, project), _zone(project), me.clock()))


@bp.get("/p/<project>/api/ledger")
@needs("viewer")
def ledger_json(project: str) -> Response:
    """The ledger as JSON: of the whole system for an admin of everything, else of the project.

    Of a project, accepted, dead_lettered and in_flight are as of books_as_of.
    """
    zone, me = _zone(project), _with()
    return jsonify(shown(me.books, project, zone, me.clock(), whole=sees_all_projects()))


@bp.get("/p/<project>/daily")
@needs("viewer")
def daily(project: str) -> str:
    """The exact daily table; ?first=2010-12-01&last=2010-12-07."""
    return _page("daily.html", project, table=_daily(project), metrics=METRICS.values())


@bp.get("/p/<project>/api/daily")
@needs("viewer")
def daily_json(project: str) -> Response:
    """The exact daily table as JSON; ?first=2010-12-01&last=2010-12-07."""
    return jsonify(_daily(project))


def _daily(project: str) -> dict[str, Any]:
    zone = _zone(project)
    first, last = _day("first"), _day("last")
    if first and last and first > last:
        abort(400, f"The first day, {first}, lies after the last, {last}.")
    return daily_table.table(_with().warehouse, project, zone, first, last)


def _day(name: str) -> date | None:
    text = request.args.get(name)
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        abort(400, f"{name}={text!r} is no day; write it as 2010-12-01.")
