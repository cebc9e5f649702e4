"""Counts and money by day, hour, name and currency, asked of `events`, read from the exact tables.

Rows of `daily` are days of the project's zone, those of `periods` hours, with how many events there
were by name and how much money by currency. A query that asks events for nothing else gets the same
answer from a few rows a day. What asks for more stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import sqlglot
from sqlglot import exp

from reports.warehouse.days import must_all_hold
from schemas_avro import load
from transforms.caps import OTHER

ExactTable = Literal["daily", "periods"]

_DAY, _HOUR, _VALUE = "day__", "hour__", "value__"
_NAME, _CURRENCY, _MONEY, _TIME = "name", "currency", "revenue_minor", "event_time"
_COLUMNS = {f.name for f in load("event").fields}
_MORE = ("joins", "laterals", "distinct", "qualify", "windows", "hint", "sample", "pivots", "into")
_REFUSED = (
    exp.Query,
    exp.AggFunc,
    exp.Window,
    exp.Star,
    exp.Unnest,
    exp.Rand,
    exp.Uuid,
    exp.Anonymous,
)
_COUNT_NAME = "count_star()"  # the engine's name of a COUNT(*) without one
# What an hour of the site lies in whole.
_UNITS = {"HOUR", "DAY", "WEEK", "ISOWEEK", "MONTH", "QUARTER", "YEAR", "ISOYEAR"}
_PARTS = {"HOUR", "DAY", "DAYOFWEEK", "DAYOFYEAR", "ISOWEEK", "MONTH", "QUARTER", "YEAR"}


@dataclass(frozen=True)
class Rolled:
    """A query over an exact table.

    sql:     in BigQuery's dialect
    by_name: it asks for names of events; money: for sums of revenue, not for numbers of events
    """

    sql: str
    table: ExactTable
    by_name: bool
    money: bool


@dataclass
class _Part:
    """One SELECT over events: what of it is to be replaced.

    days:    expressions that are the event's day; times: its time, inside of expressions that are
             the same for a whole hour
    present: conditions that there is money
    """

    table: exp.Table
    zone: str
    days: list[exp.Expr] = field(default_factory=list)
    times: list[exp.Expr] = field(default_factory=list)
    counts: list[exp.Expr] = field(default_factory=list)
    sums: list[exp.Expr] = field(default_factory=list)
    present: list[exp.Expr] = field(default_factory=list)
    columns: set[str] = field(default_factory=set)

    @property
    def alias(self) -> str:
        return self.table.alias_or_name.lower()

    @property
    def is_money(self) -> bool:
        return bool(self.sums or self.present or _CURRENCY in self.columns)

    def is_own(self, node: exp.Expr | None, name: str) -> bool:
        """Is it this column of this table?"""
        if not isinstance(node, exp.Column) or node.name.lower() != name:
            return False
        return node.table.lower() in ("", self.alias)

    def takes(self, node: exp.Expr) -> bool:
        """Note it down if it is to be replaced."""
        if isinstance(node, exp.Date) and self._is_day(node):
            self.days.append(node)
        elif (time := self._time(node)) is not None:
            self.times.append(time)
        elif _is_count(node):
            self.counts.append(node)
        elif isinstance(node, exp.Sum) and self.is_own(node.this, _MONEY):
            self.sums.append(node)
        else:
            return False
        return True

    def is_present(self, node: exp.Expr) -> bool:
        """Is it `revenue_minor IS NOT NULL`?"""
        inner = node.this if isinstance(node, exp.Not) else None
        return (
            isinstance(inner, exp.Is)
            and isinstance(inner.expression, exp.Null)
            and self.is_own(inner.this, _MONEY)
        )

    def _is_day(self, node: exp.Expr) -> bool:
        """Is it the event's day in the project's zone?"""
        if node.expressions or not self.is_own(node.this, _TIME):
            return False
        return self._is_zone(node.args.get("zone"))

    def _is_zone(self, given: exp.Expr | None) -> bool:
        said = "UTC" if given is None else given.name if isinstance(given, exp.Literal) else ""
        return said == self.zone

    def _time(self, node: exp.Expr) -> exp.Expr | None:
        """The event's time in an expression that is the same for a whole hour of the zone."""
        match node:
            case exp.TimestampTrunc():
                inner, zone, unit = node.this, node.args.get("zone"), _unit(node, _UNITS)
                # Hours of the zone are hours of UTC, or it is not read from them.
                known = self._is_zone(zone) or (unit == "HOUR" and _is_utc(zone))
            case exp.DatetimeTrunc(this=exp.Datetime() as clock):
                inner, unit = clock.this, _unit(node, _UNITS)
                known = self._is_zone(clock.args.get("expression"))
            case exp.Extract(expression=exp.Datetime() as clock):
                inner, unit = clock.this, node.name.upper() if node.name.upper() in _PARTS else ""
                known = self._is_zone(clock.args.get("expression"))
            case exp.Extract(expression=exp.AtTimeZone() as clock):
                inner, unit = clock.this, node.name.upper() if node.name.upper() in _PARTS else ""
                known = self._is_zone(clock.args.get("zone"))
            case _:
                return None
        return inner if known and unit and self.is_own(inner, _TIME) else None


def rolled(query: exp.Query, zone: str) -> Rolled | None:
    """The query over an exact table. None where it asks for more than there is.

    query: as parsed from BigQuery's dialect; zone: the project's
    """
    made = query.copy()
    taken = ("events", "daily", "periods")
    if any(cte.alias.lower() in taken for cte in made.find_all(exp.CTE)):
        return None
    found = [t for t in made.find_all(exp.Table) if t.name.lower() == "events"]
    selects = {id(s): s for s in (table.find_ancestor(exp.Select) for table in found) if s}
    if not found or len(selects) != len(found):
        return None
    parts = []
    for select in selects.values():
        part = _part(select, zone)
        if part is None:
            return None
        parts.append(part)
    table: ExactTable = "periods" if any(part.times for part in parts) else "daily"
    for part, select in zip(parts, selects.values(), strict=True):
        _replace(part, select, table)
    by_name = any(_NAME in part.columns for part in parts)
    return Rolled(made.sql("bigquery"), table, by_name, any(part.is_money for part in parts))


def doubts(found: Rolled, zone: str) -> str | None:
    """DuckDB's SELECT over the table: how many of its rows speak against it. None: none can.

    A rare name may be counted among the others, and an event without a name stands under an empty
    one; so does money without a currency. Hours must be those of UTC and have one offset from it.
    """
    why = []
    for is_asked, metric, dimension in (
        (found.by_name, "events", _NAME),
        (found.money, "revenue", _CURRENCY),
    ):
        if is_asked:
            value = f"json_extract_string(dimensions, '$.{dimension}')"
            why.append(f"metric = '{metric}' AND {value} IN ('', '{OTHER}')")
    if found.table == "periods":
        last = "period_start + INTERVAL 1 HOUR - INTERVAL 1 MICROSECOND"
        local = f"({{}}) AT TIME ZONE '{zone}'"
        length = f"{local.format(last)} - {local.format('period_start')}"
        why.append(
            "metric = 'events' AND dimensions = '{}' AND ("
            "epoch_us(period_start) % 3600000000 <> 0 "
            f"OR epoch_us({local.format('period_start')}) % 3600000000 <> 0 "
            f"OR {length} <> INTERVAL 1 HOUR - INTERVAL 1 MICROSECOND)"
        )
    if not why:
        return None
    grain = "grain = 'hour' AND " if found.table == "periods" else ""
    return f"SELECT count(*) FROM {found.table} WHERE {grain}(({') OR ('.join(why)}))"


def _part(select: exp.Select, zone: str) -> _Part | None:
    """What one SELECT over events asks for; None where it asks for more than counts or money."""
    from_ = select.args.get("from_")
    table = from_.this if from_ is not None else None
    if not isinstance(table, exp.Table) or any(select.args.get(one) for one in _MORE):
        return None
    if any(value for key, value in table.args.items() if key not in ("this", "alias")):
        return None
    part = _Part(table, zone)
    named = {one.alias.lower() for one in select.expressions if isinstance(one, exp.Alias)}
    where = select.args.get("where")
    must = {id(one) for one in must_all_hold(where.this)} if where is not None else set()
    inside: set[int] = set()
    for node in _nodes(select):  # outer ones first
        if id(node) in inside:
            continue
        if id(node) in must and part.is_present(node):
            part.present.append(node)
        elif not part.takes(node):
            if isinstance(node, _REFUSED):
                return None
            if isinstance(node, exp.Column) and not _is_known(node, part, named):
                return None
            continue
        inside |= {id(one) for one in node.walk()}
    return part if _is_answered(part, select) else None


def _is_answered(part: _Part, select: exp.Select) -> bool:
    """Do days, hours, names and currencies with their numbers say all that it asks for?"""
    grouped = select.args.get("group")
    if not grouped and not part.counts and not part.sums:
        return False
    # Groups of events that have no money are not in the tables.
    if part.is_money and (part.counts or _NAME in part.columns or (grouped and not part.present)):
        return False
    # Its columns would be called otherwise.
    return all(isinstance(e, exp.Alias | exp.Column) or _is_count(e) for e in select.expressions)


def _is_known(node: exp.Column, part: _Part, named: set[str]) -> bool:
    """Is it a name, a currency, or a column of the answer?"""
    column = node.name.lower()
    if column in (_NAME, _CURRENCY):
        part.columns.add(column)
        return part.is_own(node, column)
    return column in named and column not in _COLUMNS and not node.table


def _nodes(select: exp.Select) -> Iterator[exp.Expr]:
    for key, part in select.args.items():
        if key not in ("with_", "from_") and part is not None:
            for one in part if isinstance(part, list) else [part]:
                if isinstance(one, exp.Expr):
                    yield from one.walk()


def _replace(part: _Part, select: exp.Select, table: ExactTable) -> None:
    """Rewrite one SELECT over events in place."""
    for count in part.counts:
        total = sqlglot.parse_one(f"CAST(IFNULL(SUM({_VALUE}), 0) AS INT64)", "bigquery")
        if count.parent is select and count.arg_key == "expressions":
            total = exp.alias_(total, _COUNT_NAME, quoted=True)
        count.replace(total)
    for money in part.sums:
        money.replace(exp.Sum(this=exp.column(_VALUE, table=part.alias)))
    for condition in part.present:
        condition.replace(exp.true())
    for day in part.days:
        day.replace(exp.column(_DAY, table=part.alias))
    for time in part.times:
        time.replace(exp.column(_HOUR, table=part.alias))
    part.table.replace(_rows(part, table))


def _rows(part: _Part, table: ExactTable) -> exp.Expr:
    """Days or hours with their numbers, as a subquery."""
    columns, where = [f"day AS {_DAY}", f"value AS {_VALUE}"], ["TRUE"]
    if table == "periods":
        columns.append(f"period_start AS {_HOUR}")
        where = ["grain = 'hour'"]
    if part.is_money:
        columns.append(f"JSON_VALUE(dimensions, '$.{_CURRENCY}') AS {_CURRENCY}")
        where.append("metric = 'revenue'")
    elif _NAME in part.columns:
        columns.append(f"JSON_VALUE(dimensions, '$.{_NAME}') AS {_NAME}")
        where.append("metric = 'events' AND dimensions <> '{}'")
    else:
        where.append("metric = 'events' AND dimensions = '{}'")
    text = f"(SELECT {', '.join(columns)} FROM {table} WHERE {' AND '.join(where)})"
    found = sqlglot.parse_one(f"SELECT * FROM {text} AS `{part.alias}`", dialect="bigquery")
    rows = found.args["from_"].this
    assert isinstance(rows, exp.Expr)
    return rows


def _unit(node: exp.Expr, known: set[str]) -> str:
    """The unit that is truncated to, where it is one of these; else nothing."""
    unit = node.args.get("unit")
    if isinstance(unit, exp.WeekStart):
        return "WEEK"
    name = "" if unit is None else unit.name.upper()
    return name if name in known else ""


def _is_utc(zone: exp.Expr | None) -> bool:
    return zone is None or (isinstance(zone, exp.Literal) and zone.name == "UTC")


def _is_count(node: exp.Expr) -> bool:
    return isinstance(node, exp.Count) and isinstance(node.this, exp.Star) and not node.expressions
