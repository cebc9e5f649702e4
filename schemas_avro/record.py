"""Reads the `.avsc` files. Each is the only definition of its record; all else is derived."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any


@dataclass(frozen=True, slots=True)
class Field:
    """One column.

    kind:     string, long, int, bytes, timestamp (int64 us UTC on the wire) or date
    required: the writer always fills it; on the wire every field may be null
    json:     a string that holds a JSON value
    """

    name: str
    kind: str
    doc: str
    required: bool
    json: bool
    unit: str


@dataclass(frozen=True)
class Record:
    """One record type, from one `.avsc`."""

    name: str
    doc: str
    fields: tuple[Field, ...]
    avro: dict[str, Any]

    @property
    def field_names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(field.name for field in self.fields)

    def __getitem__(self, name: str) -> Field:
        return next(field for field in self.fields if field.name == name)


_LOGICAL = {"timestamp-micros": "timestamp", "date": "date"}


def _field(spec: dict[str, Any]) -> Field:
    value_type = spec["type"][1]
    kind = _LOGICAL[value_type["logicalType"]] if isinstance(value_type, dict) else value_type
    return Field(
        name=spec["name"],
        kind=kind,
        doc=spec["doc"],
        required=spec.get("required", False),
        json=spec.get("json", False),
        unit=spec.get("unit", ""),
    )


@cache
def load(name: str) -> Record:
    """The record called `name`. Raises FileNotFoundError for a name without an `.avsc`."""
    text = resources.files("schemas_avro").joinpath(f"{name}.avsc").read_text()
    avro = json.loads(text)
    return Record(name, avro["doc"], tuple(map(_field, avro["fields"])), avro)


@cache
def names() -> tuple[str, ...]:
    """All record names, sorted."""
    files = resources.files("schemas_avro").iterdir()
    return tuple(sorted(f.name.removesuffix(".avsc") for f in files if f.name.endswith(".avsc")))
