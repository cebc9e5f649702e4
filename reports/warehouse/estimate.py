"""What a query would read: the files of its tables whose days it asks for, the columns it names.

Only what the text of the query says is used, never its rows; so it is told before the query runs,
and is an upper bound: the engine may skip more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import sqlglot
from sqlglot import exp

from reports.warehouse.files import Files
from reports.warehouse.relations import PEOPLE, derived, tables_of
from reports.warehouse.views import TABLES
from schemas_avro import load

_EPOCH = date(1970, 1, 1)
_ZONES_DAYS = 1  # a day of somewhere on Earth lies on two or three of UTC
# Every read of a table needs these, to tell projects apart and to leave repeats out.
_ALWAYS = {"project", "producer", "seq", "row"}
_COMPARED: dict[type[exp.Expr], tuple[bool, bool]] = {
    exp.EQ: (True, True), exp.GT: (True, False), exp.GTE: (True, False),
    exp.LT: (False, True), exp.LTE: (False, True),
}  # fmt: skip
_SAFE = (
    exp.Literal, exp.Cast, exp.DataType, exp.DataTypeParam, exp.Interval, exp.Var, exp.CurrentDate,
    exp.CurrentTimestamp, exp.Add, exp.Sub, exp.Paren, exp.Neg, exp.Parameter, exp.AtTimeZone,
    exp.DateTrunc, exp.TimestampTrunc, exp.Placeholder,
)  # fmt: skip
_KEEPS_DAY = (exp.Column, exp.Identifier, exp.Cast, exp.DataType, exp.AtTimeZone, exp.Literal,
              exp.Paren)  # fmt: skip
_LONGEST = 100  # characters of a literal in a bound


@dataclass(frozen=True)
class Days:
    """Days of UTC since 1970-01-01, both included; None: without an end."""

    first: int | None = None
    last: int | None = None

    def has(self, day: int) -> bool:
        """Is it one of them?"""
        return (self.first is None or day >= self.first) and (self.last is None or day <= self.last)

    def within(self, other: Days) -> Days:
        """The days of both."""
        firsts = [d for d in (self.first, other.first) if d is not None]
        lasts = [d for d in (self.last, other.last) if d is not None]
        return Days(max(firsts, default=None), min(lasts, default=None))

    def around(self, other: Days) -> Days:
        """From the first of either to the last."""
        return Days(
            None if None in (self.first, other.first) else min(self.first or 0, other.first or 0),
            None if None in (self.last, other.last) else max(self.last or 0, other.last or 0),
        )


@dataclass(frozen=True)
class Read:
    """What is read of one table. files: how many of `of_files`; bytes: as compressed on disk."""

    table: str
    rows: int
    bytes: int
    files: int
    of_files: int


def days_and_columns(
    sql: str, used: Iterable[str], typed: Mapping[str, str], parameters: Mapping[str, Any]
) -> dict[str, tuple[Days, frozenset[str] | None]]:
    """Of each table that is read its days, and its columns; None: all of them.

    sql: as admitted, in DuckDB's dialect
    """
    query = sqlglot.parse_one(sql, dialect="duckdb")
    named = frozenset(column.name.lower() for column in query.find_all(exp.Column))
    starred = any(not isinstance(s.parent, exp.Count) for s in query.find_all(exp.Star))
    found: dict[str, tuple[Days, frozenset[str] | None]] = {}
    for name in set(used):
        asked = _days(query, name, parameters)
        for table in tables_of([name], typed):
            days = Days() if name == PEOPLE else asked
            columns = _columns(name, table, None if starred else named, typed)
            if table in found:
                before, others = found[table]
                days = days.around(before)
                columns = (
                    None if None in (columns, others) else (columns or named) | (others or named)
                )
            found[table] = days, columns
    return found


def _columns(
    name: str, table: str, named: frozenset[str] | None, typed: Mapping[str, str]
) -> frozenset[str] | None:
    if name == table:
        return named
    body = derived(name, typed)
    assert body is not None
    if name == PEOPLE:
        inner = sqlglot.parse_one(body, dialect="duckdb")
        return frozenset(column.name.lower() for column in inner.find_all(exp.Column))
    if named is None:
        return None
    own = {f.name for f in load("event").fields}
    return frozenset({"type", "name", *(named & own), *(() if named <= own else ("properties",))})


def read_of(
    table: str, files: Files, days: Days, columns: frozenset[str] | None, sizes_only: bool = False
) -> Read:
    """What is read of a table. sizes_only: of whole files, without a look into them.

    Raises FileNotFoundError where the files were replaced meanwhile.
    """
    match TABLES[table].replaced:
        case "":  # by project alone
            wanted = Days()
        case "month":
            wanted = Days(_month(days.first), _month(days.last))
        case _:
            wanted = days
    paths = [path for path, part in files.days.items() if wanted.has(part)]
    if sizes_only:
        size = sum(Path(path).stat().st_size for path in paths)
        return Read(table, 0, size, len(paths), len(files.days))
    rows = size = 0
    for path in paths:
        count, sizes = _inside(path)
        rows += count
        read = sizes if columns is None else (columns | _ALWAYS) & sizes.keys()
        size += sum(sizes[column] for column in read)
    return Read(table, rows, size, len(paths), len(files.days))


def _month(day: int | None) -> int | None:
    """Months since 1970-01 of a day."""
    if day is None:
        return None
    at = _EPOCH + timedelta(days=day)
    return (at.year - _EPOCH.year) * 12 + at.month - 1


@lru_cache(maxsize=20_000)
def _inside(path: str) -> tuple[int, dict[str, int]]:
    """Rows of a file, which never changes, and the compressed bytes of its columns."""
    found = pq.read_metadata(path)
    sizes: dict[str, int] = {}
    for group in range(found.num_row_groups):
        for at in range(found.num_columns):
            column = found.row_group(group).column(at)
            name = column.path_in_schema.partition(".")[0]
            sizes[name] = sizes.get(name, 0) + column.total_compressed_size
    return found.num_rows, sizes


def _days(query: exp.Expr, name: str, parameters: Mapping[str, Any]) -> Days:
    """Days of the table's own time that all its places in the query together ask for."""
    base = TABLES.get(name)
    column = base.day_of if base is not None else "event_time"
    found: Days | None = None
    for table in query.find_all(exp.Table):
        if table.name != name or not table.db:
            continue
        select = table.find_ancestor(exp.Select)
        where = select.args.get("where") if select is not None else None
        days = Days()
        for condition in _all_of(where.this) if where is not None else ():
            days = days.within(_bound(condition, column, table.alias_or_name, parameters))
        found = days if found is None else found.around(days)
    return found or Days()


def _all_of(condition: exp.Expr) -> Iterable[exp.Expr]:
    """Conditions that must all be met."""
    if isinstance(condition, exp.Paren):
        yield from _all_of(condition.this)
    elif isinstance(condition, exp.And):
        yield from _all_of(condition.left)
        yield from _all_of(condition.right)
    else:
        yield condition


def _bound(condition: exp.Expr, column: str, alias: str, parameters: Mapping[str, Any]) -> Days:
    if isinstance(condition, exp.Between) and _is_time(condition.this, column, alias):
        first, last = (_day(condition.args[end], parameters) for end in ("low", "high"))
        return _wide(first, last)
    if type(condition) not in _COMPARED or not isinstance(condition, exp.Binary):
        return Days()
    from_below, from_above = _COMPARED[type(condition)]
    time, value = condition.left, condition.right
    if not _is_time(time, column, alias):
        time, value = value, time
        from_below, from_above = from_above, from_below
        if not _is_time(time, column, alias):
            return Days()
    day = _day(value, parameters)
    return _wide(day if from_below else None, day if from_above else None)


def _wide(first: int | None, last: int | None) -> Days:
    return Days(
        None if first is None else first - _ZONES_DAYS, None if last is None else last + _ZONES_DAYS
    )


def _is_time(side: exp.Expr, column: str, alias: str) -> bool:
    """Is it the table's time, or its day in some zone?"""
    columns = list(side.find_all(exp.Column))
    return (
        len(columns) == 1
        and columns[0].name.lower() == column
        and columns[0].table.lower() in ("", alias.lower())
        and all(isinstance(node, _KEEPS_DAY) for node in side.walk())
    )


def _day(side: exp.Expr, parameters: Mapping[str, Any]) -> int | None:
    """The day of a value that needs no row; None where it is no day, or more than plain sums."""
    for node in side.walk():
        if not isinstance(node, _SAFE):
            return None
        if isinstance(node, exp.Literal) and len(node.name) > _LONGEST:
            return None
    named = {
        node.name: parameters.get(node.name)
        for node in side.find_all(exp.Parameter, exp.Placeholder)
    }
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        try:
            row = connection.execute(
                f"SELECT CAST(({side.sql('duckdb')}) AS DATE)", named
            ).fetchone()
        except duckdb.Error:
            return None
    return (row[0] - _EPOCH).days if row and isinstance(row[0], date) else None
