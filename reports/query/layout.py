"""Lays a query out: one clause a line. What it means stays the same, or it stays as it was."""

from __future__ import annotations

import sqlglot
from sqlglot import exp

from reports.warehouse.admit import parsed

WIDTH = 88


def laid_out(sql: str) -> str:
    """The query in BigQuery's dialect, anew. Raises NotAdmitted for what is no query."""
    query = parsed(sql)
    try:
        text = query.sql("bigquery", pretty=True, max_text_width=WIDTH, normalize_functions="upper")
        again = sqlglot.parse_one(text, dialect="bigquery")
    except (sqlglot.errors.SqlglotError, RecursionError):
        return sql
    return text if _meaning(again) == _meaning(query) else sql


def _meaning(query: exp.Expr) -> exp.Expr:
    """The tree without comments and places."""
    bare = query.copy()
    for node in bare.walk():
        node.comments = None
    return bare
