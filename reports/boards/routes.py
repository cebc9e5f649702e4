"""Dashboards over HTTP: pages, definitions, panels and pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from flask import Blueprint, Flask, Response, abort, current_app, g, jsonify, request
from flask.typing import ResponseReturnValue

from catalog.documents import Document, Documents
from catalog.settings import Settings
from catalog.store import Catalog, CatalogError
from reports.access.needs import needs
from reports.boards import sharing
from reports.boards.answers import Answers, stamp_of
from reports.boards.definition import (
    KIND,
    Board,
    BoardError,
    Scope,
    board_of,
    built_in,
    panel_of,
    plain,
    stored,
)
from reports.boards.panels import Panels
from reports.boards.sheets import board_sheet
from reports.boards.tiles import TILES
from reports.charts.explore import kinds_shown, page
from reports.charts.routes import attachment, taken_away, theme_asked
from reports.insights.question import QuestionError, days_of
from reports.insights.routes import source_of
from reports.live.overview import overview
from reports.live.store import LiveStore
from reports.query.here import user
from reports.warehouse.engine import NotAdmitted, QueryFailed

bp = Blueprint("boards", __name__)
_ASKED = (QuestionError, QueryFailed, NotAdmitted, BoardError)
T = TypeVar("T")


def install(app: Flask, settings: Settings) -> None:
    """Put the routes onto the app, after its collaborators."""
    me = app.extensions["reports"]
    documents = Documents(Catalog(settings.catalog_url))
    # Every commit of any table writes the archive's catalogue.
    archive = settings.path("archive", "iceberg.db")
    written = (archive, archive.with_name("iceberg.db-wal"))

    def live(project: str) -> dict[str, Any]:
        return overview(LiveStore(me.live_path, project), me.projects()[project], me.clock())

    answers = Answers(lambda: stamp_of(*written))
    app.extensions["boards"] = Panels(me.warehouse, documents, answers, live)
    sharing.install(app, documents)
    app.register_blueprint(bp)


def _panels() -> Panels:
    found: Panels = current_app.extensions["boards"]
    return found


@bp.get("/p/<project>/boards")
@needs("viewer")
def boards(project: str) -> str:
    """All dashboards of the project."""
    source_of(project)
    return page("boards.html", project, boards=_listed(project))


@bp.get("/p/<project>/boards/<board>")
@needs("viewer")
def board_page(project: str, board: str) -> str:
    """One dashboard."""
    source = source_of(project)
    found, document = board_at(project, board)
    return page(
        "board.html",
        project,
        board=found,
        id=board,
        is_built_in=document is None,
        definition=plain(found),
        version=_version(document),
        tiles=TILES,
        kinds=kinds_shown(),
        zone=source.zone,
    )


@bp.get("/p/<project>/api/boards")
@needs("viewer")
def boards_json(project: str) -> Response:
    """{"boards": [{id, title, description, built_in, panels, updated_at}]}."""
    source_of(project)
    return jsonify(boards=_listed(project))


@bp.post("/p/<project>/api/boards")
@needs("analyst")
def make_board(project: str) -> ResponseReturnValue:
    """Save a definition as a new dashboard: 201 with its id; 409 where the title is taken."""
    source_of(project)
    found = _valid(lambda: board_of(request.get_json(silent=True)))
    if _panels().documents.named(project, KIND, found.title.strip()):
        abort(409, f"there is a dashboard {found.title!r} already; give this one another title")
    return jsonify(_saved(project, found)), 201


@bp.get("/p/<project>/api/boards/<board>")
@needs("viewer")
def board_json(project: str, board: str) -> Response:
    """{"id", "built_in", "version", "definition"}: the definition is what POST and PUT take."""
    source_of(project)
    found, document = board_at(project, board)
    return jsonify(
        id=board, built_in=document is None, version=_version(document), definition=plain(found)
    )


@bp.put("/p/<project>/api/boards/<board>")
@needs("analyst")
def change_board(project: str, board: str) -> ResponseReturnValue:
    """Replace a definition; ?version= as it was read: 409 where somebody changed it since."""
    source_of(project)
    found = _valid(lambda: board_of(request.get_json(silent=True)))
    document = _own(project, board)
    version = request.args.get("version")
    if version is not None and version != _version(document):
        abort(409, "somebody else changed this dashboard meanwhile; load it anew and change again")
    return jsonify(_saved(project, found, board))


@bp.post("/p/<project>/api/boards/<board>/panels")
@needs("analyst")
def add_panel(project: str, board: str) -> ResponseReturnValue:
    """Add a panel at the end."""
    source_of(project)
    panel = _valid(lambda: panel_of(request.get_json(silent=True)))
    found = stored(_own(project, board).body)
    definition = {**plain(found), "panels": [*plain(found).get("panels", []), plain(panel)]}
    return jsonify(_saved(project, _valid(lambda: board_of(definition)), board)), 201


@bp.delete("/p/<project>/api/boards/<board>")
@needs("analyst")
def remove_board(project: str, board: str) -> Response:
    """Forget a dashboard and take back its links."""
    source_of(project)
    title = _own(project, board).name
    sharing.shares().forget(project, board)
    _panels().documents.remove(project, KIND, board)
    return jsonify(removed=title)


@bp.get("/p/<project>/api/boards/<board>/panels/<int:number>")
@needs("viewer")
def panel_json(project: str, board: str, number: int) -> ResponseReturnValue:
    """What is in a panel, from 0; ?dates=&cohort=&where= (JSON) in place of the board's own."""
    source = source_of(project)
    found, _ = board_at(project, board)
    if number >= len(found.panels):
        abort(404, f"this dashboard has {len(found.panels)} panels; load it anew")
    asked = _valid(lambda: _panels().shown(found.panels[number], scope_asked(found), source))
    return Response(asked, content_type="application/json")


@bp.post("/p/<project>/api/boards/preview")
@needs("analyst")
def preview(project: str) -> ResponseReturnValue:
    """What would be in a panel that is not saved."""
    source = source_of(project)
    panel = _valid(lambda: panel_of(request.get_json(silent=True)))
    asked = _valid(lambda: _panels().shown(panel, Scope(), source, user=user()))
    return Response(asked, content_type="application/json")


@bp.get("/p/<project>/api/boards/<board>.<extension>")
@needs("viewer")
def board_away(project: str, board: str, extension: str) -> ResponseReturnValue:
    """The whole board as svg, png or pdf, ?theme=dark; or its definition as json."""
    if extension not in ("svg", "png", "pdf", "json"):
        abort(400, f"There is no format {extension!r}; there are svg, png, pdf, json.")
    source_of(project)
    found, _ = board_at(project, board)
    name = f"{project}-{found.title}"
    if extension == "json":
        body = json.dumps(plain(found), indent=2, ensure_ascii=False).encode()
        return attachment(body, "application/json", f"{name}.json")
    theme, scope = theme_asked(), _valid(lambda: scope_asked(found))
    sources = [source_of(project) for _ in (*found.panels, None)]
    svg = board_sheet(found, scope, sources, _panels(), theme)
    return taken_away(svg, extension, name)


def board_at(project: str, board: str) -> tuple[Board, Document | None]:
    """A board, and its document where it is not built in; 404 where there is none."""
    if (found := built_in().get(board)) is not None:
        return found, None
    document = _panels().documents.get(project, KIND, board)
    if document is None:
        abort(404, f"There is no dashboard {board!r} in {project}.")
    return stored(document.body), document


def scope_asked(board: Board) -> Scope:
    """The board's days and people, or what the address says. Raises BoardError."""
    text = request.args.get("where")
    dates = request.args.get("dates", board.dates)
    try:
        if dates:
            days_of(dates, datetime(2000, 1, 1).date())
        where = (
            board.where
            if text is None
            else board_of({"title": "-", "where": json.loads(text)}).where
        )
    except (ValueError, RecursionError) as error:  # QuestionError and BoardError are such
        raise BoardError(str(error)) from None
    return Scope(dates, where, request.args.get("cohort", board.cohort))


def _listed(project: str) -> list[dict[str, Any]]:
    made = [
        {"id": name, "title": one.title, "description": one.description, "built_in": True,
         "panels": len(one.panels), "updated_at": None}
        for name, one in built_in().items()
    ]  # fmt: skip
    own = _panels().documents.all(project, KIND)
    return made + [
        {"id": one.id, "title": one.name, "description": one.body.get("description", ""),
         "built_in": False, "panels": len(one.body.get("panels", [])),
         "updated_at": _version(one)}
        for one in own
    ]  # fmt: skip


def _own(project: str, board: str) -> Document:
    """A board that people made; 400 for one that is built in."""
    _, document = board_at(project, board)
    if document is None:
        abort(400, "This dashboard comes with Headwater; copy it, and change the copy.")
    return document


def _saved(project: str, board: Board, known: str = "") -> dict[str, Any]:
    author = getattr(g.get("user"), "name", "") or ""
    title = board.title.strip()
    try:
        made = _panels().documents.put(
            project, KIND, title, plain(board), author=author, known=known
        )
    except CatalogError as error:
        abort(400, str(error))
    return {"id": made.id, "title": made.name, "version": _version(made)}


def _version(document: Document | None) -> str | None:
    return document.updated_at.isoformat() if document else None


def _valid(read: Callable[[], T]) -> T:
    """What it reads; 400 with its message where that cannot be."""
    try:
        return read()
    except _ASKED as error:
        abort(400, str(error))
