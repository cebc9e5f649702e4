"""Counts of events by day and name, asked of `events`, read from the exact table instead.

Rows of `daily` are days of the project's zone with how many events there were, by name. A query
that asks events for nothing but whole days, names and their number gets the same answer from a few
rows a day. What asks for more stays as it is.
"""

from __future__ import annotations

import sqlglot
from sqlglot import exp

from schemas_avro import load
from transforms.caps import OTHER

_DAY, _NAME, _COUNT = "day__", "name", "events__"
_COLUMNS = {f.name for f in load("event").fields}
_MORE = ("joins", "laterals", "distinct", "qualify", "windows", "hint", "sample", "pivots", "into")
# Whether names stand for themselves: a rare one may be counted among the others, and an event
# without a name stands under an empty one.
UNNAMED = (
    "SELECT count(*) FROM daily WHERE metric = 'events' "
    f"AND json_extract_string(dimensions, '$.name') IN ('', '{OTHER}')"
)


def rolled(query: exp.Query, zone: str) -> tuple[str, bool] | None:
    """The query over `daily`, in BigQuery's dialect, and whether it asks for names.

    query: as parsed from BigQuery's dialect; zone: the project's. None where it asks for more.
    """
    made = query.copy()
    if any(cte.alias.lower() in ("events", "daily") for cte in made.find_all(exp.CTE)):
        return None
    found = [t for t in made.find_all(exp.Table) if t.name.lower() == "events"]
    selects = {id(s): s for s in (table.find_ancestor(exp.Select) for table in found) if s}
    if not found or len(selects) != len(found):
        return None
    by_name = [_replace(select, zone) for select in selects.values()]
    if None in by_name:
        return None
    return made.sql("bigquery"), any(by_name)


def _replace(select: exp.Select, zone: str) -> bool | None:
    """Rewrite one SELECT over events in place: does it ask for names? None: it asks for more."""
    from_ = select.args.get("from_")
    table = from_.this if from_ is not None else None
    if not isinstance(table, exp.Table) or any(select.args.get(one) for one in _MORE):
        return None
    alias = table.alias_or_name.lower()
    nodes = [
        node
        for key, part in select.args.items()
        if key not in ("with_", "from_") and part is not None
        for one in (part if isinstance(part, list) else [part])
        if isinstance(one, exp.Expr)
        for node in one.walk()
    ]
    days = {id(node): node for node in nodes if _is_day(node, zone)}
    inside = {id(node) for day in days.values() for node in day.walk()}
    counts = [node for node in nodes if _is_count(node)]
    in_counts = {id(node) for count in counts for node in count.walk()}
    if not counts and not select.args.get("group"):
        return None
    named = {one.alias.lower() for one in select.expressions if isinstance(one, exp.Alias)}
    by_name = False
    for node in nodes:
        if id(node) in inside or id(node) in in_counts:
            continue
        if isinstance(node, exp.Query | exp.AggFunc | exp.Window | exp.Star | exp.Unnest):
            return None
        if isinstance(node, exp.Column):
            column = node.name.lower()
            if node.table and node.table.lower() != alias:
                return None
            if column == _NAME:
                by_name = True
            elif column in _COLUMNS or column not in named or node.table:
                return None
    if any(not isinstance(one, exp.Alias | exp.Column) for one in select.expressions):
        return None  # its columns would be called otherwise
    for day in days.values():
        day.replace(exp.column(_DAY, table=alias))
    for count in counts:
        count.replace(sqlglot.parse_one(f"CAST(IFNULL(SUM({_COUNT}), 0) AS INT64)", "bigquery"))
    table.replace(_rows(alias, by_name))
    return by_name


def _rows(alias: str, by_name: bool) -> exp.Expr:
    """Days with their numbers of events, as a subquery."""
    which, name = "=", ""
    if by_name:
        which, name = "<>", f"JSON_VALUE(dimensions, '$.name') AS {_NAME}, "
    text = (
        f"(SELECT day AS {_DAY}, {name}value AS {_COUNT} FROM daily "
        f"WHERE metric = 'events' AND dimensions {which} '{{}}') AS `{alias}`"
    )
    found = sqlglot.parse_one(f"SELECT * FROM {text}", dialect="bigquery").args["from_"].this
    assert isinstance(found, exp.Expr)
    return found


def _is_day(node: exp.Expr, zone: str) -> bool:
    """Is it the event's day in the project's zone?"""
    if not isinstance(node, exp.Date) or node.expressions:
        return False
    time, given = node.this, node.args.get("zone")
    if not isinstance(time, exp.Column) or time.name.lower() != "event_time":
        return False
    said = "UTC" if given is None else given.name if isinstance(given, exp.Literal) else ""
    return said == zone


def _is_count(node: exp.Expr) -> bool:
    return isinstance(node, exp.Count) and isinstance(node.this, exp.Star) and not node.expressions
