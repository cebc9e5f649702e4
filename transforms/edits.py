"""Edits: how refused events are mended before they are replayed.

    [[edit]]
    reason = "bad_money"                    # which letters: reason, source, type, name; all if none
    set = { currency = "EUR" }              # a text may hold {field}; alone it keeps its type
    rename = { "properties.uid" = "user_id" }
    drop = ["properties.debug"]

Fields are those of a candidate (type, name, event_id, user_id, …), the same for every protocol;
`properties.a.b` and `context.a` reach into the two objects. Edits that fit are applied in order,
within one first `rename`, then `set`, then `drop`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transforms.mapping import MappingError

FIELDS = {
    "type", "name", "event_id", "user_id", "anonymous_id", "session_id", "timestamp", "revenue",
    "currency", "order_id",
}  # fmt: skip
_OBJECTS = ("properties", "context")
_WHICH = ("reason", "source", "type", "name")
_KEYS = {*_WHICH, "set", "rename", "drop"}
_HOLE = re.compile(r"\{([^{}]+)\}")
_MISSING = object()
Fields = dict[str, Any]


@dataclass(frozen=True)
class Edit:
    """One `[[edit]]`. which: what a letter must be for it to apply."""

    which: Mapping[str, str] = field(default_factory=dict)
    set: Mapping[str, Any] = field(default_factory=dict)
    rename: Mapping[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()

    def apply(self, fields: Fields) -> None:
        """Change the candidate's fields in place."""
        for old, new in self.rename.items():
            value = _get(fields, old)
            if value is not _MISSING:
                _drop(fields, old)
                _put(fields, new, value)
        for name, template in self.set.items():
            value = _filled(template, fields)
            if value is not _MISSING:
                _put(fields, name, value)
        for name in self.drop:
            _drop(fields, name)


def mended(fields: Fields, letter: Mapping[str, str | None], edits: tuple[Edit, ...]) -> bool:
    """Apply the edits that fit; were there any? letter: its reason and source."""
    found = False
    for edit in edits:
        known = {**fields, **letter}
        if all(known.get(name) == wanted for name, wanted in edit.which.items()):
            edit.apply(fields)
            found = True
    return found


def parse(text: str) -> tuple[Edit, ...]:
    """Read an edits file. Raises MappingError, which names the key and what is wanted."""
    try:
        spec = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MappingError(f"the edits are not TOML: {error}") from error
    listed = spec.pop("edit", [])
    if spec or not isinstance(listed, list) or not listed:
        raise MappingError("edits are a list of [[edit]] and nothing else")
    return tuple(_edit(one) for one in listed)


def _edit(spec: Any) -> Edit:
    unknown = sorted(spec.keys() - _KEYS) if isinstance(spec, dict) else [spec]
    if unknown:
        raise MappingError(
            f"{unknown[0]!r} is no key of an edit; known: {', '.join(sorted(_KEYS))}"
        )
    which = {name: spec[name] for name in _WHICH if name in spec}
    given, renamed, dropped = spec.get("set", {}), spec.get("rename", {}), spec.get("drop", [])
    if (
        not isinstance(given, dict)
        or not isinstance(renamed, dict)
        or not isinstance(dropped, list)
    ):
        raise MappingError("set and rename are tables, drop is a list of fields")
    if not given and not renamed and not dropped:
        raise MappingError("an edit needs one of set, rename and drop")
    for name in (*given, *renamed, *renamed.values(), *dropped):
        _check(name)
    for name, value in given.items():
        if not isinstance(value, str | int | float | bool) and not _is_inner(name):
            raise MappingError(f"set {name} = {value!r} must be a text or a number")
    return Edit(which, given, renamed, tuple(dropped))


def _check(name: Any) -> None:
    if name not in FIELDS and not _is_inner(name):
        known = ", ".join(sorted(FIELDS))
        raise MappingError(f"{name!r} is no field; known: {known}, properties.NAME, context.NAME")


def _is_inner(name: Any) -> bool:
    head, _, rest = str(name).partition(".")
    return isinstance(name, str) and head in _OBJECTS and all(rest.split("."))


def _get(fields: Fields, name: str) -> Any:
    value: Any = fields
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            return _MISSING
        value = value[part]
    return value


def _put(fields: Fields, name: str, value: Any) -> None:
    *heads, last = name.split(".")
    inner = fields
    for head in heads:
        if not isinstance(inner.get(head), dict):
            inner[head] = {}
        inner = inner[head]
    inner[last] = value


def _drop(fields: Fields, name: str) -> None:
    *heads, last = name.split(".")
    inner: Any = fields
    for head in heads:
        inner = inner.get(head) if isinstance(inner, dict) else None
    if isinstance(inner, dict):
        inner.pop(last, None)


def _filled(template: Any, fields: Fields) -> Any:
    """The template's value; _MISSING where a field that it names is not there."""
    if not isinstance(template, str):
        return template
    holes = _HOLE.findall(template)
    values = {name: _get(fields, name) for name in holes}
    if any(value is _MISSING or value is None for value in values.values()):
        return _MISSING
    if template == "{" + "".join(holes) + "}":
        return values[holes[0]]
    return _HOLE.sub(lambda hole: str(values[hole[1]]), template)
