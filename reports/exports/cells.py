"""Columns of any type as text: SQL of DuckDB that makes cells of CSV and lines of JSON."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby

from reports.warehouse.execute import quoted
from transforms.csv_safe import safe, safe_sql

_WHOLE = {"TINYINT", "SMALLINT", "INTEGER", "UTINYINT", "USMALLINT", "UINTEGER"}
_LARGE = {"BIGINT", "UBIGINT", "HUGEINT", "UHUGEINT"}
_FLOATS = {"FLOAT", "DOUBLE"}
_NATIVE = {*_WHOLE, "BIGINT", "UBIGINT", "BOOLEAN", "DATE"}
_TEXTS = {"VARCHAR", "JSON", "UUID", "TIME", "INTERVAL", "BIT"}
_UTC = "TIMESTAMP WITH TIME ZONE"
_ISO = "%Y-%m-%dT%H:%M:%S.%f"
_SAFE = 1 << 53  # whole numbers beyond are more than many readers' numbers hold


@dataclass(frozen=True)
class Column:
    """A column of a relation. type: DuckDB's."""

    name: str
    type: str


def name_sql(name: str) -> str:
    """A name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def csv_select(columns: Sequence[Column], relation: str, raw: bool) -> str:
    """Cells of each column: texts, or what is written the same by everybody.

    raw: cells that a spreadsheet would run stay as they are
    """
    cells = [_cell(column, raw) for column in columns]
    if len(cells) == 1:  # a line with nothing in it would be passed over as empty
        cells = [f"coalesce({cells[0]}::VARCHAR, '')"]
    heads = [column.name if raw else safe(column.name) for column in columns]
    named = (f"{cell} AS {name_sql(head)}" for cell, head in zip(cells, heads, strict=True))
    return f"SELECT {', '.join(named)} FROM {relation}"


def _cell(column: Column, raw: bool) -> str:
    name, kind = name_sql(column.name), column.type
    if kind in _NATIVE or kind == _UTC:
        return name
    if kind.startswith("DECIMAL") or kind in _LARGE:
        return f"{name}::VARCHAR"
    if kind == "VARCHAR":
        text = name
    elif kind.startswith("TIMESTAMP"):
        text = f"strftime({name}, '{_ISO}')"
    elif kind == "BLOB":
        text = f"base64({name})"
    elif kind in _FLOATS or kind in _TEXTS or kind.startswith("ENUM"):
        text = f"{name}::VARCHAR"
    else:
        text = f"to_json({name})::VARCHAR"
    return text if raw else safe_sql(text)


def json_select(
    columns: Sequence[Column], relation: str, embedded: Collection[str], before: str, after: str
) -> str:
    """One text column: each row as a JSON object, between `before` and `after`.

    embedded: columns of JSON text that stand there as the JSON that they hold, digit by digit
    """
    pieces = []
    for is_plain, run in groupby(columns, lambda c: _is_plain(c, embedded)):
        if is_plain:
            fields = ", ".join(f"{name_sql(c.name)} := {_value(c)}" for c in run)
            pieces.append(f"(to_json(struct_pack({fields}))::VARCHAR)[2:-2]")
        else:
            pieces += [f"{_key(c.name)} || {_written(c, embedded)}" for c in run]
    line = " || ',' || ".join(pieces)
    return f"SELECT {quoted(before + '{')} || {line} || '}}' || {quoted(after)} FROM {relation}"


def _is_plain(column: Column, embedded: Collection[str]) -> bool:
    """Does the engine write it as it should be?"""
    kind = column.type
    return column.name not in embedded and kind not in _LARGE and not kind.startswith("DECIMAL")


def _key(name: str) -> str:
    return f"to_json({quoted(name)})::VARCHAR || ':'"


def _value(column: Column) -> str:
    name, kind = name_sql(column.name), column.type
    if kind in _FLOATS:  # JSON has no other numbers
        return f"CASE WHEN isfinite({name}) THEN {name} END"
    if kind == _UTC:
        return f"strftime({name}, '{_ISO}Z')"
    if kind.startswith("TIMESTAMP"):
        return f"strftime({name}, '{_ISO}')"
    if kind == "BLOB":
        return f"base64({name})"
    return f"{name}::VARCHAR" if kind in _TEXTS - {"VARCHAR", "JSON"} else name


def _written(column: Column, embedded: Collection[str]) -> str:
    """The value's JSON, null too."""
    name, kind = name_sql(column.name), column.type
    text = f"'\"' || {name}::VARCHAR || '\"'"
    if column.name in embedded:
        # Between tokens a line break is a space; inside of a text JSON has none.
        line = f"replace(replace({name}, chr(10), ' '), chr(13), ' ')"
        value = f"CASE WHEN json_valid({name}) THEN {line} ELSE to_json({name})::VARCHAR END"
    elif kind in _LARGE or kind.endswith(",0)"):
        value = (
            f"CASE WHEN {name} BETWEEN -{_SAFE} AND {_SAFE} THEN {name}::VARCHAR ELSE {text} END"
        )
    else:
        value = text
    return f"coalesce({value}, 'null')"
