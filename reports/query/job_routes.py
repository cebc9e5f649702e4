"""Queries as jobs over HTTP: start, look, take rows, cancel."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, abort, jsonify, request
from flask.typing import ResponseReturnValue

from reports.access.needs import needs
from reports.present import when
from reports.query.here import Ask, asked, body, me, takes, user, zone_of
from reports.query.jobs import KEPT_S, PAGE_ROWS, Job
from reports.query.saved import Ran, remember
from transforms.csv_safe import safe

bp = Blueprint("query_jobs", __name__, url_prefix="/p/<project>/api/sql/jobs")


@bp.post("")
@needs("analyst")
@takes(Ask)
def start_job(project: str) -> ResponseReturnValue:
    """Start {"sql": "…", "parameters": {…}}: 202 with its id and state.

    400 with message, line and column for what cannot run; 413 where it would read too much; 429
    where too many run already.
    """
    zone = zone_of(project)
    sql, values = asked()
    keeper = me().documents
    given = body().get("parameters") or {}
    job = me().jobs.start(
        project, user(), sql, values, given, lambda ended: remember(keeper, Ran.of(ended))
    )
    return jsonify(_shown(job, zone)), 202


@bp.get("/<job>")
@needs("analyst")
def job_state(project: str, job: str) -> Response:
    """How far it is: state (running, done, failed, cancelled), seconds, progress, rows so far.

    progress is 0 to 1, or null where the engine does not know. A result is there for an hour.
    """
    return jsonify(_shown(_job(project, job), zone_of(project)))


@bp.get("/<job>/rows")
@needs("analyst")
def job_rows(project: str, job: str) -> Response:
    """A page of the result's rows, ?page=0 and on; 1,000 rows each, the last page may be shorter.

    409 while there is no result.
    """
    found = _done(project, job)
    text = request.args.get("page", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        abort(400, f"page={text!r} is no page; there are {found.pages}, from 0.")
    if int(text) >= max(1, found.pages):
        abort(404, f"page={text}: there are {found.pages}, from 0.")
    rows = me().jobs.rows(found, int(text)) if found.pages else b"[]"
    return Response(b'{"rows": ' + rows + b"}", mimetype="application/json")


@bp.delete("/<job>")
@needs("analyst")
def cancel_job(project: str, job: str) -> ResponseReturnValue:
    """End it if it runs, and say what became of it; forget it if it has ended: 204."""
    left = me().jobs.cancel(_job(project, job))
    return ("", 204) if left is None else jsonify(_shown(left, zone_of(project)))


@bp.get("/<job>/result.csv")
@needs("analyst")
def job_csv(project: str, job: str) -> Response:
    """The result as CSV: RFC 4180, UTF-8; a cell that a spreadsheet would run begins with '."""
    found = _done(project, job)

    def lines() -> Iterator[str]:
        for row in (found.columns, *me().jobs.all_rows(found)):
            text = io.StringIO()
            csv.writer(text).writerow([_cell(value) for value in row])
            yield text.getvalue()

    return _file("".join(lines()), "text/csv", "result.csv")


@bp.get("/<job>/result.json")
@needs("analyst")
def job_json(project: str, job: str) -> Response:
    """The result as a file of JSON: columns, types, and rows as objects."""
    found = _done(project, job)
    keys = _unique(found.columns)
    rows = [dict(zip(keys, row, strict=True)) for row in me().jobs.all_rows(found)]
    whole = {"columns": keys, "types": found.types, "truncated": found.truncated, "rows": rows}
    return _file(json.dumps(whole, ensure_ascii=False), "application/json", "result.json")


def _unique(names: list[str]) -> list[str]:
    """Column names as keys of an object: a second `n` is `n_2`."""
    taken: dict[str, int] = {}
    found = []
    for name in names:
        key = name
        while key in taken:
            taken[name] += 1
            key = f"{name}_{taken[name]}"
        taken.setdefault(key, 1)
        found.append(key)
    return found


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return safe(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _file(text: str, kind: str, name: str) -> Response:
    answer = Response(text, mimetype=kind)
    answer.headers["Content-Disposition"] = f"attachment; filename={name}"
    return answer


def _job(project: str, name: str) -> Job:
    zone_of(project)
    job = me().jobs.get(project, user(), name)
    if job is None:
        abort(404, f"There is no query {name!r} of yours; a result is kept for {KEPT_S // 60} min.")
    return job


def _done(project: str, name: str) -> Job:
    job = _job(project, name)
    if job.state != "done":
        abort(409, f"The query is {job.state}; only one that is done has a result.")
    return job


def _shown(job: Job, zone: str) -> dict[str, Any]:
    return {
        "id": job.id,
        "state": job.state,
        "seconds": round(job.seconds, 3),
        "progress": job.progress,
        "rows": job.rows,
        "pages": job.pages,
        "page_rows": PAGE_ROWS,
        "columns": job.columns,
        "types": job.types,
        "truncated": job.truncated,
        "as_of": when(job.as_of, zone),
        "complete_until": when(job.complete_until, zone),
        "status": job.status,
        "answered_from": job.answered_from,
        "message": job.message,
        "line": job.line,
        "column": job.column,
        "expires_at": None if job.ended is None else when(int((job.ended + KEPT_S) * 1e6), zone),
    }
