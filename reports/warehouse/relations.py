"""All that SQL can read in a project: the tables, and views that are made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from reports.warehouse.days import ALL, Days
from reports.warehouse.execute import LIVE
from reports.warehouse.files import WarehouseFiles
from reports.warehouse.views import TABLES, View, view

PEOPLE = "people"
_PEOPLE = (Path(__file__).parent.parent / "sql" / "view_people.sql").read_text()


def names(typed: Mapping[str, str]) -> frozenset[str]:
    """Every name that a query may read. typed: views of registered schemas by name."""
    return frozenset({*TABLES, PEOPLE, LIVE, *typed})


def derived(name: str, typed: Mapping[str, str]) -> str | None:
    """DuckDB's SELECT of a view over other tables; None where it is a table itself."""
    return _PEOPLE if name == PEOPLE else typed.get(name)


def tables_of(used: Iterable[str], typed: Mapping[str, str]) -> list[str]:
    """The tables themselves that are read, in order of their names."""
    found: set[str] = set()
    for name in set(used) - {LIVE}:
        if name == PEOPLE:
            found |= {"events", "identities"}
        else:
            found.add("events" if name in typed else name)
    return sorted(found)


def relations(
    used: Iterable[str],
    files: WarehouseFiles,
    project: str,
    typed: Mapping[str, str],
    days: Mapping[str, Days],
) -> list[View]:
    """The views of a query, each after those that it reads. days: of a table, where not all."""
    used = list(used)
    made = [view(name, files, project, days.get(name, ALL)) for name in tables_of(used, typed)]
    for name in sorted(used):
        sql = derived(name, typed)
        if sql is not None:
            made.append(View(f'CREATE VIEW "{name}" AS {sql}', (), None, None, 0, 0))
    return made
