"""Questions over HTTP: which kinds there are, and answers as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import msgspec
from flask import Blueprint, Response, abort, current_app, has_request_context, jsonify, request
from flask.typing import ResponseReturnValue

import reports.insights.all  # noqa: F401 - registers the kinds
from reports.access.needs import needs
from reports.access.parts import caller
from reports.annotated import annotated_days
from reports.cohorts.routes import cohort_table
from reports.insights.answer import Answer
from reports.insights.kinds import KINDS, ask
from reports.insights.question import PeopleHidden, QuestionError
from reports.insights.source import Source
from reports.present import when
from reports.warehouse.failed import Busy, QueryFailed
from reports.warehouse.shown import plain

bp = Blueprint("insights", __name__)


def source_of(project: str) -> Source:
    """The events of a project; 404 where there is none of that name."""
    me = current_app.extensions["reports"]
    zone = me.projects().get(project)
    if zone is None:
        abort(404, f"There is no project {project!r}. Make one: python -m catalog add-project")
    return Source(
        me.warehouse, project, zone, me.clock(), cohort_table, annotated_days, me.metrics,
        may_list_people=not has_request_context() or caller().may("analyst", project),
    )  # fmt: skip


def as_json(answer: Answer) -> dict[str, Any]:
    """An answer in JSON's values; what programs, pages and dashboards get."""
    table = answer.table
    return {
        "kind": answer.kind,
        "question": answer.question,
        "columns": [asdict(column) for column in table.columns],
        "rows": [[plain(value) for value in row] for row in table.rows],
        "chart": asdict(table.chart),
        "totals": [
            {"title": title, "value": plain(value), "unit": unit}
            for title, value, unit in table.totals
        ],
        "notes": list(table.notes),
        "days": [day.isoformat() for day in answer.days],
        "status": table.trust,
        "error": table.error,
        "as_of": when(answer.as_of, answer.zone),
        "complete_until": when(answer.complete_until, answer.zone),
        "time_zone": answer.zone,
        "identity": answer.identity,
        "elapsed_ms": round(answer.elapsed_s * 1000),
    }


@bp.get("/p/<project>/api/insights")
@needs("viewer")
def kinds(project: str) -> Response:
    """The kinds of questions: title, description, JSON schema and an example of each."""
    source_of(project)
    described = [
        {
            "name": kind.name,
            "title": kind.title,
            "description": kind.description,
            "schema": msgspec.json.schema(kind.question),
            "example": kind.example,
        }
        for kind in KINDS.values()
    ]
    return jsonify(kinds=described)


@bp.post("/p/<project>/api/insights/<kind>")
@needs("viewer")
def answer(project: str, kind: str) -> ResponseReturnValue:
    """Ask a question of a kind: its fields as a JSON object; 400 with a message."""
    source = source_of(project)
    try:
        found = ask(kind, request.get_json(silent=True), source)
    except RecursionError:  # [[[[…
        return jsonify(message="the question is nested too deeply"), 400
    except PeopleHidden as error:
        return jsonify(message=str(error)), 403
    except Busy as error:
        return jsonify(message=str(error)), 429, {"Retry-After": "1"}
    except (QuestionError, QueryFailed) as error:
        return jsonify(message=str(error)), 400
    return jsonify(as_json(found))
