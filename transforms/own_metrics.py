"""Metrics that people define themselves: read, checked, and turned into entries like the built-in.

    {"name": "trials", "statistic": "count", "event": "Trial Started",
     "where": [{"field": "properties.plan", "is": "=", "value": "pro"}],
     "dimensions": ["properties.plan", "country"]}

A field is a column of event.avsc or `properties.` and a path. Values are compared as text, or as
numbers by <, <=, > and >=. A sum is exact: it is kept as a whole number of 10^-decimals.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import msgspec
import polars as pl

from schemas_avro import derive, load
from transforms.judge import TYPES
from transforms.metrics import PERSON, STATISTICS, Kind, StatisticSpec

MOST_DIMENSIONS = 3
_MOST_DECIMALS = 6
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_PROPERTY = re.compile(r"properties(\.[^.\x00-\x1f]{1,100}){1,5}")
_COLUMNS = frozenset(derive.wire(load("event"))) - {"properties", "context"}
PEOPLE = "person"  # as a value: user id or device
_LARGEST = 10**16  # so that sums fit 64 bits, as with money
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])

Comparison = Literal["=", "!=", "in", "<", "<=", ">", ">=", "exists", "missing"]


class MetricError(ValueError):
    """The definition cannot be used; the message names what, and what is wanted."""


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"test": "is"}):
    """What must hold of an event. value: text or number; a list of them for `in`"""

    field: str
    test: Comparison
    value: str | float | list[str | float] | None = None


class MetricDefinition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As a person writes it.

    value:    field that is summed or whose values are counted; `person` for people
    decimals: of a sum: how many are kept
    """

    name: str
    statistic: Kind
    title: str = ""
    unit: str = ""
    description: str = ""
    owner: str = ""
    type: str = "track"
    event: str = ""
    value: str | None = None
    decimals: int = 0
    where: tuple[Condition, ...] = ()
    dimensions: tuple[str, ...] = ()
    minimum_sample: int = 0


def read_definition(text: str | bytes) -> MetricDefinition:
    """From JSON. Raises MetricError."""
    try:
        made = msgspec.json.decode(text, type=MetricDefinition)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MetricError(f"no definition of a metric: {error}") from error
    check(made)
    return made


def check(made: MetricDefinition) -> None:
    """Raises MetricError for what cannot be computed."""
    if not _NAME.fullmatch(made.name):
        raise MetricError(f"name {made.name!r}: small letters, digits and _, a letter first")
    if made.name in STATISTICS:
        raise MetricError(f"name {made.name!r} is that of a built-in statistic; choose another")
    if made.type not in TYPES:
        raise MetricError(f"type {made.type!r} is none of {', '.join(TYPES)}")
    if (made.value is None) != (made.statistic == "count"):
        raise MetricError(f"a {made.statistic} {'takes no' if made.value else 'needs a'} `value`")
    if not 0 <= made.decimals <= _MOST_DECIMALS:
        raise MetricError(f"decimals {made.decimals}: 0 to {_MOST_DECIMALS}")
    if len(made.dimensions) > MOST_DIMENSIONS:
        raise MetricError(f"{len(made.dimensions)} dimensions; at most {MOST_DIMENSIONS}")
    for name in _fields(made):
        if name not in _COLUMNS and not _PROPERTY.fullmatch(name):
            raise MetricError(f"field {name!r} is no column of events and no properties.PATH")
    for one in made.where:
        wanted = {"in": list, "exists": type(None), "missing": type(None)}
        number = one.test in ("<", "<=", ">", ">=")
        kinds: Any = (int, float) if number else wanted.get(one.test, (str, int, float))
        if not isinstance(one.value, kinds):
            raise MetricError(f"{one.field} {one.test} {one.value!r}: not a value to compare with")


def specs(definitions: Mapping[str, Sequence[MetricDefinition]]) -> tuple[StatisticSpec, ...]:
    """Entries as the registry's, by project. They read what `prepare` adds."""
    return tuple(_spec(project, one) for project, own in definitions.items() for one in own)


def columns_needed(definitions: Mapping[str, Sequence[MetricDefinition]]) -> frozenset[str]:
    """Columns of event.avsc that `prepare` and the entries read."""
    fields = {name for own in definitions.values() for one in own for name in _fields(one)}
    plain = {name for name in fields if name in _COLUMNS}
    return frozenset(plain | ({"properties"} if fields - plain else set()) | {"type", "name"})


def prepare(
    rows: pl.DataFrame, definitions: Mapping[str, Sequence[MetricDefinition]]
) -> pl.DataFrame:
    """`rows` with a column for each property that a definition reads, where it takes part."""
    every = [(project, one) for project, own in definitions.items() for one in own]
    paths = sorted({n for _, one in every for n in _fields(one)} - _COLUMNS)
    if paths:
        asked = pl.any_horizontal(_takes_part(*one) for one in every)
        texts = rows.select(pl.when(asked).then("properties")).to_series()
        found = [_read(text, paths) for text in texts]
        read = {path: [row[at] for row in found] for at, path in enumerate(paths)}
        rows = rows.with_columns(pl.Series(path, read[path], pl.String) for path in paths)
    sums = {_scaled(one): one for _, one in every if one.statistic == "sum"}
    for name, one in sums.items():
        assert one.value is not None
        numbers = [_whole(text, one.decimals) for text in rows[one.value].cast(pl.String)]
        rows = rows.with_columns(pl.Series(name, numbers, pl.Int64))
    return rows


def _fields(made: MetricDefinition) -> list[str]:
    values = [made.value] if made.value and made.value != PEOPLE else []
    return [*values, *made.dimensions, *(one.field for one in made.where)]


def _takes_part(project: str, made: MetricDefinition) -> pl.Expr:
    found = (pl.col("project") == project) & (pl.col("type") == made.type)
    return found & (pl.col("name") == made.event) if made.event else found


def _spec(project: str, made: MetricDefinition) -> StatisticSpec:
    where = _takes_part(project, made)
    for one in made.where:
        where &= _holds(one)
    value = None
    if made.value == PEOPLE:
        value = PERSON
    elif made.value is not None:
        value = pl.col(_scaled(made) if made.statistic == "sum" else made.value)
        where &= value.is_not_null()
    needs = {*made.dimensions, *(one.field for one in made.where)}
    if made.value == PEOPLE:
        needs |= {"user_id", "anonymous_id"}
    elif made.value is not None:
        needs.add(_scaled(made) if made.statistic == "sum" else made.value)
    return StatisticSpec(
        made.name,
        made.statistic,
        value.cast(pl.String) if value is not None and made.statistic == "distinct" else value,
        where.fill_null(False),
        made.dimensions,
        tuple(sorted(needs)),
    )


def _holds(one: Condition) -> pl.Expr:
    text = pl.col(one.field).cast(pl.String)
    match one.test:
        case "exists":
            return text.is_not_null()
        case "missing":
            return text.is_null()
        case "in":
            assert isinstance(one.value, list)
            return text.is_in([_text(value) for value in one.value])
        case "=":
            return text == _text(one.value)
        case "!=":
            return text.is_null() | (text != _text(one.value))
    number = text.cast(pl.Float64, strict=False)
    bound = float(one.value)  # type: ignore[arg-type]
    compared = {"<": number < bound, "<=": number <= bound, ">": number > bound}
    return compared.get(one.test, number >= bound)


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _scaled(made: MetricDefinition) -> str:
    return f"{made.value} x 10^{made.decimals}"


def _read(text: str | None, paths: Iterable[str]) -> list[str | None]:
    return [None if text is None else _at(text.encode(), path.split(".")[1:]) for path in paths]


def _at(text: bytes, names: list[str]) -> str | None:
    """What stands there as text; null, objects and lists are no value."""
    try:
        for name in names:
            text = bytes(_OBJECT.decode(text)[name])
        value = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value or None
    return text.decode() if isinstance(value, int | float) else None  # as it was written


def _whole(text: str | None, decimals: int) -> int | None:
    """The number in units of 10^-decimals; None for what is none, or has more decimals."""
    try:
        number = Decimal(text or "").scaleb(decimals)
        whole = int(number)
    except (InvalidOperation, ValueError, OverflowError):
        return None
    return whole if whole == number and abs(whole) <= _LARGEST else None
