"""Queries that are kept: saved ones under a name, and the last ones that ran."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, abort, jsonify
from flask.typing import ResponseReturnValue

from catalog.documents import Document, Documents
from catalog.store import CatalogError
from reports.access.needs import needs
from reports.query.here import MAX_SQL, Save, author, body, me, takes, zone_of
from reports.query.jobs import Job
from reports.warehouse.parameters import values_of

bp = Blueprint("saved_queries", __name__, url_prefix="/p/<project>/api/sql")
QUERY, RUN = "query", "query_run"
LAST = 200  # runs that a project remembers


def remember(documents: Documents, job: Job) -> None:
    """Write a run that ended into the history of its project; the oldest make room."""
    run = {
        "sql": job.sql,
        "parameters": job.parameters,
        "state": job.state,
        "seconds": round(job.seconds, 3),
        "rows": job.rows,
        "message": job.message,
    }
    name = f"{int(job.began * 1e6):017d} {job.id}"  # in order of time
    documents.put(job.project, RUN, name, run, author=job.user)
    for old in documents.all(job.project, RUN)[:-LAST]:
        try:
            documents.remove(job.project, RUN, old.id)
        except CatalogError:  # somebody else just did
            continue


@bp.get("/history")
@needs("analyst")
def history(project: str) -> Response:
    """The last 200 queries of the project that ran, newest first: who, when, how long, outcome."""
    zone_of(project)
    runs = [
        {**run.body, "user": run.author, "at": f"{run.created_at.isoformat()}Z"}
        for run in reversed(me().documents.all(project, RUN))
    ]
    return jsonify(runs=runs)


@bp.get("/queries")
@needs("analyst")
def saved_queries(project: str) -> Response:
    """The saved queries of the project, by name."""
    zone_of(project)
    return jsonify(queries=[_shown(one) for one in me().documents.all(project, QUERY)])


@bp.get("/queries/<query>")
@needs("analyst")
def saved_query(project: str, query: str) -> Response:
    """One saved query."""
    zone_of(project)
    return jsonify(_shown(_known(project, query)))


@bp.post("/queries")
@needs("analyst")
@takes(Save)
def save_query(project: str) -> ResponseReturnValue:
    """Save {"name", "sql", "parameters"}: 201; 409 where the name is taken."""
    zone_of(project)
    name, content = _given()
    documents = me().documents
    if documents.named(project, QUERY, name.strip()) is not None:
        abort(409, f"There is a query {name!r} already; give yours another name.")
    return jsonify(_shown(documents.put(project, QUERY, name, content, author=author()))), 201


@bp.put("/queries/<query>")
@needs("analyst")
@takes(Save)
def change_query(project: str, query: str) -> Response:
    """Put {"name", "sql", "parameters"} in a saved query's place; its link stays."""
    zone_of(project)
    _known(project, query)
    name, content = _given()
    return jsonify(_shown(me().documents.put(project, QUERY, name, content, known=query)))


@bp.delete("/queries/<query>")
@needs("analyst")
def remove_query(project: str, query: str) -> ResponseReturnValue:
    """Forget a saved query."""
    zone_of(project)
    _known(project, query)
    me().documents.remove(project, QUERY, query)
    return "", 204


@bp.errorhandler(CatalogError)
def _wrong(error: CatalogError) -> tuple[Response, int]:
    return jsonify(message=str(error)), 400


def _known(project: str, query: str) -> Document:
    found = me().documents.get(project, QUERY, query)
    if found is None:
        abort(404, f"{project} has no saved query {query!r}.")
    return found


def _given() -> tuple[str, dict[str, Any]]:
    given = body()
    name, sql, parameters = given.get("name"), given.get("sql"), given.get("parameters") or {}
    if not isinstance(name, str) or not isinstance(sql, str):
        abort(400, 'Send {"name": "…", "sql": "SELECT …"} as JSON.')
    if len(sql) > MAX_SQL:
        abort(400, f"sql has {len(sql):,} characters; at most {MAX_SQL:,} can be saved.")
    values_of(parameters)  # says what is wrong with them
    return name, {"sql": sql, "parameters": parameters}


def _shown(one: Document) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "sql": one.body["sql"],
        "parameters": one.body["parameters"],
        "author": one.author,
        "updated_at": f"{one.updated_at.isoformat()}Z",
    }
