"""What can be exported, read from JSON and checked before a job is made of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Any, Literal

import msgspec

from reports.insights import all as _all_kinds  # noqa: F401 - registers the kinds
from reports.insights.kinds import KINDS
from reports.insights.question import QuestionError, days_of, read
from reports.warehouse.admit import NotAdmitted
from reports.warehouse.views import TABLES
from schemas_avro import load

Format = Literal["csv", "json", "jsonl", "parquet"]
_STEM = re.compile(r"[^a-z0-9]+")
_MAX_SQL = 100_000  # characters


class ExportError(ValueError):
    """It cannot be exported; the message names the field, the value and the remedy.

    line, column: of the SQL, from 1; None where the place is not known
    """

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.line, self.column = line, column


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An export: of a query, of a question, or of a table's rows.

    name:   what the list and the files are called after; empty: what is exported
    raw:    leave cells of CSV that a spreadsheet would take for formulas as they are
    sql:    a query in BigQuery's dialect, with the values of its parameters
    kind, question: a question as /api/insights/KIND takes it
    table:  rows of a table, of the days `dates` in the project's zone (as questions have them;
            empty: all), with some of its `columns` (none named: all)
    """

    format: Format = "csv"
    name: str = ""
    raw: bool = False
    sql: str = ""
    parameters: dict[str, Any] = {}
    kind: str = ""
    question: dict[str, Any] = {}
    table: str = ""
    dates: str = ""
    columns: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """How a list names it."""
        first_line = self.sql.strip().split("\n")[0]
        return self.name or self.table or self.kind or first_line[:80]

    @property
    def stem(self) -> str:
        """How the names of its files begin."""
        named = _STEM.sub("-", (self.name or self.table or self.kind).lower()).strip("-")
        return named[:60] or "query"


def asked(value: Any, admitted: Callable[[str, Any], Any], today: date) -> Asked:
    """What JSON's values ask for. Raises ExportError.

    admitted: raises NotAdmitted for SQL, and ValueError for parameters, that may not run
    """
    try:
        found = msgspec.convert(value, Asked, strict=True)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ExportError(str(error).replace("Object ", "the export ", 1)) from None
    if len(found.name) > 200:
        raise ExportError(f"name={found.name[:40]!r} has more than 200 characters")
    wanted = [name for name in ("sql", "kind", "table") if getattr(found, name)]
    if len(wanted) != 1:
        said = " and ".join(wanted) or "none of them"
        raise ExportError(f"give one of sql, kind and table; there is {said}")
    if not found.table and (found.dates or found.columns):
        raise ExportError("dates and columns go with table; say them in the query or question")
    if found.raw and found.format != "csv":
        raise ExportError(f"raw goes with format csv, not {found.format}")
    try:
        _CHECKS[wanted[0]](found, admitted, today)
    except NotAdmitted as error:
        raise ExportError(str(error), error.line, error.column) from None
    except QuestionError as error:
        raise ExportError(str(error)) from None
    return found


def _check_sql(found: Asked, admitted: Callable[[str, Any], Any], today: date) -> None:
    if len(found.sql) > _MAX_SQL:
        raise ExportError(f"sql has more than {_MAX_SQL:,} characters")
    try:
        admitted(found.sql, found.parameters)
    except NotAdmitted:
        raise
    except ValueError as error:
        raise ExportError(str(error)) from None


def _check_kind(found: Asked, admitted: Callable[[str, Any], Any], today: date) -> None:
    if found.kind not in KINDS:
        raise ExportError(f"kind={found.kind!r} is none of {', '.join(KINDS)}")
    read(KINDS[found.kind].question, found.question)


def _check_table(found: Asked, admitted: Callable[[str, Any], Any], today: date) -> None:
    if found.table not in TABLES:
        raise ExportError(f"table={found.table!r} is none of {', '.join(TABLES)}")
    if found.dates:
        days_of(found.dates, today)
    known = load(TABLES[found.table].record).field_names
    for name in found.columns:
        if name not in known:
            raise ExportError(f"columns: {name!r} is none of {found.table}: {', '.join(known)}")


_CHECKS = {"sql": _check_sql, "kind": _check_kind, "table": _check_table}
