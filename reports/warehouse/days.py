"""The days that a query asks for of a table, and the files that hold them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

import duckdb
from sqlglot import exp

from schemas_avro.tables import Table

_EPOCH = date(1970, 1, 1)
_ZONES_DAYS = 1  # a day of somewhere on Earth lies on two or three of UTC
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
              exp.Paren, exp.Parameter, exp.Placeholder)  # fmt: skip
# As text, times are ordered otherwise.
_TIMES = {
    exp.DataType.Type.DATE, exp.DataType.Type.TIMESTAMP, exp.DataType.Type.TIMESTAMPNTZ,
    exp.DataType.Type.TIMESTAMPTZ,
}  # fmt: skip
_UTC = exp.Literal.string("UTC")
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

    def wider(self, days: int) -> Days:
        """These and so many more on either side."""
        return Days(
            None if self.first is None else self.first - days,
            None if self.last is None else self.last + days,
        )

    def around(self, other: Days) -> Days:
        """From the first of either to the last."""
        return Days(
            None if None in (self.first, other.first) else min(self.first or 0, other.first or 0),
            None if None in (self.last, other.last) else max(self.last or 0, other.last or 0),
        )


ALL = Days()


def parts_within(table: Table, parts: Mapping[str, int], days: Days) -> list[str]:
    """The files that can have rows of these days. parts: as in `Files.days`."""
    match table.replaced:
        case "":  # by project alone
            wanted = ALL
        case "month":
            wanted = Days(_month(days.first), _month(days.last))
        case _:
            wanted = days
    return [path for path, part in parts.items() if wanted.has(part)]


def _month(day: int | None) -> int | None:
    """Months since 1970-01 of a day."""
    if day is None:
        return None
    at = date.fromordinal(min(max(_EPOCH.toordinal() + day, 1), date.max.toordinal()))
    return (at.year - _EPOCH.year) * 12 + at.month - 1


def days_of(query: exp.Expr, name: str, column: str, parameters: Mapping[str, Any]) -> Days:
    """Days of the table's own time that all its places in the query together ask for.

    query: as admitted, in DuckDB's dialect; column: that time. No row of another day can pass the
    query's conditions: what is not plainly a bound is none.
    """
    found: Days | None = None
    for alias, conditions in conditions_on(query, name):
        days = Days()
        for condition in conditions:
            days = days.within(_bound(condition, column, alias, parameters))
        found = days if found is None else found.around(days)
    return found or Days()


def conditions_on(query: exp.Expr, name: str) -> Iterable[tuple[str, list[exp.Expr]]]:
    """For each place of a table in a query: its name there, and what all its rows must meet."""
    for table in query.find_all(exp.Table):
        if table.name == name and table.db:
            select = table.find_ancestor(exp.Select)
            where = select.args.get("where") if select is not None else None
            yield table.alias_or_name, list(must_all_hold(where.this)) if where is not None else []


def must_all_hold(condition: exp.Expr) -> Iterable[exp.Expr]:
    """Conditions that must all be met."""
    if isinstance(condition, exp.Paren):
        yield from must_all_hold(condition.this)
    elif isinstance(condition, exp.And):
        yield from must_all_hold(condition.left)
        yield from must_all_hold(condition.right)
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
    """Is it the table's time, or its day in one zone?"""
    columns = list(side.find_all(exp.Column))
    moved = [zone.args["zone"] for zone in side.find_all(exp.AtTimeZone)]
    return (
        len(columns) == 1
        and all(cast.to.this in _TIMES for cast in side.find_all(exp.Cast))
        and sum(zone != _UTC for zone in moved) <= 1
        and columns[0].name.lower() == column
        and columns[0].table.lower() in ("", alias.lower())
        and all(isinstance(node, _KEEPS_DAY) for node in side.walk())
    )


@cache
def _engine() -> duckdb.DuckDBPyConnection:
    """One for all bounds: to make one costs more than a bound."""
    return duckdb.connect(config={"threads": 1})


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
    with _engine().cursor() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        try:
            row = connection.execute(
                f"SELECT CAST(({side.sql('duckdb')}) AS DATE)", named
            ).fetchone()
        except duckdb.Error:
            return None
    return (row[0] - _EPOCH).days if row and isinstance(row[0], date) else None
