"""Reading the JSON that pages and programs send; 400 with the field, the value and the remedy."""

from __future__ import annotations

from typing import Any

from flask import abort, request


def sent() -> dict[str, Any]:
    """The body, a JSON object."""
    try:
        found = request.get_json(silent=True)
    except RecursionError:  # [[[[…
        found = None
    if not isinstance(found, dict):
        abort(400, "Send a JSON object, with content-type: application/json.")
    return found


def field(given: dict[str, Any], name: str, default: str | None = None) -> str:
    """A text."""
    value = given.get(name, default)
    if not isinstance(value, str):
        abort(400, f"{name} must be a text.")
    return value


def flag(given: dict[str, Any], name: str) -> bool:
    """true or false; false where it is left out."""
    value = given.get(name, False)
    if not isinstance(value, bool):
        abort(400, f"{name}={str(value)[:40]!r} must be true or false.")
    return value


def whole(given: dict[str, Any], name: str) -> int:
    """A whole number."""
    value = given.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        abort(400, f"{name}={str(value)[:40]!r} must be a whole number.")
    return value


def texts(given: dict[str, Any], name: str) -> list[str]:
    """A list of texts."""
    value = given.get(name)
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        abort(400, f"{name} must be a list of texts.")
    return value
