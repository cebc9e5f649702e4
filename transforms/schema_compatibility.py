"""May a new version of an event's schema follow an older one? Avro's reader/writer rules decide.

Avro's own checker judges each pair of types. It is asked field by field, because its findings for
a whole record do not say which field they are about.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from avro.compatibility import (
    ReaderWriterCompatibilityChecker,
    SchemaCompatibilityType,
    lookup_writer_field,
    schema_name_equals,
)
from avro.schema import ArraySchema, MapSchema, RecordSchema, Schema, UnionSchema

from transforms.event_schema import EventSchema, joined, named, property_of

Compatibility = Literal["BACKWARD", "FORWARD", "FULL", "NONE"]
COMPATIBILITIES: tuple[Compatibility, ...] = ("BACKWARD", "FORWARD", "FULL", "NONE")


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a version is refused. field: path from the properties, such as `items[].price`."""

    field: str
    reason: str

    def __str__(self) -> str:
        return f"field {self.field}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Change:
    """One field that differs between two versions; None where it is not there."""

    field: str
    change: Literal["added", "removed", "changed"]
    before: str | None
    after: str | None


def findings(new: EventSchema, old: EventSchema, rule: Compatibility) -> list[Finding]:
    """What speaks against `new` after `old`; nothing where the rule lets it pass.

    BACKWARD: who knows only the new version can read events of the old one
    FORWARD:  who knows only the old version can read events of the new one
    FULL:     both
    NONE:     everything passes
    """
    found: list[Finding] = []
    if rule in ("BACKWARD", "FULL"):
        found += _unreadable(new.avro, old.avro, "", "the new version", "the old one's")
    if rule in ("FORWARD", "FULL"):
        found += _unreadable(old.avro, new.avro, "", "the old version", "the new one's")
    return list(dict.fromkeys(found))


def _unreadable(reader: Schema, writer: Schema, at: str, who: str, whose: str) -> Iterator[Finding]:
    reader_type, writer_type = _present(reader), _present(writer)
    match reader_type, writer_type:
        case (RecordSchema(), RecordSchema()) if _null_is_read(reader, writer):
            yield from _unreadable_fields(reader_type, writer_type, at, who, whose)
        case (ArraySchema(), ArraySchema()) if _null_is_read(reader, writer):
            yield from _unreadable(reader_type.items, writer_type.items, f"{at}[]", who, whose)
        case (MapSchema(), MapSchema()) if _null_is_read(reader, writer):
            yield from _unreadable(reader_type.values, writer_type.values, f"{at}{{}}", who, whose)
        case _:
            if not (_avro_reads(reader, writer) and _means_the_same(reader, writer)):
                yield Finding(
                    at, f"{who} wants {named(reader)} and cannot read {whose} {named(writer)}"
                )


def _unreadable_fields(
    reader: RecordSchema, writer: RecordSchema, at: str, who: str, whose: str
) -> Iterator[Finding]:
    if not schema_name_equals(reader, writer):
        yield Finding(
            at or "(the record)",
            f"{who} calls the record {reader.name} and the other {writer.name}; keep the name, "
            "or list the other in its aliases",
        )
    for field in reader.fields:
        written = lookup_writer_field(writer, field)
        place = joined(at, field.name)
        if written is not None:
            yield from _unreadable(field.type, written.type, place, who, whose)
            if property_of(field) != property_of(written):
                yield Finding(
                    place,
                    f"it is property {property_of(field)!r} in one version and "
                    f"{property_of(written)!r} in the other; add a field instead",
                )
        elif not field.has_default:
            yield Finding(
                place,
                f"{who} needs it and {whose} events lack it; give it a default, "
                'such as "type": ["null", …], "default": null',
            )


def _avro_reads(reader: Schema, writer: Schema) -> bool:
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
    result = checker.get_compatibility(reader, writer)
    return result.compatibility is SchemaCompatibilityType.compatible


def _present(schema: Schema) -> Schema:
    """The type of a value that is not null, where there is one such type only."""
    if isinstance(schema, UnionSchema):
        rest = [branch for branch in schema.schemas if branch.type != "null"]
        if len(rest) == 1:
            only: Schema = rest[0]
            return only
    return schema


def _null_is_read(reader: Schema, writer: Schema) -> bool:
    return _nullable(reader) or not _nullable(writer)


def _nullable(schema: Schema) -> bool:
    return any(branch.type == "null" for branch in _branches(schema))


def _branches(schema: Schema) -> list[Schema]:
    return list(schema.schemas) if isinstance(schema, UnionSchema) else [schema]


def _means_the_same(reader: Schema, writer: Schema) -> bool:
    """Avro's checker takes milliseconds for microseconds, as both are long. We do not."""
    wanted, written = _logical(reader), _logical(writer)
    return wanted == written or wanted == written - {"uuid"}  # a uuid is a text, too


def _logical(schema: Schema) -> set[str]:
    return {named(b) for b in _branches(schema) if b.props.get("logicalType")}


# -- Differences.


def changes(old: EventSchema, new: EventSchema) -> list[Change]:
    """Fields that differ, by path."""
    before, after = dict(_fields(old.avro, "")), dict(_fields(new.avro, ""))
    found = []
    for field in sorted({**before, **after}):
        was, now = before.get(field), after.get(field)
        if was != now:
            kind: Literal["added", "removed", "changed"] = (
                "added" if was is None else "removed" if now is None else "changed"
            )
            found.append(Change(field, kind, was, now))
    return found


def _fields(schema: Schema, at: str) -> Iterator[tuple[str, str]]:
    """(path, type in words) of every field, nested ones too."""
    match _present(schema):
        case RecordSchema() as record:
            for field in record.fields:
                place = joined(at, field.name)
                text = named(field.type)
                if field.has_default:
                    text += f", default {json.dumps(field.default)}"
                if property_of(field) != field.name:
                    text += f", property {property_of(field)!r}"
                yield place, text
                yield from _fields(field.type, place)
        case ArraySchema() as array:
            yield from _fields(array.items, f"{at}[]")
        case MapSchema() as mapping:
            yield from _fields(mapping.values, f"{at}{{}}")
