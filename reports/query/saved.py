"""Queries that are kept: saved ones under a name, and the last ones that ran."""

from __future__ import annotations

import logging
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import Any

from flask import Blueprint, Response, abort, jsonify
from flask.typing import ResponseReturnValue

from catalog.documents import Document, Documents
from catalog.store import CatalogError
from reports.access.needs import needs
from reports.query.here import MAX_SQL, Save, author, body, me, takes, zone_of
from reports.query.jobs import Job
from reports.warehouse.parameters import values_of

log = logging.getLogger(__name__)

bp = Blueprint("saved_queries", __name__, url_prefix="/p/<project>/api/sql")
QUERY, RUN = "query", "query_run"
LAST = 200  # runs that a project remembers


@dataclass(frozen=True)
class Ran:
    """A query that ran. parameters: as they were sent; began: seconds since 1970."""

    project: str
    user: str
    sql: str
    parameters: dict[str, Any]
    began: float
    state: str = "running"
    seconds: float = 0.0
    rows: int = 0
    message: str | None = None

    @classmethod
    def of(cls, job: Job) -> Ran:
        """A job that ended."""
        return cls(**{one.name: getattr(job, one.name) for one in fields(cls)})

    def ended(self, state: str, *, rows: int = 0, message: str | None = None) -> Ran:
        """As it ends now."""
        seconds = time.time() - self.began
        return replace(self, state=state, seconds=seconds, rows=rows, message=message)


def remember(documents: Documents, ran: Ran) -> None:
    """Write a run that ended into the history of its project; the oldest make room.

    Whoever waits for the answer gets it all the same where the history cannot be written.
    """
    run = {
        "sql": ran.sql,
        "parameters": ran.parameters,
        "state": ran.state,
        "seconds": round(ran.seconds, 3),
        "rows": ran.rows,
        "message": ran.message,
    }
    name = f"{int(ran.began * 1e6):017d} {secrets.token_urlsafe(16)}"  # in order of time
    try:
        documents.put(ran.project, RUN, name, run, author=ran.user)
        for old in documents.all(ran.project, RUN)[:-LAST]:
            with suppress(CatalogError):  # somebody else just did
                documents.remove(ran.project, RUN, old.id)
    except Exception:
        log.warning("the history has not got a query that ran", exc_info=True)


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
