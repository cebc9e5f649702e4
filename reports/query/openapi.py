"""The API describes itself: OpenAPI of the routes, their docstrings and the types of bodies."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from flask import Blueprint, Flask, Response, current_app, jsonify, render_template
from werkzeug.routing import Rule

from reports.access.needs import needed, needs, needs_browser
from reports.insights.kinds import KINDS

bp = Blueprint("openapi", __name__)
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_ARGUMENT = re.compile(r"<(?:(\w+)(?:\([^)]*\))?:)?(\w+)>")
_KINDS = {"int": "integer", "float": "number"}
_PROBLEM = {"$ref": "#/components/schemas/Problem"}
_MEDIA = {"csv": "text/csv", "svg": "image/svg+xml", "png": "image/png", "pdf": "application/pdf"}
_INSIGHT = "insights.answer"  # one route, a body for each kind of question
_DESCRIPTION = (
    "Everything the pages show, for programs. Send a token as `Authorization: Bearer …`. "
    "Each answer says its `status` (how far it can be trusted) and `as_of` (when what it was read "
    "from was last written); an error has a `message`, and of SQL `line` and `column`."
)


@dataclass(frozen=True)
class Call:
    """One thing that can be asked.

    path: with {names}; body: JSON schema, or None; browser: no token may do it
    """

    method: str
    path: str
    name: str
    title: str
    text: str
    role: str
    arguments: list[tuple[str, str]]
    body: dict[str, Any] | None
    browser: bool


@bp.get("/api/openapi.json")
@needs("public")
def openapi_json() -> Response:
    """This description of all routes, as OpenAPI 3.1."""
    return jsonify(document(current_app))


@bp.get("/api")
@needs("public")
def api_page() -> str:
    """The same for people to read."""
    found, schemas = calls(current_app)
    groups: dict[str, list[Call]] = {}
    for call in found:
        groups.setdefault(_group(call.path), []).append(call)
    return render_template("api.html", groups=groups, schemas=schemas, text=_DESCRIPTION)


def document(app: Flask) -> dict[str, Any]:
    """The OpenAPI document of an app."""
    found, schemas = calls(app)
    paths: dict[str, dict[str, Any]] = {}
    for call in found:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Headwater", "version": "1", "description": _DESCRIPTION},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Problem": _problem_schema()},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "headwater_session"},
            },
        },
    }


def calls(app: Flask) -> tuple[list[Call], dict[str, Any]]:
    """All calls of the API in order of their paths, and the schemas that their bodies name."""
    rules = sorted(
        (rule for rule in app.url_map.iter_rules() if is_api(rule.rule)), key=lambda r: r.rule
    )
    types = [kind.question for kind in KINDS.values()]
    for rule in rules:
        taken = getattr(app.view_functions[rule.endpoint], "takes", None)
        if taken is not None and taken not in types:
            types.append(taken)
    references, schemas = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    bodies = dict(zip(types, references, strict=True))
    found = [call for rule in rules for call in _calls(app, rule, bodies)]
    return found, schemas


def is_api(rule: str) -> bool:
    """Is it for programs?"""
    return "/api/" in f"{rule}/"


def path_of(rule: str) -> str:
    """A route's path as OpenAPI writes it."""
    return _ARGUMENT.sub(r"{\2}", rule)


def _calls(app: Flask, rule: Rule, bodies: dict[Any, dict[str, Any]]) -> Iterator[Call]:
    view = app.view_functions[rule.endpoint]
    path, arguments = path_of(rule.rule), _ARGUMENT.findall(rule.rule)
    typed = [(name, _KINDS.get(kind, "string")) for kind, name in arguments]
    taken = getattr(view, "takes", None)
    title, text = _documented(view)
    for method in _METHODS:
        if method not in (rule.methods or ()):
            continue
        body = bodies[taken] if taken is not None else None
        if body is None and method in ("POST", "PUT", "PATCH"):
            body = {"type": "object", "description": "See the description."}
        if rule.endpoint == _INSIGHT:
            body = {"oneOf": [bodies[kind.question] for kind in KINDS.values()]} if KINDS else body
        name = f"{rule.endpoint.replace('.', '_')}_{method.lower()}"
        browser = needs_browser(view)
        yield Call(method, path, name, title, text, needed(view), typed, body, browser)
        if rule.endpoint == _INSIGHT:
            for kind in KINDS.values():
                where = path.replace("{kind}", kind.name)
                rest = [one for one in typed if one[0] != "kind"]
                about = (kind.title, kind.description)
                own = bodies[kind.question]
                called = f"{name}_{kind.name}"
                yield Call(method, where, called, *about, needed(view), rest, own, browser)


def _documented(view: Callable[..., Any]) -> tuple[str, str]:
    """First line and the rest of a handler's docstring."""
    lines = (view.__doc__ or view.__name__).strip()
    title, _, rest = lines.partition("\n\n")
    return " ".join(title.split()), re.sub(r"[ \t]*\n[ \t]*", "\n", rest).strip()


def _operation(call: Call) -> dict[str, Any]:
    name = call.path.rpartition("/")[2]
    media = _MEDIA.get(name.rpartition(".")[2], "application/json") if "." in name else None
    made: dict[str, Any] = {
        "operationId": call.name,
        "summary": call.title,
        "tags": [_group(call.path)],
        "x-role": call.role,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": kind}}
            for name, kind in call.arguments
        ],
        "responses": {
            "2XX": {
                "description": call.title,
                "content": {media or "application/json": {"schema": {}}},
            },
            "default": {
                "description": "What is wrong and what to do.",
                "content": {"application/json": {"schema": _PROBLEM}},
            },
        },
    }
    if call.text:
        made["description"] = call.text
    if call.role == "public":
        made["security"] = []
    elif call.browser:
        made["security"] = [{"session": []}]
    if call.body is not None:
        made["requestBody"] = {"content": {"application/json": {"schema": call.body}}}
    return made


def _group(path: str) -> str:
    parts = path.partition("/api/")[2].split("/")
    return parts[0] if parts[0] and "{" not in parts[0] else "api"


def _problem_schema() -> dict[str, Any]:
    place = {"type": ["integer", "null"], "description": "From 1; null where it is not known."}
    return {
        "type": "object",
        "required": ["message"],
        "properties": {"message": {"type": "string"}, "line": place, "column": place},
    }
