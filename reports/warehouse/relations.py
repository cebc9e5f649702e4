"""All that SQL can read in a project: the tables, and views that are made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import sqlglot
from sqlglot import exp

from reports.warehouse.days import ALL, Days
from reports.warehouse.execute import BROUGHT
from reports.warehouse.files import WarehouseFiles
from reports.warehouse.views import TABLES, View, view

_SQL = Path(__file__).parent.parent / "sql"
_OF_PEOPLE = (_SQL / "events_of_people.sql").read_text()
# Made of all rows of other tables, whatever is asked of them: name -> DuckDB's SELECT.
MADE = {
    name: (_SQL / f"view_{name}.sql").read_text().format(events_of_people=_OF_PEOPLE)
    for name in ("people", "experiments")
}


def names(typed: Mapping[str, str]) -> frozenset[str]:
    """Every name that a query may read. typed: views of registered schemas by name."""
    return frozenset({*TABLES, *MADE, *BROUGHT, *typed})


def derived(name: str, typed: Mapping[str, str]) -> str | None:
    """DuckDB's SELECT of a view over other tables; None where it is a table itself."""
    return MADE.get(name) or typed.get(name)


def tables_of(used: Iterable[str], typed: Mapping[str, str]) -> list[str]:
    """The tables themselves that are read, in order of their names."""
    found: set[str] = set()
    for name in set(used) - BROUGHT:
        if name in MADE:
            found |= made_of(name)[0]
        else:
            found.add("events" if name in typed else name)
    return sorted(found)


@cache
def made_of(name: str) -> tuple[frozenset[str], frozenset[str]]:
    """The tables that one of `MADE` reads, and the columns that it names of them."""
    body = sqlglot.parse_one(MADE[name], dialect="duckdb")
    tables = frozenset(table.name for table in body.find_all(exp.Table))
    return tables & TABLES.keys(), frozenset(c.name.lower() for c in body.find_all(exp.Column))


def relations(
    used: Iterable[str],
    files: WarehouseFiles,
    project: str,
    typed: Mapping[str, str],
    days: Mapping[str, Days],
    kept: str = "",
) -> list[View]:
    """The views of a query, each after those that it reads.

    days: of a table, where not all; kept: as `view` takes it
    """
    used = list(used)
    made = [
        view(name, files, project, days.get(name, ALL), kept=kept)
        for name in tables_of(used, typed)
    ]
    for name in sorted(used):
        sql = derived(name, typed)
        if sql is not None:
            made.append(View(f'CREATE VIEW "{name}" AS {sql}', (), None, None, 0, 0))
    return made
