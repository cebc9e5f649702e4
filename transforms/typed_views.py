"""Registered schemas -> SQL of a view per event: properties as typed columns, whatever version.

The SQL is for DuckDB or BigQuery and reads the table of events. A property has the type of the
newest version that names it; what an event lacks, or has in another type, is NULL. Properties
that a newer version no longer names stay columns: older events have them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar, Literal

from avro.schema import ArraySchema, MapSchema, RecordSchema, Schema, UnionSchema

from schemas_avro import load
from transforms.event_schema import EventSchema, property_of

Dialect = Literal["duckdb", "bigquery"]
_EVENT_COLUMNS = load("event").field_names
_WHOLE = "^[-+]?[0-9]{1,18}$"
_OFFSET = "([zZ]|[-+][0-9]{2}:?[0-9]{2})$"


def view_name(kind: str, name: str) -> str:
    """Name of the view of an event: `track_order_completed`; of all others of a type `every_page`.

    Different events can have the same one: the caller numbers them.
    """
    words = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return f"{kind}_{words or 'event'}" if name else f"every_{kind}"


def typed_view(
    versions: Sequence[EventSchema],
    kind: str,
    name: str,
    *,
    dialect: Dialect,
    source: str = "events",
    others: Sequence[str] = (),
) -> str:
    """A SELECT of the events with that type and name: their columns, and one for each property.

    versions: of one schema, oldest first
    name:     empty: all of the type but `others`, which have schemas of their own
    source:   table or view to read
    """
    properties: dict[str, tuple[str, Schema]] = {}
    for schema in reversed(versions):
        for field in schema.avro.fields:
            properties.setdefault(property_of(field), (field.name, field.type))
    write = _DIALECTS[dialect]
    taken = {column.lower() for column in _EVENT_COLUMNS}
    columns = list(map(write.quoted, _EVENT_COLUMNS))
    for key, (field_name, type_) in sorted(properties.items(), key=lambda item: item[1][0]):
        column = field_name if field_name.lower() not in taken else f"property_{field_name}"
        while column.lower() in taken:
            column += "_"
        taken.add(column.lower())
        columns.append(f"{write.property(key, type_)} AS {write.quoted(column)}")
    listed = ",\n  ".join(columns)
    where = f"{write.quoted('type')} = {write.text(kind)}"
    if name:
        where += f" AND {write.quoted('name')} = {write.text(name)}"
    elif others:
        names = ", ".join(map(write.text, sorted(others)))
        where += f" AND COALESCE({write.quoted('name')}, '') NOT IN ({names})"
    return f"SELECT\n  {listed}\nFROM {source}\nWHERE {where}"


class _DuckDB:
    """How DuckDB writes it; what another database writes otherwise overrides it."""

    types: ClassVar = {"double": "DOUBLE", "long": "BIGINT", "int": "INTEGER", "date": "DATE",
             "timestamp": "TIMESTAMPTZ", "text": "VARCHAR"}  # fmt: skip
    cast = "TRY_CAST"
    matches = "regexp_matches"

    def quoted(self, name: str) -> str:
        return f'"{name}"'

    def text(self, value: str) -> str:
        return "'" + value.replace("'", "''") + "'"

    def value(self, key: str) -> str:
        return f"json_extract_string(properties, {self.text(_pointer(key))})"

    def json(self, key: str) -> str:
        return f"json_extract(properties, {self.text(_pointer(key))})"

    def days(self, number: str) -> str:
        return f"DATE '1970-01-01' + CAST({number} AS INTEGER)"

    def micros(self, number: str) -> str:
        return f"make_timestamptz({number})"

    def decimal(self, precision: int, scale: int) -> str:
        return f"DECIMAL({precision}, {scale})" if precision <= 38 else self.types["text"]

    def property(self, key: str, schema: Schema) -> str:
        """The value of a property, typed; what is no single value is JSON."""
        only = _present(schema)
        if only is None or isinstance(only, ArraySchema | MapSchema | RecordSchema):
            return self.json(key)
        value = self.value(key)
        logical = only.props.get("logicalType")
        made = self._logical(value, str(logical), only) if logical else None
        if made is not None:
            return made
        match only.type:
            case "boolean":
                return f"CASE {value} WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END"
            case "int" | "long":
                return self._whole(value, self.types[str(only.type)])
            case "float" | "double":
                return f"{self.cast}({value} AS {self.types['double']})"
        return value

    def _logical(self, value: str, logical: str, schema: Schema) -> str | None:
        number = self._whole(value, self.types["long"])
        match logical:
            case "decimal":
                precision, scale = (
                    int(str(schema.props.get(n, 0))) for n in ("precision", "scale")
                )
                return f"{self.cast}({value} AS {self.decimal(precision, scale)})"
            case "date":
                text = f"{self.cast}({value} AS {self.types['date']})"
                return self._number_or(value, self.days(number), text)
            case "timestamp-millis" | "timestamp-micros":
                micros = f"{number} * 1000" if logical == "timestamp-millis" else number
                has_offset = f"{self.matches}({value}, {self.text(_OFFSET)})"
                whole = f"CONCAT({value}, CASE WHEN {has_offset} THEN '' ELSE 'Z' END)"
                text = f"{self.cast}({whole} AS {self.types['timestamp']})"
                return self._number_or(value, self.micros(micros), text)
        return None

    def _whole(self, value: str, type_: str) -> str:
        # A cast alone would round 1.5, and one of them reads 0x10.
        match = f"{self.matches}({value}, {self.text(_WHOLE)})"
        return f"CASE WHEN {match} THEN {self.cast}({value} AS {type_}) END"

    def _number_or(self, value: str, number: str, text: str) -> str:
        match = f"{self.matches}({value}, {self.text(_WHOLE)})"
        return f"CASE WHEN {match} THEN {number} ELSE {text} END"


class _BigQuery(_DuckDB):
    types: ClassVar = {"double": "FLOAT64", "long": "INT64", "int": "INT64", "date": "DATE",
             "timestamp": "TIMESTAMP", "text": "STRING"}  # fmt: skip
    cast = "SAFE_CAST"
    matches = "REGEXP_CONTAINS"

    def quoted(self, name: str) -> str:
        return f"`{name}`"

    def text(self, value: str) -> str:
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped.translate(_CONTROLS)}'"

    def value(self, key: str) -> str:
        return f"JSON_VALUE(properties, {self.text(_path(key))})"

    def json(self, key: str) -> str:
        return f"JSON_QUERY(properties, {self.text(_path(key))})"

    def days(self, number: str) -> str:
        return f"DATE_FROM_UNIX_DATE({number})"

    def micros(self, number: str) -> str:
        return f"TIMESTAMP_MICROS({number})"

    def decimal(self, precision: int, scale: int) -> str:
        if scale <= 9 and precision - scale <= 29:
            return "NUMERIC"
        return "BIGNUMERIC" if scale <= 38 and precision - scale <= 38 else self.types["text"]


_DIALECTS: dict[Dialect, _DuckDB] = {"duckdb": _DuckDB(), "bigquery": _BigQuery()}
_CONTROLS = {n: f"\\x{n:02x}" for n in range(32)}


def _pointer(key: str) -> str:
    return "/" + key.replace("~", "~0").replace("/", "~1")


def _path(key: str) -> str:
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'$."{escaped}"'


def _present(schema: Schema) -> Schema | None:
    """The type of a value that is not null; None where there are several."""
    if not isinstance(schema, UnionSchema):
        return schema
    rest = [branch for branch in schema.schemas if branch.type != "null"]
    return rest[0] if len(rest) == 1 else None
