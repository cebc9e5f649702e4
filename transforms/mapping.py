"""Mapping files: how a row of somebody's CSV or JSON lines becomes a candidate event.

    format = "csv"                          # or "jsonl"
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

A template in which every column is empty gives no value. `properties` lists the columns that are
kept as properties; left out: all of them.
"""

from __future__ import annotations

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
from transforms.candidates import Candidate
from transforms.failures import Reason, Rejection

_HOLE = re.compile(r"\{([^{}]+)\}")
_EVENT_FIELDS = {
    "type", "name", "event_id", "user_id", "anonymous_id", "session_id", "timestamp", "revenue",
    "currency", "order_id",
}  # fmt: skip
_KEYS = {
    "format", "encoding", "time_zone", "time_format", "event", "when", "columns", "properties",
}  # fmt: skip


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
    properties: tuple[str, ...] | None = None

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
        kept = row if self.properties is None else {c: row.get(c) for c in self.properties}
        return Candidate(
            **values,
            properties=json.dumps(kept, ensure_ascii=False).encode(),
            columns={
                name: value
                for name, template in self.columns.items()
                if (value := _fill(template, row)) is not None
            },
        )

    def _instant(self, text: str) -> str:
        """The time as ISO 8601 with an offset, in the file's zone where it has none."""
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
    _known(spec.get("columns", {}), set(load("event").field_names), "column of event.avsc")
    if "type" not in event:
        raise MappingError('[event] needs a type, such as type = "track"')
    if spec.get("format", "csv") not in ("csv", "jsonl"):
        raise MappingError(f"format = {spec['format']!r} must be csv or jsonl")
    if spec.get("time_zone", "UTC") not in available_timezones():
        raise MappingError(f"time_zone = {spec['time_zone']!r} is unknown; use an IANA name")
    return RowMapping(
        format=spec.get("format", "csv"),
        encoding=spec.get("encoding", "utf-8"),
        time_zone=spec.get("time_zone", "UTC"),
        time_format=spec.get("time_format", ""),
        event=event,
        when=tuple(rules),
        columns=spec.get("columns", {}),
        properties=tuple(spec["properties"]) if "properties" in spec else None,
    )


def _rule(spec: Mapping[str, Any]) -> Rule:
    missing = {"column", "starts_with", "event"} - spec.keys()
    if missing:
        raise MappingError(f"[[when]] lacks {', '.join(sorted(missing))}")
    return Rule(spec["column"], spec["starts_with"], spec["event"])


def _known(spec: Mapping[str, Any], allowed: set[str], what: str) -> None:
    for name in spec:
        if name not in allowed:
            raise MappingError(f"{name!r} is no {what}; known: {', '.join(sorted(allowed))}")


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
    value = row.get(name)
    return "" if value is None else str(value).strip()


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
