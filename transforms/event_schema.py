"""Schemas of events: an Avro record says what an event's properties are.

A record is read by Avro's own library and turned into a msgspec type once; after that a check is
one decoding in C. What the record does not name is passed over: unknown properties are kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from itertools import combinations
from typing import Annotated, Any, Literal, NamedTuple, Union
from uuid import UUID

import msgspec
from avro.errors import AvroException
from avro.schema import (
    ArraySchema,
    EnumSchema,
    Field,
    MapSchema,
    NamedSchema,
    RecordSchema,
    Schema,
    UnionSchema,
    parse,
)
from msgspec import Meta

from transforms.judge import TYPES

MAX_TEXT = 256 << 10  # characters of a schema
MAX_EVENT_NAME = 500  # characters
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_INT = Annotated[int, Meta(ge=-(1 << 31), le=(1 << 31) - 1)]
_LONG = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
_SHOWN_CHARACTERS = 60

Avro = Mapping[str, Any]


class SchemaError(ValueError):
    """The schema cannot be used; the message names the field, what is wrong and the remedy."""


class _Json(NamedTuple):
    """A type as msgspec knows it, and the kinds of JSON value that it may have."""

    type: Any
    kinds: frozenset[str]


# By logical or else plain Avro type. Times may be ISO 8601 text or, as in Avro, a whole number.
_LEAVES: dict[str, _Json] = {
    name: _Json(kind, frozenset(kinds.split()))
    for name, kind, kinds in (
        ("null", None, "null"),
        ("boolean", bool, "boolean"),
        ("int", _INT, "whole"),
        ("long", _LONG, "whole"),
        ("float", float, "number"),
        ("double", float, "number"),
        ("string", str, "text"),
        ("uuid", UUID, "text"),
        ("date", date | _INT, "text whole"),
        ("timestamp-millis", datetime | _LONG, "text whole"),
        ("timestamp-micros", datetime | _LONG, "text whole"),
    )
}
_WHOLE = {"int": _INT, "long": _LONG}


@dataclass(frozen=True)
class EventSchema:
    """One version of an event's schema.

    text:  as registered, JSON
    avro:  as Avro's library reads it
    event: (type, name) that the schema says it is for; None where it does not say
    """

    text: str
    avro: RecordSchema
    event: tuple[str, str] | None
    _decode: Callable[[bytes], Any]

    def check(self, properties: bytes) -> str | None:
        """None where the JSON object `properties` fits; else the field and what was found."""
        try:
            self._decode(properties)
        except msgspec.ValidationError as error:
            return _explained(str(error), properties)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return f"properties: {error}"
        return None


class Version(NamedTuple):
    """One of the versions of a schema."""

    number: int
    schema: EventSchema


def judged(
    versions: Iterable[Version], name: str, properties: bytes
) -> tuple[int | None, str | None]:
    """(newest version that accepts it, None) or (None, what the newest one says against it).

    versions: newest first
    """
    first = None
    for number, schema in versions:
        why = schema.check(properties)
        if why is None:
            return number, None
        first = first or f"{name!r} does not fit version {number} of its schema: {why}"
    return None, first


@lru_cache(maxsize=4096)
def read(text: str) -> EventSchema:
    """The schema in `text`, an Avro record in JSON. Raises SchemaError."""
    if len(text) > MAX_TEXT:
        raise SchemaError(f"the schema has {len(text):,} characters; at most {MAX_TEXT:,}")
    try:
        avro = parse(text)
        if not isinstance(avro, RecordSchema):
            raise SchemaError('the schema is no record; begin with {"type": "record", …}')
        made = _struct(avro, "", frozenset())
        decoder = msgspec.json.Decoder(made.type, dec_hook=_custom)
    except AvroException as error:
        raise SchemaError(f"no Avro schema: {_short(str(error), 300)}") from error
    except RecursionError as error:
        raise SchemaError("the schema is nested too deeply") from error
    return EventSchema(text, avro, _event(avro), decoder.decode)


def _event(avro: RecordSchema) -> tuple[str, str] | None:
    """The attribute `event` of the record, such as {"type": "track", "name": "Signed Up"}."""
    given = avro.props.get("event")
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise SchemaError(f'event: {given!r} is no object; write {{"type": "track", "name": "…"}}')
    return subject(given.get("type", "track"), given.get("name", ""))


def subject(kind: object, name: object) -> tuple[str, str]:
    """(type, name) of the events that a schema is for, checked. Raises SchemaError.

    An empty name stands for every event of the type that has no schema of its own.
    """
    if kind not in TYPES:
        raise SchemaError(f"type {kind!r} is none of {', '.join(TYPES)}")
    if not isinstance(name, str) or (kind == "track" and not name):
        raise SchemaError(f"name {name!r}: a schema of track needs the name of its event")
    if len(name) > MAX_EVENT_NAME:
        raise SchemaError(f"name {name[:20]!r}… has more than {MAX_EVENT_NAME} characters")
    return str(kind), name


# -- From Avro's types to msgspec's.


def _type(schema: Schema, at: str, within: frozenset[str]) -> _Json:
    """within: names of the records that this type is inside of."""
    match schema:
        case RecordSchema():
            return _struct(schema, at, within)
        case UnionSchema():
            return _union(schema, at, within)
        case ArraySchema():
            items = _type(schema.items, f"{at}[]", within)
            return _Json(list[items.type], frozenset({"array"}))  # type: ignore[name-defined]
        case MapSchema():
            values = _type(schema.values, f"{at}{{}}", within)
            return _Json(dict[str, values.type], frozenset({"object"}))  # type: ignore[name-defined]
        case EnumSchema():
            if not isinstance(schema.symbols, list | tuple) or not schema.symbols:
                raise SchemaError(f"{at}: an enum needs a list of symbols")
            return _Json(Literal[tuple(schema.symbols)], frozenset({"text"}))
    return _leaf(schema, at)


def _leaf(schema: Schema, at: str) -> _Json:
    logical = schema.props.get("logicalType")
    if logical == "decimal" and schema.type == "bytes":
        return _decimal(int(str(schema.props["precision"])), int(str(schema.props.get("scale", 0))))
    if logical in _LEAVES:
        return _LEAVES[str(logical)]
    if schema.type not in _LEAVES:
        raise SchemaError(
            f"{at}: JSON has no {schema.type}; use string, or bytes with logicalType decimal"
        )
    return _LEAVES[schema.type]


def _union(union: UnionSchema, at: str, within: frozenset[str]) -> _Json:
    branches = [(named(branch), _type(branch, at, within)) for branch in union.schemas]
    for (name, one), (other_name, other) in combinations(branches, 2):
        if one.kinds & other.kinds:
            raise SchemaError(
                f"{at}: {name} and {other_name} look alike in JSON; leave one out of the union"
            )
        if "exact" in one.kinds | other.kinds and "null" not in one.kinds | other.kinds:
            raise SchemaError(f"{at}: a decimal can be in a union with null only")
    return _Json(
        Union[tuple(made.type for _, made in branches)],  # noqa: UP007
        frozenset[str]().union(*(made.kinds for _, made in branches)),
    )


def _struct(record: RecordSchema, at: str, within: frozenset[str]) -> _Json:
    if record.fullname in within:
        raise SchemaError(f"{at}: record {record.name} is inside of itself; use a map or a string")
    members = []
    rename: dict[str, str] = {}
    for number, field in enumerate(record.fields):
        place = joined(at, field.name)
        if not _NAME.fullmatch(field.name):
            raise SchemaError(
                f"{place}: Avro names have letters, digits and '_'; give it another name and the "
                f'attribute "property": {json.dumps(field.name)}'
            )
        if property_of(field) in rename.values():
            raise SchemaError(f"{place}: property {property_of(field)!r} is there twice")
        made = _type(field.type, place, within | {record.fullname})
        _check_default(field, place)
        # Members are called f0, f1, …: a property may have any name, even a word of Python's.
        rename[f"f{number}"] = property_of(field)
        optional = field.has_default or "null" in made.kinds
        members.append((f"f{number}", made.type, *([None] if optional else [])))
    kind = msgspec.defstruct(record.name, members, rename=rename, kw_only=True, gc=False)
    return _Json(kind, frozenset({"object"}))


def _check_default(field: Field, at: str) -> None:
    """As Avro has it: the default of a union is a value of its first branch."""
    if not field.has_default:
        return
    first = field.type.schemas[0] if isinstance(field.type, UnionSchema) else field.type
    made = _type(first, at, frozenset())
    if "exact" in made.kinds:
        raise SchemaError(f"{at}: a decimal has no default but null: put null first in a union")
    wanted = _WHOLE.get(first.type, made.type)
    try:
        msgspec.convert(field.default, wanted)
    except msgspec.ValidationError as error:
        hint = ", the first of the union" if first is not field.type else ""
        raise SchemaError(
            f"{at}: default {json.dumps(field.default)} is no {named(first)}{hint}: {error}"
        ) from error


def joined(at: str, name: str) -> str:
    """Path of a field within another."""
    return f"{at}.{name}" if at else name


def property_of(field: Field) -> str:
    """Name of the field in JSON: its attribute `property` if it has one."""
    return str(field.props.get("property", field.name))


def named(schema: Schema) -> str:
    """The type in words that an error can say."""
    logical = schema.props.get("logicalType") if not isinstance(schema, UnionSchema) else None
    if logical == "decimal":
        return f"decimal({schema.props.get('precision')},{schema.props.get('scale', 0)})"
    if isinstance(schema, UnionSchema):
        return " or ".join(named(branch) for branch in schema.schemas)
    if isinstance(schema, ArraySchema):
        return f"array of {named(schema.items)}"
    if isinstance(schema, MapSchema):
        return f"map of {named(schema.values)}"
    if isinstance(schema, EnumSchema):
        return f"enum {'|'.join(schema.symbols)}"
    return (
        f"record {schema.name}" if isinstance(schema, NamedSchema) else str(logical or schema.type)
    )


# -- Decimals: msgspec bounds no digits, so they have a type of their own.


class _Decimal:
    """Of its subclasses each stands for one precision and scale."""

    precision: int
    scale: int


def _decimal(precision: int, scale: int) -> _Json:
    members = {"precision": precision, "scale": scale}
    return _Json(type("_DecimalOf", (_Decimal,), members), frozenset({"exact"}))


def _custom(wanted: type, value: Any) -> Any:
    """msgspec's hook for types it does not know. Raises ValueError, which becomes its error."""
    assert issubclass(wanted, _Decimal)
    with suppress(InvalidOperation):
        if isinstance(value, int | float | str) and not isinstance(value, bool):
            found = Decimal(str(value))
            if found.is_finite() and _fits(found, wanted.precision, wanted.scale):
                return wanted()
    raise ValueError(f"Expected `decimal({wanted.precision},{wanted.scale})`, as number or text")


def _fits(value: Decimal, precision: int, scale: int) -> bool:
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    written = "".join(map(str, digits))
    kept = written.rstrip("0")
    exponent += len(written) - len(kept)
    return not kept or (-exponent <= scale and len(kept) + exponent <= precision - scale)


# -- What was wrong.

_MESSAGE = re.compile(r"(?P<what>.*?)(?: - at `(?P<path>\$.*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
_STEP = re.compile(r"\[(\d+)\]|\.?([^.\[\]]+)")


def _explained(message: str, properties: bytes) -> str:
    """msgspec's message as 'field: what is wrong; found …'."""
    parts = _MESSAGE.fullmatch(message)
    assert parts
    what, path = parts["what"], (parts["path"] or "$").removeprefix("$").removeprefix(".")
    if missing := _MISSING.fullmatch(what):
        return f"{joined(path, missing[1])}: missing"
    text = what.replace("`", "")
    text = f"{path or 'properties'}: {text[:1].lower()}{text[1:]}"
    with suppress(KeyError, IndexError, TypeError, RecursionError, msgspec.DecodeError):
        value = msgspec.json.decode(properties)
        for index, name in _STEP.findall(path):
            value = value[int(index)] if index else value[name]
        if path:
            text += f"; found {_short(msgspec.json.encode(value).decode(), _SHOWN_CHARACTERS)}"
    return text


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
