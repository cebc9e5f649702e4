"""Conditions of questions -> SQL over `events AS e`. Values only ever travel as parameters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from reports.insights.question import Filter, QuestionError, Step
from reports.warehouse.execute import quoted
from schemas_avro import load

# Bookkeeping and whole JSON texts are nothing to filter or break down by.
_HIDDEN = {"project", "properties", "context", "producer", "seq", "row", "flags", "schema_version"}
COLUMNS = {f.name: f.kind for f in load("event").fields if f.name not in _HIDDEN}
_TYPES = ("track", "identify", "page", "screen", "group", "alias")
_JSON = re.compile(r"(properties|context)\.(.+)")
_NAMES = {"is_set", "is_not_set"}
_COMPARED = {"above": ">", "at_least": ">=", "below": "<", "at_most": "<="}


class Bindings:
    """Values of one query, by the name of their parameter."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def add(self, value: Any) -> str:
        """A parameter that stands for the value in SQL."""
        name = f"p{len(self.values)}"
        self.values[name] = value
        return f"${name}"


def expression(name: str) -> str:
    """The text of a property in SQL. Raises QuestionError for what events do not have."""
    if name in COLUMNS:
        return f"e.{name}::VARCHAR" if COLUMNS[name] != "string" else f"e.{name}"
    found = _JSON.fullmatch(name)
    if found is None or '"' in name or not all(found[2].split(".")):
        raise QuestionError(
            f"property={name!r} is none of an event: name a column, such as country or page_path, "
            "or properties.NAME, or context.NAME"
        )
    path = "$" + "".join(f'."{part}"' for part in found[2].split("."))
    # Of an event whose JSON is broken there is no property; without TRY there would be no answer.
    return f"TRY(json_extract_string(e.{found[1]}, {quoted(path)}))"


def number(name: str) -> str:
    """A property as a number; null where it is none, or none that is finite."""
    read = f"TRY_CAST({expression(name)} AS DOUBLE)"
    return f"(CASE WHEN isfinite({read}) THEN {read} END)"


def condition(one: Filter, bind: Bindings) -> str:
    """Does an event meet it? Never null. Raises QuestionError."""
    text = expression(one.property)
    wanted = len(one.values)
    if one.operator in _NAMES:
        if wanted:
            raise QuestionError(f"{one.property} {one.operator} takes no values")
        return f"({text} IS {'NOT ' if one.operator == 'is_set' else ''}NULL)"
    if not wanted:
        raise QuestionError(f"{one.property} {one.operator} needs a value")
    if one.operator in _COMPARED:
        (value, *more) = one.values
        if more or isinstance(value, str | bool):
            raise QuestionError(f"{one.property} {one.operator} needs one number")
        compared = f"{number(one.property)} {_COMPARED[one.operator]} {bind.add(float(value))}"
        return f"coalesce({compared}, false)"
    if one.operator in {"contains", "not_contains"}:
        parts = [f"contains(lower({text}), lower({bind.add(_text(v))}))" for v in one.values]
    else:
        texts = [_text(v) for v in one.values if isinstance(v, str | bool)]
        numbers = [float(v) for v in one.values if not isinstance(v, str | bool)]
        parts = [f"{text} = ANY({bind.add(texts)})"] if texts else []
        parts += [f"{number(one.property)} = ANY({bind.add(numbers)})"] if numbers else []
    holds = f"coalesce({' OR '.join(parts)}, false)"
    return f"(NOT {holds})" if one.operator in {"is_not", "not_contains"} else holds


def _text(value: str | int | float) -> str:
    """As JSON writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def all_of(filters: Sequence[Filter], bind: Bindings) -> str:
    """Do all hold?"""
    return " AND ".join(condition(one, bind) for one in filters) or "true"


def matches(step: Step, bind: Bindings) -> str:
    """Is an event one of the step's? Never null."""
    holds = all_of(step.where, bind)
    if step.name is None:
        return holds
    named = f"coalesce(e.name = {bind.add(step.name)}, false)"
    if step.name in _TYPES:  # pages and screens need no name
        named = f"({named} OR e.type = {quoted(step.name)})"
    # Properties are read out of their JSON only where the name fits.
    return f"(CASE WHEN {named} THEN {holds} ELSE false END)" if step.where else named


def any_named(steps: Sequence[Step], bind: Bindings) -> str:
    """Holds for every event of the steps, and for as few others as the name alone can tell.

    Unlike `matches` it is plain enough for files to be skipped by it.
    """
    names = {step.name for step in steps}
    if None in names or names & set(_TYPES):
        return "true"
    return f"e.name IN ({', '.join(bind.add(name) for name in sorted(filter(None, names)))})"
