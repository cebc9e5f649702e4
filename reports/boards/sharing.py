"""Links to one board: managed by the project's analysts, opened by whoever has one.

A link shows its board as it is defined, and takes no days, filters or questions from the reader: it
gives panels by their number and nothing of what they ask.
"""

from __future__ import annotations

from typing import Any

import msgspec
from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    current_app,
    g,
    jsonify,
    render_template,
    request,
)
from flask.typing import ResponseReturnValue

from catalog.documents import Documents
from catalog.store import CatalogError
from reports.access.needs import needs
from reports.boards.definition import KIND, Board, Scope, built_in, stored
from reports.boards.panels import Panels
from reports.boards.shares import MOST_DAYS, Share, Shares
from reports.insights.question import PeopleHidden, QuestionError
from reports.insights.routes import source_of
from reports.warehouse.engine import NotAdmitted, QueryFailed

bp = Blueprint("sharing", __name__)
_PEOPLE = "This panel lists people, whom a link does not show."
_GONE = "This link does not open anything: it was taken back, or it is over. Ask for a new one."


def install(app: Flask, documents: Documents) -> None:
    """Put the routes onto the app."""
    app.extensions["shares"] = Shares(documents)
    app.register_blueprint(bp)


def shares() -> Shares:
    """The links."""
    found: Shares = current_app.extensions["shares"]
    return found


@bp.get("/p/<project>/api/boards/<board>/shares")
@needs("analyst")
def list_shares(project: str, board: str) -> Response:
    """{"shares": [{id, author, created_at, expires_at}]}: the links of a board, without secrets."""
    source_of(project)
    return jsonify(shares=[_plain(one) for one in shares().of(project, board)])


@bp.post("/p/<project>/api/boards/<board>/shares")
@needs("analyst")
def make_share(project: str, board: str) -> ResponseReturnValue:
    """Make a read-only link, {"days": 30} or {}: 201 with its address, shown only this once."""
    source_of(project)
    given = request.get_json(silent=True)
    days = given.get("days") if isinstance(given, dict) else None
    if days is not None and not (type(days) is int and 0 < days <= MOST_DAYS):
        abort(400, f"days={days!r} is not between 1 and {MOST_DAYS}; leave it out for no end")
    if not _board(project, board):
        abort(404, f"There is no dashboard {board!r} in {project}.")
    author = getattr(g.get("user"), "name", "") or ""
    try:
        token, share = shares().make(project, board, days=days, author=author)
    except CatalogError as error:
        abort(400, str(error))
    return jsonify(**_plain(share), path=f"/share/{token}"), 201


@bp.delete("/p/<project>/api/boards/<board>/shares/<share>")
@needs("analyst")
def revoke_share(project: str, board: str, share: str) -> Response:
    """Take a link back; it opens nothing from now on."""
    source_of(project)
    if all(one.id != share for one in shares().of(project, board)):
        abort(404, "There is no such link of this dashboard.")
    shares().revoke(project, share)
    return jsonify(revoked=share)


@bp.get("/share/<token>")
@needs("public")
def shared(token: str) -> Response:
    """The board of a link."""
    share, board = _opened(token)
    source = source_of(share.project)
    made = render_template("share.html", token=token, board=board, zone=source.zone)
    return _private(Response(made))


@bp.get("/share/<token>/panels/<int:number>")
@needs("public")
def shared_panel(token: str, number: int) -> ResponseReturnValue:
    """A panel of the board of a link, as /api/boards/ID/panels/N gives it, without its question."""
    share, board = _opened(token)
    if number >= len(board.panels):
        abort(404, _GONE)
    panels: Panels = current_app.extensions["boards"]
    scope = Scope(board.dates, board.where, board.cohort)
    source = source_of(share.project)
    source.may_list_people = False  # whoever opens it: what it shows does not depend on that
    try:
        # Annotations are words among the people of a project; a link shows numbers.
        shown = panels.shown(board.panels[number], scope, source, is_noted=False)
    except PeopleHidden:
        return _private(jsonify(message=_PEOPLE)), 400
    except (QuestionError, QueryFailed, NotAdmitted):
        # What is wrong may speak of filters and tables, which the link does not show.
        return _private(jsonify(message="This panel cannot be computed now.")), 400
    found = msgspec.json.decode(shown)
    found.pop("question", None)
    return _private(jsonify(found))


def _opened(token: str) -> tuple[Share, Board]:
    share = shares().opened(token)
    board = share and _board(share.project, share.board)
    if not share or not board:
        abort(404, _GONE)
    return share, board


def _board(project: str, board: str) -> Board | None:
    if board in built_in():
        return built_in()[board]
    panels: Panels = current_app.extensions["boards"]
    found = panels.documents.get(project, KIND, board)
    return stored(found.body) if found else None


def _private(answer: Response) -> Response:
    answer.headers["Cache-Control"] = "private, no-store"
    answer.headers["X-Robots-Tag"] = "noindex"
    return answer


def _plain(share: Share) -> dict[str, Any]:
    ends = share.expires_at
    return {
        "id": share.id,
        "author": share.author,
        "created_at": share.created_at.isoformat() + "Z",
        "expires_at": ends.isoformat() if ends else None,
    }
