"""Pages and JSON of the report server: one handler a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
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

from catalog.settings import Settings
from reports import daily as daily_table
from reports import ledger
from reports.live.overview import overview
from reports.live.store import LiveStore
from reports.present import when
from reports.warehouse.engine import LIVE, TABLES, NotAdmitted, QueryFailed, Warehouse
from reports.warehouse.shown import EXAMPLES, LIVE_COLUMNS, plain
from schemas_avro import load

bp = Blueprint("reports", __name__)
_SQL = {p.stem: p.read_text() for p in (Path(__file__).parent / "sql").glob("dead_*.sql")}
_MAX_SQL = 100_000  # characters


@dataclass(frozen=True)
class Collaborators:
    """What the handlers call; put in place by `create_app`."""

    settings: Settings
    projects: Callable[[], Mapping[str, str]]
    clock: Callable[[], int]
    live_path: str
    warehouse: Warehouse


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
def health() -> Response:
    """Alive: touches nothing."""
    return jsonify(alive=True)


@bp.get("/")
def home() -> ResponseReturnValue:
    """To the first project; without one, how to make it."""
    projects = list(_with().projects())
    return redirect(f"/p/{projects[0]}/") if projects else render_template("welcome.html")


@bp.get("/p/<project>/")
def live(project: str) -> str:
    """The live page."""
    return _page("live.html", project, zone=_zone(project))


@bp.get("/p/<project>/api/live")
def live_json(project: str) -> Response:
    """Live numbers as JSON; cheap enough to ask every second."""
    me = _with()
    return jsonify(overview(LiveStore(me.live_path, project), _zone(project), me.clock()))


@bp.get("/p/<project>/api/ledger")
def ledger_json(project: str) -> Response:
    """The ledger of the whole system as JSON."""
    _zone(project)
    me = _with()
    found = ledger.read(me.settings.path("spool"), me.warehouse.files)
    derived = {n: getattr(found, n) for n in ("in_flight", "uncounted", "balanced")}
    return jsonify(**asdict(found), **derived)


@bp.get("/p/<project>/daily")
def daily(project: str) -> str:
    """The exact daily table."""
    zone = _zone(project)
    return _page("daily.html", project, zone=zone, table=_daily(project, zone))


@bp.get("/p/<project>/api/daily")
def daily_json(project: str) -> ResponseReturnValue:
    """The exact daily table as JSON; ?first=2010-12-01&last=2010-12-07."""
    return jsonify(_daily(project, _zone(project)) or {"days": []})


def _daily(project: str, zone: str) -> dict[str, Any] | None:
    warehouse = _with().warehouse
    there = daily_table.span(warehouse, project)
    if there is None:
        return None
    first, last = _day("first", there[0]), _day("last", there[1])
    if first > last:
        abort(400, f"The first day, {first}, lies after the last, {last}.")
    return daily_table.table(warehouse, project, zone, first, last)


def _day(name: str, default: date) -> date:
    text = request.args.get(name)
    if not text:
        return default
    try:
        return date.fromisoformat(text)
    except ValueError:
        abort(400, f"{name}={text!r} is no day; write it as 2010-12-01.")


@bp.get("/p/<project>/sql")
def sql(project: str) -> str:
    """The SQL page."""
    _zone(project)
    tables = {view: load(table.record).fields for view, table in TABLES.items()}
    return _page("sql.html", project, tables=tables, live=LIVE, live_columns=LIVE_COLUMNS,
                 examples=EXAMPLES)  # fmt: skip


@bp.post("/p/<project>/api/sql")
def sql_json(project: str) -> ResponseReturnValue:
    """Run {"sql": "…"} in BigQuery's dialect, read-only; 400 with message, line and column."""
    zone = _zone(project)
    body = request.get_json(silent=True)
    text = body.get("sql") if isinstance(body, dict) else None
    if not isinstance(text, str) or len(text) > _MAX_SQL:
        return jsonify(message='send {"sql": "SELECT …"}, at most 100,000 characters'), 400
    try:
        result = _with().warehouse.ask(project, text)
    except NotAdmitted as error:
        return jsonify(message=str(error), line=error.line, column=error.column), 400
    except QueryFailed as error:
        return jsonify(message=str(error), line=None, column=None), 400
    return jsonify(
        columns=result.columns,
        types=result.types,
        rows=[[plain(value) for value in row] for row in result.rows],
        truncated=result.truncated,
        elapsed_ms=round(result.elapsed_s * 1000),
        as_of=when(result.as_of, zone),
        status="exact",
    )


@bp.get("/p/<project>/dead-letters")
def dead_letters(project: str) -> str:
    """What was refused, and why."""
    zone = _zone(project)
    warehouse = _with().warehouse
    return _page(
        "dead_letters.html",
        project,
        zone=zone,
        reasons=warehouse.run(project, _SQL["dead_letter_reasons"]).rows,
        letters=warehouse.run(project, _SQL["dead_letters"]).rows,
    )
