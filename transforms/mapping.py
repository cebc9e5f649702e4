"""Mapping files: how a row of somebody's CSV or JSON lines becomes a candidate event.

    format = "csv"                          # or jsonl, parquet, access_log
    encoding = "utf-8"
    time_zone = "Europe/London"             # zone of timestamps that have none of their own
    time_format = "%m/%d/%y %H:%M"          # strptime; left out: ISO 8601 or epoch milliseconds

    [event]                                 # a text is a template: {Column} stands for its value
    type = "track"
    name = "Order Line"
    user_id = "{CustomerID}"
    timestamp = "{InvoiceDate}"
    revenue = { multiply = ["{Quantity}", "{UnitPrice}"] }

    [[when]]                                # other values for rows that fit; the last one wins
    column = "InvoiceNo"
    starts_with = "C"
    event = { name = "Order Refunded" }

    [columns]                               # promoted columns of event.avsc
    country = "{Country}"

A template in which every column is empty gives no value; `{a.b}` is the member b of the object a.
`properties` lists the columns that are kept as properties, or names the one object that holds them;
left out: all columns. `context` names the object that is the context.
"""

from __future__ import annotations

import codecs
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from schemas_avro import load
from transforms.candidates import Candidate, time_text
from transforms.failures import Reason, Rejection

_HOLE = re.compile(r"\{([^{}]+)\}")
_EVENT_FIELDS = {
    "type", "name", "event_id", "user_id", "anonymous_id", "session_id", "timestamp", "revenue",
    "currency", "order_id",
}  # fmt: skip
_KEYS = {
    "format", "encoding", "time_zone", "time_format", "event", "when", "columns", "properties",
    "context",
}  # fmt: skip
FORMATS = ("csv", "jsonl", "parquet", "access_log")
# What a line of an access log becomes where no mapping says otherwise.
ACCESS_LOG = """
format = "access_log"
properties = ["method", "status", "bytes", "protocol", "query", "host", "more"]

[event]
type = "page"
user_id = "{user}"
anonymous_id = "{visitor}"
timestamp = "{time}"

[columns]
page_url = "{url}"
page_path = "{path}"
referrer = "{referrer}"
user_agent = "{user_agent}"
ip = "{address}"
"""


class MappingError(ValueError):
    """The mapping file cannot be used; the message names the key and what is wanted."""


Template = str | Mapping[str, Any]


@dataclass(frozen=True)
class Rule:
    """Fields that replace the usual ones in rows whose column starts with a text."""

    column: str
    starts_with: str
    event: Mapping[str, Template]


@dataclass(frozen=True)
class RowMapping:
    """A parsed mapping file."""

    format: str
    encoding: str
    time_zone: str
    time_format: str
    event: Mapping[str, Template]
    when: tuple[Rule, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    properties: tuple[str, ...] | str | None = None
    context: str | None = None

    def candidate(self, row: Mapping[str, Any], original: bytes) -> Candidate | Rejection:
        """The candidate event of one row; a Rejection where a value cannot be read."""
        fields = dict(self.event)
        for rule in self.when:
            if str(row.get(rule.column, "")).startswith(rule.starts_with):
                fields.update(rule.event)
        reason = Reason.BAD_MONEY
        try:
            values = {name: _fill(template, row) for name, template in fields.items()}
            reason = Reason.BAD_TIME
            if values.get("timestamp") is not None:
                values["timestamp"] = self._instant(values["timestamp"])
        except ValueError as error:  # the only templates that can fail are products
            return Rejection(reason, str(error), original, type(error).__name__)
        columns = {n: v for n, t in self.columns.items() if (v := _fill(t, row)) is not None}
        try:
            properties, context = _json(self._kept(row)), _json(_object(row, self.context))
            _json([*map(str, values.values()), *columns.values()])
        except ValueError as error:  # half an emoji, or a number that JSON does not have
            text = f"a value cannot be written as JSON in UTF-8: {error}"
            return Rejection(Reason.UNREADABLE, text, original, type(error).__name__)
        return Candidate(**values, properties=properties, context=context, columns=columns)

    def _kept(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        if isinstance(self.properties, str):
            return _object(row, self.properties)
        if self.properties is None:
            return row
        return {name: row[name] for name in self.properties if name in row}

    def _instant(self, text: str) -> str:
        """The time as ISO 8601 with an offset, in the file's zone where it has none."""
        if not self.time_format and text.removeprefix("-").isdecimal():
            return str(time_text(int(text)))
        if not self.time_format:
            parsed = datetime.fromisoformat(text.replace(" UTC", "+00:00"))
        else:
            parsed = datetime.strptime(text, self.time_format)
        if parsed.tzinfo is None:
            parsed = parsed.replace(tzinfo=ZoneInfo(self.time_zone))
        return parsed.isoformat()


def parse(text: str) -> RowMapping:
    """Read a mapping file's text. Raises MappingError."""
    try:
        spec = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MappingError(f"the mapping is not TOML: {error}") from error
    _known(spec, _KEYS, "key")
    event = spec.get("event", {})
    rules = [_rule(rule) for rule in spec.get("when", [])]
    for fields in (event, *(rule.event for rule in rules)):
        _known(fields, _EVENT_FIELDS, "event field")
        _templates(fields, products=True)
    _known(spec.get("columns", {}), set(load("event").field_names), "column of event.avsc")
    _templates(spec.get("columns", {}), products=False)
    if "type" not in event:
        raise MappingError('[event] needs a type, such as type = "track"')
    if spec.get("format", "csv") not in FORMATS:
        raise MappingError(f"format = {spec['format']!r} must be one of {', '.join(FORMATS)}")
    encoding = spec.get("encoding", "utf-8")
    try:
        codecs.lookup(encoding)
    except (LookupError, TypeError):
        raise MappingError(f"encoding = {encoding!r} is unknown; use one such as utf-8") from None
    if spec.get("time_zone", "UTC") not in available_timezones():
        raise MappingError(f"time_zone = {spec['time_zone']!r} is unknown; use an IANA name")
    return RowMapping(
        format=spec.get("format", "csv"),
        encoding=encoding,
        time_zone=spec.get("time_zone", "UTC"),
        time_format=spec.get("time_format", ""),
        event=event,
        when=tuple(rules),
        columns=spec.get("columns", {}),
        properties=_names(spec["properties"]) if "properties" in spec else None,
        context=spec.get("context"),
    )


def _names(given: Any) -> tuple[str, ...] | str:
    if isinstance(given, str):
        return given
    if isinstance(given, list) and all(isinstance(name, str) for name in given):
        return tuple(given)
    raise MappingError(f"properties = {given!r} must be a list of columns, or one column's name")


def _rule(spec: Mapping[str, Any]) -> Rule:
    missing = {"column", "starts_with", "event"} - spec.keys()
    if missing:
        raise MappingError(f"[[when]] lacks {', '.join(sorted(missing))}")
    return Rule(spec["column"], spec["starts_with"], spec["event"])


def _known(spec: Any, allowed: set[str], what: str) -> None:
    if not isinstance(spec, dict):
        raise MappingError(f"{spec!r} must be a table of {what}s")
    for name in spec:
        if name not in allowed:
            raise MappingError(f"{name!r} is no {what}; known: {', '.join(sorted(allowed))}")


def _templates(fields: Mapping[str, Any], products: bool) -> None:
    for name, template in fields.items():
        factors = template.get("multiply") if isinstance(template, dict) else None
        texts = factors if products and isinstance(factors, list) else [template]
        if not all(isinstance(text, str) for text in texts):
            raise MappingError(f"{name} = {template!r} must be a text, such as '{{Column}}'")


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def _fill(template: Template, row: Mapping[str, Any]) -> Any:
    """Value of a template; None where every column in it is empty."""
    if not isinstance(template, str):
        return _product([_fill(factor, row) for factor in template["multiply"]])
    holes = _HOLE.findall(template)
    if not holes:
        return template or None
    values = {name: _text(row, name) for name in holes}
    if not any(values.values()):
        return None
    return _HOLE.sub(lambda hole: values[hole[1]], template)


def _text(row: Mapping[str, Any], name: str) -> str:
    value = _member(row, name)
    return "" if value is None else str(value).strip()


def _member(row: Mapping[str, Any], name: str) -> Any:
    """The column, or the member of objects in objects that a name with dots is the path of."""
    if name in row or "." not in name:
        return row.get(name)
    head, _, rest = name.partition(".")
    inner = row.get(head)
    return _member(inner, rest) if isinstance(inner, dict) else None


def _object(row: Mapping[str, Any], name: str | None) -> dict[str, Any]:
    found = None if name is None else _member(row, name)
    return found if isinstance(found, dict) else {}


def _product(factors: list[Any]) -> Decimal | None:
    if None in factors:
        return None
    result = Decimal(1)
    for factor in factors:
        try:
            result *= Decimal(factor)
        except InvalidOperation:
            raise ValueError(f"{factor!r} is no number") from None
    return result
