"""Charts over HTTP: answers ready to be shown, pictures of them, and what the page draws with."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import msgspec
from flask import Blueprint, Flask, Response, abort, current_app, jsonify, request
from flask.typing import ResponseReturnValue

from catalog.settings import Settings
from reports.access.needs import needs
from reports.charts import picture
from reports.charts.bundle import Bundle
from reports.charts.drawn import drawn
from reports.charts.noted import with_notes
from reports.charts.theme import THEMES, Theme, config
from reports.insights.kinds import KINDS, ask
from reports.insights.question import QuestionError
from reports.insights.routes import as_json, source_of
from reports.warehouse.engine import QueryFailed
from transforms.csv_safe import safe

bp = Blueprint("charts", __name__)
_FORMATS = ("svg", "png", "pdf", "csv", "json")
_SIDES = {"width": (200, 3000, 900), "height": (0, 2000, 0)}  # least, most, usual; px
_FOR_EVER = "public, max-age=31536000, immutable"


def install(app: Flask, settings: Settings) -> None:
    """Put the routes onto the app. What they make is kept in `cache`, below the data directory."""
    bundle = Bundle(settings.path("cache"))
    app.extensions["charts"] = bundle
    app.jinja_env.globals["vega"] = f"/charts/{bundle.name}"
    app.register_blueprint(bp)


@bp.get("/charts/<name>.js")
@needs("public")
def libraries(name: str) -> Response:
    """Vega, Vega-Lite and Vega-Embed as one script. The address has their versions in it."""
    bundle: Bundle = current_app.extensions["charts"]
    if f"{name}.js" != bundle.name:
        abort(404, f"There is no script {name!r}; load the page anew.")
    body, kind = bundle.compressed(), "text/javascript; charset=utf-8"
    if not request.accept_encodings["gzip"]:
        abort(406, "The script is there as gzip only; send Accept-Encoding: gzip.")
    headers = {"Content-Encoding": "gzip", "Cache-Control": _FOR_EVER, "Vary": "Accept-Encoding"}
    return Response(body, content_type=kind, headers=headers)


@bp.get("/charts/themes.json")
@needs("public")
def themes() -> Response:
    """Colours and type of charts, by theme."""
    answer = jsonify({theme: config(theme) for theme in THEMES})
    answer.headers["Cache-Control"] = "public, max-age=3600"
    return answer


@bp.post("/p/<project>/api/charts/<kind>")
@needs("viewer")
def chart(project: str, kind: str) -> Response:
    """Ask a question of a kind, as /api/insights does; the answer is ready to be shown."""
    return jsonify(drawn(_answer(project, kind, request.get_json(silent=True))))


@bp.get("/p/<project>/api/charts/<kind>.<extension>")
@needs("viewer")
def picture_of(project: str, kind: str, extension: str) -> ResponseReturnValue:
    """The answer as svg, png, pdf, csv or json (Vega-Lite); ?q=QUESTION&theme=dark&width=900."""
    if extension not in _FORMATS:
        abort(400, f"There is no format {extension!r}; there are {', '.join(_FORMATS)}.")
    theme = theme_asked()
    width, height = (_side(name) for name in _SIDES)
    text = request.args.get("q", "{}")
    try:
        question = json.loads(text)
    except (ValueError, RecursionError):
        abort(400, f"q={text[:60]!r} is no JSON; send the question as a JSON object.")
    answer = _answer(project, kind, question)
    name = f"{project}-{kind}.{extension}"
    if extension == "csv":
        return attachment(csv_of(answer), "text/csv; charset=utf-8", name)
    shown = drawn(answer)
    if extension == "json":
        return jsonify(shown["spec"])
    box = picture.Box(KINDS[kind].title, drawn=_sized(shown, height))
    svg = picture.sheet(KINDS[kind].title, _asked(answer), [box], theme, width)
    return taken_away(svg, extension, f"{project}-{kind}")


def _answer(project: str, kind: str, question: Any) -> dict[str, Any]:
    source = source_of(project)
    try:
        return with_notes(as_json(ask(kind, question, source)), source.annotations())
    except (QuestionError, QueryFailed) as error:
        abort(400, str(error))


def _sized(shown: dict[str, Any], height: int) -> dict[str, Any]:
    return (
        {**shown, "spec": {**shown["spec"], "height": height}}
        if height and shown["spec"]
        else shown
    )


def _asked(answer: dict[str, Any]) -> str:
    """The question in a line."""
    left = {k: v for k, v in answer["question"].items() if v not in ("", [], None)}
    return msgspec.json.encode(left).decode()[:200]


def _side(name: str) -> int:
    least, most, usual = _SIDES[name]
    text = request.args.get(name, str(usual))
    if not text.isdecimal() or not least <= int(text) <= most:
        abort(400, f"{name}={text[:20]!r} is not between {least} and {most} pixels.")
    return int(text)


def theme_asked() -> Theme:
    """?theme=light or dark."""
    text = request.args.get("theme", "light")
    for theme in THEMES:
        if theme == text:
            return theme
    return abort(400, f"theme={text[:20]!r} is neither light nor dark.")


def csv_of(answer: dict[str, Any]) -> bytes:
    """All rows of an answer as CSV; cells that a spreadsheet would compute are made text."""
    made = io.StringIO()
    writer = csv.writer(made)
    writer.writerow(safe(column["name"]) for column in answer["columns"])
    for row in answer["rows"]:
        writer.writerow("" if value is None else safe(_cell(value)) for value in row)
    return made.getvalue().encode()


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def taken_away(svg: str, extension: str, name: str) -> Response:
    """An SVG document in the format asked for, as a download."""
    formats: dict[str, picture.Format] = {"svg": "svg", "png": "png", "pdf": "pdf"}
    body = picture.converted(svg, formats[extension])
    return attachment(body, picture.MIME[extension], f"{name}.{extension}")


def attachment(body: bytes, kind: str, name: str) -> Response:
    """A download. The name is of letters that every system can keep."""
    plain_name = "".join(c if (c.isalnum() and c.isascii()) or c in "-_." else "-" for c in name)
    headers = {
        "Content-Disposition": f'attachment; filename="{plain_name}"',
        "Cache-Control": "no-store",
    }
    return Response(body, content_type=kind, headers=headers)
