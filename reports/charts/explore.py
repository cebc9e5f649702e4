"""The Explore page: one page for all kinds of questions, its form made from each kind's schema."""

from __future__ import annotations

from typing import Any

import msgspec
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

from reports.access.needs import needs
from reports.boards.answers import Answers
from reports.charts.vocabulary import values, vocabulary
from reports.insights.kinds import IDS, KINDS, Kind, check_people
from reports.insights.question import PeopleHidden, QuestionError
from reports.insights.routes import source_of

bp = Blueprint("explore", __name__)
# What most people come for stands first; the other kinds follow as they were registered.
_FIRST = ("trend", "funnel", "retention", "lifecycle", "stickiness", "paths", "revenue")


def kinds_shown() -> dict[str, Kind]:
    """The kinds of questions in the order of the page."""
    return {name: KINDS[name] for name in dict.fromkeys((*_FIRST, *KINDS)) if name in KINDS}


@bp.get("/p/<project>/explore")
@needs("viewer")
def first(project: str) -> ResponseReturnValue:
    """To the first kind of question."""
    source_of(project)
    if not KINDS:
        abort(404, "There are no kinds of questions.")
    return redirect(f"/p/{project}/explore/{next(iter(kinds_shown()))}")


@bp.get("/p/<project>/explore/<kind>")
@needs("viewer")
def explore(project: str, kind: str) -> str:
    """A question of a kind and its answer; ?q=QUESTION as JSON."""
    source = source_of(project)
    if kind not in KINDS:
        abort(404, f"There is no kind {kind!r} of question; there are {', '.join(KINDS)}.")
    return page("explore.html", project, kinds=kinds_shown(), kind=KINDS[kind], zone=source.zone)


@bp.get("/p/<project>/api/vocabulary")
@needs("viewer")
def vocabulary_json(project: str) -> Response:
    """Suggestions: events with their counts, properties seen recently, metrics of the project."""
    source, warehouse = source_of(project), current_app.extensions["reports"].warehouse
    answers: Answers = current_app.extensions["boards"].answers
    key = (project, source.today, "vocabulary")
    found = answers.get(key, lambda: msgspec.json.encode(vocabulary(warehouse, source)))
    return Response(found, content_type="application/json")


@bp.get("/p/<project>/api/vocabulary/values")
@needs("viewer")
def values_json(project: str) -> ResponseReturnValue:
    """The most frequent values of a property in recent events; ?property=country&event=NAME."""
    source = source_of(project)
    name, event = request.args.get("property", ""), request.args.get("event", "")
    warehouse = current_app.extensions["reports"].warehouse
    try:
        if name in IDS:
            check_people(name, source)
        return jsonify(values(warehouse, source, name, event))
    except PeopleHidden as error:
        return jsonify(message=str(error)), 403
    except QuestionError as error:
        return jsonify(message=str(error)), 400


def page(template: str, project: str, **given: Any) -> str:
    """A page of a project, with what every page of one shows."""
    projects = list(current_app.extensions["reports"].projects())
    return render_template(template, project=project, projects=projects, **given)
