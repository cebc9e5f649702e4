"""People of a funnel as a cohort: who dropped out after a step or took it, as a list of ids."""

from __future__ import annotations

import msgspec
from flask import Blueprint, Flask, Response, current_app, jsonify
from flask.typing import ResponseReturnValue

from catalog.store import CatalogError
from reports.access.needs import needs
from reports.access.record import record
from reports.cohorts.definition import MOST_DESCRIPTION
from reports.cohorts.shelf import KIND, Cohorts
from reports.insights.funnels import FunnelPeople, everybody, step_titles
from reports.insights.question import QuestionError, read
from reports.insights.routes import source_of
from reports.insights.source import Source
from reports.present import when
from reports.query.here import body, takes, user
from reports.warehouse.engine import QueryFailed
from transforms.id_list import MOST_IDS

bp = Blueprint("cohorts_of_funnels", __name__, url_prefix="/p/<project>/api/cohorts")
_SAID = {"dropped": "dropped out after", "reached": "took"}


class SaveFunnel(msgspec.Struct, frozen=True):
    """People of a funnel under a name. question: as of the kind funnel_people; all its pages."""

    name: str
    question: FunnelPeople


def install(app: Flask) -> None:
    """Put the routes onto the app, after its cohorts."""
    app.register_blueprint(bp)


@bp.post("/funnel")
@needs("analyst")
@takes(SaveFunnel)
def save_people(project: str) -> ResponseReturnValue:
    """Keep who dropped out after a step of a funnel, or took it: 201, {id, name, size}.

    It is a list of those whom the funnel has now: who comes later is not on it.
    """
    source, given = source_of(project), body()
    name = given.get("name")
    if not isinstance(name, str) or not name.strip() or "question" not in given:
        raise QuestionError('send {"name": "…", "question": {"steps": …, "step": 1}} as JSON')
    cohorts: Cohorts = current_app.extensions["cohorts"]
    # Before the work, not after it.
    if cohorts.documents.named(project, KIND, name.strip()) is not None:
        raise CatalogError(f"{project} has another {KIND} named {name.strip()!r}")
    question = read(FunnelPeople, given["question"])
    people = everybody(question, source)
    who = f"{_SAID[question.outcome]} {_step(question)}"
    if not people:
        raise QuestionError(f"nobody {who} in {question.dates}; ask for other days or another step")
    if len(people) > MOST_IDS:
        raise QuestionError(
            f"{len(people):,} people are more than {MOST_IDS:,}; ask for fewer days"
        )
    definition = {
        "rule": {"is": "upload", "list": cohorts.put_list(project, people)},
        "identity": question.identity,
        "description": _description(who, question, source),
    }
    record("cohort.save", name)
    saved = cohorts.save(project, name, definition, author=user())
    return jsonify(id=saved.id, name=saved.name, size=len(people)), 201


def _step(question: FunnelPeople) -> str:
    """The step as the funnel's table names it."""
    return f"step {step_titles(question)[question.step - 1]}"


def _description(who: str, question: FunnelPeople, source: Source) -> str:
    """Names of steps are as long as people make them; the days come first, so that they stay."""
    first, last = source.days(question)
    now = when(source.now_us, source.zone)
    return f"Of a funnel from {first} to {last}, as of {now}: who {who}"[:MOST_DESCRIPTION]


@bp.errorhandler(QuestionError)
@bp.errorhandler(QueryFailed)
@bp.errorhandler(CatalogError)
def _wrong(error: Exception) -> tuple[Response, int]:
    return jsonify(message=str(error)), 400
