"""An event's schema out of events that were seen: a first draft for a person to correct.

What was always there is required, what was null or missing may be null. Texts that all look like a
date, an instant or a UUID become one. Mixed kinds become a union.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec

from transforms.event_schema import SchemaError

_MOST_NAMES = 100  # an object with more different names is a map: its names are data
_TEXT_KINDS: tuple[tuple[str, Any], ...] = (
    ("uuid", msgspec.json.Decoder(UUID)),
    ("date", msgspec.json.Decoder(date)),
    ("timestamp-micros", msgspec.json.Decoder(datetime)),
)
_AVRO_TEXT: dict[str, Any] = {
    "uuid": {"type": "string", "logicalType": "uuid"},
    "date": {"type": "int", "logicalType": "date"},
    "timestamp-micros": {"type": "long", "logicalType": "timestamp-micros"},
}
_LONG = range(-(1 << 63), 1 << 63)


def infer(samples: Iterable[bytes], kind: str, name: str) -> dict[str, Any]:
    """Avro record for the events (kind, name), from JSON texts of their properties.

    Raises SchemaError where there is no sample, or one that is no JSON object.
    """
    seen = _Seen()
    for number, sample in enumerate(samples, start=1):
        try:
            value = msgspec.json.decode(sample)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise SchemaError(f"sample {number} is no JSON: {error}") from error
        if not isinstance(value, dict):
            raise SchemaError(f"sample {number} is no JSON object; give the properties of an event")
        seen.add(value)
    if not seen.count:
        raise SchemaError(f"no sample of {kind} {name!r}; send some events of it first")
    records = _Names()
    made = _record(seen, records.record(name or kind), records)
    return {
        "type": "record",
        "name": made["name"],
        "event": {"type": kind, "name": name},
        "doc": f"Drafted from {seen.count:,} events.",
        "fields": made["fields"],
    }


@dataclass
class _Seen:
    """All values at one place: how often each kind came, and what was inside."""

    count: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    members: dict[str, _Seen] = field(default_factory=dict)
    items: _Seen | None = None

    def add(self, value: Any) -> None:
        """One more value."""
        self.count += 1
        kind = _kind(value)
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if isinstance(value, dict):
            for name, inner in value.items():
                self.members.setdefault(name, _Seen()).add(inner)
        elif isinstance(value, list):
            self.items = self.items or _Seen()
            for inner in value:
                self.items.add(inner)

    def together(self) -> _Seen:
        """The values of all members as those of one place."""
        whole = _Seen()
        for member in self.members.values():
            whole._merge(member)
        return whole

    def _merge(self, other: _Seen) -> None:
        self.count += other.count
        for kind, count in other.kinds.items():
            self.kinds[kind] = self.kinds.get(kind, 0) + count
        for name, inner in other.members.items():
            self.members.setdefault(name, _Seen())._merge(inner)
        if other.items is not None:
            self.items = self.items or _Seen()
            self.items._merge(other.items)


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "long" if value in _LONG else "double"
        case float():
            return "double"
        case str():
            return _text_kind(value)
        case list():
            return "array"
    return "object"


def _text_kind(text: str) -> str:
    if text[:1].isalnum() and len(text) <= 36:  # a UUID's length, the longest of them
        written = msgspec.json.encode(text)
        for kind, decoder in _TEXT_KINDS:
            try:
                decoder.decode(written)
            except msgspec.ValidationError:
                continue
            return kind
    return "string"


class _Names:
    """Avro names for whatever JSON has; each record needs another."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def record(self, text: str) -> str:
        """A name in capitals, not yet taken: 'Order Completed' -> OrderCompleted."""
        words = re.findall(r"[A-Za-z0-9]+", text)
        return self._free(_legal("".join(word[:1].upper() + word[1:] for word in words)))

    def field(self, text: str) -> str:
        """The text itself where it is a legal name, else the closest one."""
        return self._free(_legal(re.sub(r"[^A-Za-z0-9_]+", "_", text).strip("_") or text))

    def _free(self, name: str) -> str:
        found, number = name, 2
        while found in self._taken:
            found, number = f"{name}_{number}", number + 1
        self._taken.add(found)
        return found


def _legal(name: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_]", "", name)
    return name if name and not name[0].isdigit() else f"_{name}"


def _record(seen: _Seen, name: str, records: _Names) -> dict[str, Any]:
    names = _Names()
    legal = {text: text for text in seen.members if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text)}
    for text in legal:  # first, so that nobody else takes them
        names.field(text)
    objects = seen.kinds.get("object", 0)
    fields = []
    for text, member in seen.members.items():
        given = legal.get(text) or names.field(text)
        made: dict[str, Any] = {"name": given}
        if given != text:
            made["property"] = text
        made["type"] = _type(member, given, records, member.count < objects)
        if isinstance(made["type"], list) and made["type"][0] == "null":
            made["default"] = None
        if member.count < objects:
            made["doc"] = f"In {member.count:,} of {objects:,}."
        fields.append(made)
    return {"type": "record", "name": name, "fields": fields}


def _type(seen: _Seen, name: str, records: _Names, missing: bool) -> Any:
    """missing: the value was not always there."""
    kinds = set(seen.kinds)
    nullable = missing or "null" in kinds
    kinds.discard("null")
    if len(kinds & {*_AVRO_TEXT, "string"}) > 1 or (kinds & {*_AVRO_TEXT} and "long" in kinds):
        kinds = kinds - {*_AVRO_TEXT} | {"string"}
    if "double" in kinds:
        kinds.discard("long")
    branches = [_branch(kind, seen, name, records) for kind in sorted(kinds)] or ["string"]
    if nullable or not kinds:
        return ["null", *branches]
    return branches if len(branches) > 1 else branches[0]


def _branch(kind: str, seen: _Seen, name: str, records: _Names) -> Any:
    if kind == "array":
        return {"type": "array", "items": _type(seen.items or _Seen(), name, records, False)}
    if kind == "object" and len(seen.members) > _MOST_NAMES:
        return {"type": "map", "values": _type(seen.together(), name, records, False)}
    if kind == "object":
        return _record(seen, records.record(name), records)
    return _AVRO_TEXT.get(kind, kind)


def shown(schema: dict[str, Any]) -> str:
    """The schema as a person edits it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
