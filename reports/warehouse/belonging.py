"""Rows of the SQL table `cohorts`, and which cohorts a query asks for: no other is worked out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import sqlglot
from sqlglot import exp

from reports.warehouse.days import must_all_hold
from reports.warehouse.execute import COHORTS

SCHEMA = pa.schema([("cohort", pa.string()), ("id", pa.string())])


@dataclass(frozen=True)
class Belonging:
    """Who is in which cohort.

    rows:           columns `cohort` and `id`, each pair once
    as_of:          when the first of them was worked out, us
    complete_until: of receipt, us, as of the one that is furthest behind
    """

    rows: pa.Table
    as_of: int | None = None
    complete_until: int | None = None


NOBODY = Belonging(SCHEMA.empty_table())


def cohorts_named(sql: str, parameters: object) -> frozenset[str] | None:
    """Names of all cohorts that a query can see rows of; None: it can of any.

    sql: as admitted, in DuckDB's dialect. Only what all rows must meet counts: conditions on
    `cohort` in the WHERE of the SELECT that reads the table, joined by AND.
    """
    values = parameters if isinstance(parameters, Mapping) else {}
    found: set[str] = set()
    for table in sqlglot.parse_one(sql, dialect="duckdb").find_all(exp.Table):
        if table.name != COHORTS or not table.db:
            continue
        select = table.find_ancestor(exp.Select)
        where = select.args.get("where") if select is not None else None
        conditions = must_all_hold(where.this) if where is not None else ()
        names = _first(_names(one, table.alias_or_name, values) for one in conditions)
        if names is None:
            return None
        found |= names
    return frozenset(found)


def _first(found: Iterable[set[str] | None]) -> set[str] | None:
    return next((names for names in found if names is not None), None)


def _names(condition: exp.Expr, alias: str, values: Mapping[str, Any]) -> set[str] | None:
    """Those that a condition leaves over; None where it is no plain one on the column."""
    if isinstance(condition, exp.EQ):
        sides = [condition.left, condition.right]
        column, others = (
            (sides[0], sides[1:]) if _is_name(sides[0], alias) else (sides[1], sides[:1])
        )
    elif isinstance(condition, exp.In) and condition.expressions:
        column, others = condition.this, condition.expressions
    else:
        return None
    texts = [_text(other, values) for other in others]
    if not _is_name(column, alias) or None in texts:
        return None
    return {text for text in texts if text is not None}


def _is_name(side: exp.Expr, alias: str) -> bool:
    return (
        isinstance(side, exp.Column)
        and side.name.lower() == "cohort"
        and side.table.lower() in ("", alias.lower())
    )


def _text(side: exp.Expr, values: Mapping[str, Any]) -> str | None:
    if isinstance(side, exp.Literal) and side.is_string:
        return side.name
    if isinstance(side, exp.Parameter | exp.Placeholder):
        value = values.get(side.name)
        return value if isinstance(value, str) else None
    return None
