"""Rows of the SQL table `cohorts`, and which cohorts a query asks for: no other is worked out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import sqlglot
from sqlglot import exp

from reports.warehouse.days import conditions_on
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
    for alias, conditions in conditions_on(sqlglot.parse_one(sql, dialect="duckdb"), COHORTS):
        named = [names for one in conditions if (names := _names(one, alias, values)) is not None]
        if not named:
            return None
        found |= named[0]
    return frozenset(found)


def _names(condition: exp.Expr, alias: str, values: Mapping[str, Any]) -> set[str] | None:
    """Those that a condition leaves over; None where it is no plain one on the column."""
    if isinstance(condition, exp.EQ):
        either = condition.left, condition.right
        column, *others = sorted(either, key=lambda side: not _is_name(side, alias))
    elif isinstance(condition, exp.In) and condition.expressions:
        column, *others = condition.this, *condition.expressions
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
