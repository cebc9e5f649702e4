"""SQL over HTTP: the page, a query and its answer, what it would read, how it is laid out."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, jsonify
from flask.typing import ResponseReturnValue

from catalog.documents import Documents
from catalog.settings import Settings
from catalog.store import Catalog
from reports.access.needs import needs
from reports.access.scope import sees_all_projects
from reports.present import when
from reports.query import job_routes, openapi, saved
from reports.query.estimated import estimated
from reports.query.here import Ask, Collaborators, asked, body, me, page, takes, user, zone_of
from reports.query.jobs import Jobs
from reports.query.layout import laid_out
from reports.query.saved import Ran
from reports.warehouse.engine import (
    Busy,
    NotAdmitted,
    QueryFailed,
    Result,
    TooLarge,
    Warehouse,
)
from reports.warehouse.parameters import ParameterError
from reports.warehouse.shown import EXAMPLES, FUNCTIONS, Column, plain, tables, typed_tables

bp = Blueprint("query", __name__)
BLUEPRINTS = (bp, job_routes.bp, saved.bp, openapi.bp)


def install(app: Flask, settings: Settings, warehouse: Warehouse) -> None:
    """Put the routes onto the app."""
    directory: Path = settings.path("queries", "jobs")
    app.extensions["queries"] = Collaborators(
        warehouse=warehouse,
        jobs=Jobs(warehouse, directory, settings.sql_timeout_s),
        documents=Documents(Catalog(settings.catalog_url)),
    )
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)


def _problem(error: Exception) -> tuple[Response, int]:
    """Why a query has no answer, with its place where that is known."""
    line, column = getattr(error, "line", None), getattr(error, "column", None)
    status = 429 if isinstance(error, Busy) else 413 if isinstance(error, TooLarge) else 400
    answer = jsonify(message=str(error), line=line, column=column)
    if isinstance(error, Busy):
        answer.headers["Retry-After"] = "1"
    return answer, status


def _tables(project: str) -> dict[str, tuple[Column, ...]]:
    return {**tables(), **typed_tables(me().warehouse.typed(project))}


@bp.get("/p/<project>/sql")
@needs("analyst")
def sql(project: str) -> str:
    """The SQL page; ?query=ID opens a saved query."""
    zone_of(project)
    return page("sql.html", project, tables=_tables(project), examples=EXAMPLES)


@bp.post("/p/<project>/api/sql")
@needs("analyst")
@takes(Ask)
def sql_json(project: str) -> ResponseReturnValue:
    """Run {"sql": "…", "parameters": {…}} in BigQuery's dialect, read-only.

    400 with message, line and column; 413 where it would read too much, 429 where too many run.
    """
    zone = zone_of(project)
    text, values = asked()
    result = _remembered(project, text, values)
    return jsonify(
        columns=result.columns,
        types=result.types,
        rows=[[plain(value) for value in row] for row in result.rows],
        truncated=result.truncated,
        elapsed_ms=round(result.elapsed_s * 1000),
        as_of=when(result.as_of, zone),
        complete_until=when(result.complete_until, zone),
        status=result.status,
        answered_from=result.answered_from,
    )


def _remembered(project: str, text: str, values: dict[str, Any]) -> Result:
    """Run it, and write that it ran into the history, however it ended."""
    ran = Ran(project, user(), text, body().get("parameters") or {}, time.time())
    try:
        result = me().warehouse.ask(project, text, values, user=user())
    except (TooLarge, Busy):  # it did not run
        raise
    except QueryFailed as error:
        saved.remember(me().documents, ran.ended("failed", message=str(error)))
        raise
    saved.remember(me().documents, ran.ended("done", rows=len(result.rows)))
    return result


@bp.post("/p/<project>/api/sql/estimate")
@needs("analyst")
@takes(Ask)
def estimate_json(project: str) -> Response:
    """Rows and compressed bytes that a query would read, by table, and the engine's plan.

    413 where it would read more than HEADWATER_SQL_MAX_BYTES; the message says how to narrow it.
    Where there are several projects, sizes and plan are for admins of everything: null and "" for
    others, and `note` says so. They get `own`: rows of the project, and about how many bytes.
    """
    zone_of(project)
    text, values = asked()
    whole = sees_all_projects()
    found = me().warehouse.estimate(project, text, values, user=user(), own=not whole)
    return jsonify(estimated(found, whole=whole))


@bp.post("/p/<project>/api/sql/format")
@needs("analyst")
@takes(Ask)
def format_json(project: str) -> Response:
    """{"sql": "…"} laid out anew: the same query, one clause a line."""
    zone_of(project)
    text, _ = asked()
    return jsonify(sql=laid_out(text))


@bp.get("/p/<project>/api/sql/tables")
@needs("analyst")
def tables_json(project: str) -> Response:
    """All that SQL can read, with columns and their types, and the functions it can call."""
    zone_of(project)
    described = [
        {"name": name, "columns": [asdict(column) for column in columns]}
        for name, columns in _tables(project).items()
    ]
    return jsonify(tables=described, functions=list(FUNCTIONS))


for _blueprint in (bp, job_routes.bp, saved.bp):
    for _error in (NotAdmitted, QueryFailed, ParameterError):
        _blueprint.register_error_handler(_error, _problem)
