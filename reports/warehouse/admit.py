"""Lets SQL in: one statement, in BigQuery's dialect, that can only read what it may see."""

from __future__ import annotations

from collections.abc import Set

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, TokenError, UnsupportedError

# Functions that sqlglot does not know by type, but that only compute.
_PLAIN_FUNCTIONS = {
    "ieee_divide", "json_query_array", "json_value_array", "bit_count", "unix_seconds",
    "string", "int64", "float64", "bool", "json_type", "ends_with", "approx_quantiles",
    "last_day", "normalize", "soundex", "format_date", "range_bucket",
}  # fmt: skip
_FORBIDDEN = (exp.DDL, exp.DML, exp.Command, exp.Into, exp.ReadCSV, exp.Pragma, exp.Parameter)


class NotAdmitted(ValueError):
    """The query may not run; the message says what is wrong, where, and what to do.

    line, column: from 1; None where the place is not known
    """

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.line, self.column = line, column


def admit(sql: str, tables: Set[str]) -> str:
    """The query in DuckDB's dialect. `tables` are the only names it may read.

    Raises NotAdmitted for anything but one SELECT over these tables.
    """
    query = _parse(sql)
    for node in query.walk():
        if isinstance(node, _FORBIDDEN):
            raise NotAdmitted(f"{node.key.upper()} is not allowed: queries only read")
        if isinstance(node, exp.Table):
            _check_table(node, tables)
        if isinstance(node, exp.Anonymous) and node.name.lower() not in _PLAIN_FUNCTIONS:
            raise NotAdmitted(f"function {node.name} is not known here", *_place(node))
    try:
        return query.sql(dialect="duckdb", unsupported_level=sqlglot.ErrorLevel.RAISE)
    except UnsupportedError as error:
        raise NotAdmitted(f"not possible on this warehouse: {error}") from error


def _parse(sql: str) -> exp.Query:
    try:
        statements = [s for s in sqlglot.parse(sql, dialect="bigquery") if s is not None]
    except ParseError as error:
        first = error.errors[0] if error.errors else {}
        raise NotAdmitted(
            first.get("description") or str(error), first.get("line"), first.get("col")
        ) from error
    except (TokenError, RecursionError) as error:
        raise NotAdmitted(f"unreadable SQL: {str(error)[:200]}") from error
    if not statements:
        raise NotAdmitted("there is no query; type a SELECT")
    if len(statements) > 1:
        raise NotAdmitted(f"{len(statements)} statements; run one at a time")
    if not isinstance(statements[0], exp.Query):
        raise NotAdmitted(f"{statements[0].key.upper()} is not allowed: only SELECT can run")
    return statements[0]


def _check_table(node: exp.Table, tables: Set[str]) -> None:
    if not isinstance(node.this, exp.Identifier):
        raise NotAdmitted("table functions are not allowed; read one of the tables by name")
    if node.db or node.catalog:
        raise NotAdmitted(f"{node.sql()}: name the table alone, without a dataset", *_place(node))
    if node.name.lower() in tables or _is_cte(node):
        return
    known = ", ".join(sorted(tables))
    raise NotAdmitted(f"there is no table {node.name!r}; there are {known}", *_place(node))


def _is_cte(node: exp.Table) -> bool:
    """Is it the name of a WITH query around it?"""
    scope: exp.Expr | None = node
    while scope is not None:
        with_ = scope.args.get("with_") or scope.args.get("with")
        if with_ and any(cte.alias == node.name for cte in with_.expressions):
            return True
        scope = scope.parent
    return False


def _place(node: exp.Expression) -> tuple[int | None, int | None]:
    for part in node.walk():
        if "line" in part.meta:
            return part.meta["line"], part.meta.get("col")
    return None, None
