"""Rows of a table by days, for bulk: each event once, nobody who is suppressed."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import date
from typing import Any

import duckdb

from reports.exports.cells import Column, name_sql
from reports.insights.question import days_of, span_us
from reports.warehouse.days import ALL, Days, parts_within
from reports.warehouse.erased import IS_ERASED, TABLE, erased, ids_sql
from reports.warehouse.execute import quoted
from reports.warehouse.files import WarehouseFiles
from reports.warehouse.views import TABLES, view
from schemas_avro import load
from transforms.grid import DAY_US

_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Raw:
    """What is wanted. dates: as questions have them, in `zone`; empty: all."""

    project: str
    table: str
    dates: str
    columns: tuple[str, ...]
    today: date
    zone: str


class RawRows:
    """The rows, of one state of the table: what comes meanwhile is not in them.

    suppressed: digests of people whose events are left out
    """

    def __init__(self, wanted: Raw, files: WarehouseFiles, suppressed: Set[bytes]) -> None:
        self._wanted, self._suppressed = wanted, suppressed
        self._table = TABLES[wanted.table]
        self._days, self._parts = self._wanted_days(), files.of(self._table).days
        self._view = view(wanted.table, files, wanted.project, self._days)
        self._erased = 0

    @property
    def as_of(self) -> int | None:
        """When the table was last written, us."""
        return self._view.committed_at

    @property
    def complete_until(self) -> int | None:
        """Events received up to here are in it, us."""
        return self._view.received_until

    def relation(self, engine: duckdb.DuckDBPyConnection) -> str:
        """A view with the rows, made in the engine; its name."""
        engine.execute(self._view.sql)
        source, within = self._wanted.table, self._within()
        kept = within
        if self._wanted.table == "events" and self._suppressed:
            self._note_erased(engine, source, within)
            kept = f"{within} AND NOT ({IS_ERASED})"
            counted = f"SELECT count(*) FROM {source} WHERE {within} AND ({IS_ERASED})"
            self._erased = _number(engine, counted)
        columns = ", ".join(map(name_sql, self._wanted.columns)) or "*"
        engine.execute(f"CREATE VIEW wanted AS SELECT {columns} FROM {source} WHERE {kept}")
        return "wanted"

    def _wanted_days(self) -> Days:
        """Of the files that can have rows of the dates."""
        if not self._wanted.dates:
            return ALL
        first, last = days_of(self._wanted.dates, self._wanted.today)
        if self._is_by_date():  # a day of the project, not of UTC
            return Days((first - _EPOCH).days, (last - _EPOCH).days)
        start, end = span_us((first, last), self._wanted.zone)
        return Days(start // DAY_US, (end - 1) // DAY_US)

    def _is_by_date(self) -> bool:
        kinds = {f.name: f.kind for f in load(self._table.record).fields}
        return kinds[self._table.day_of] == "date"

    def _within(self) -> str:
        column, wanted = self._table.day_of, self._wanted
        if not wanted.dates:
            return "true"
        first, last = days_of(wanted.dates, wanted.today)
        if self._is_by_date():
            return f"{column} BETWEEN DATE '{first}' AND DATE '{last}'"
        start, end = span_us((first, last), wanted.zone)
        at = "make_timestamptz"
        return f"{column} >= {at}({start}) AND {column} < {at}({end})"

    def _note_erased(self, engine: duckdb.DuckDBPyConnection, source: str, within: str) -> None:
        """The ids among the rows that are suppressed, as a table."""
        ids = (name for (name,) in engine.execute(ids_sql(source, within)).fetchall())
        engine.register("_erased", erased(ids, self._wanted.project, self._suppressed))
        engine.execute(f"CREATE TABLE {TABLE} AS SELECT id FROM _erased")

    def left_out(self, engine: duckdb.DuckDBPyConnection, kept_rows: int) -> dict[str, int | None]:
        """How many rows of these days are not in the export, and why."""
        if self._wanted.table != "events":
            return {}
        stored = 0
        near = set(parts_within(self._table, self._parts, self._days))
        # A file that came between the two looks is read, whatever it is of.
        paths = [p for p in self._view.stored if p in near or p not in self._parts]
        if paths:
            listed = ", ".join(map(quoted, paths))
            stored = _number(
                engine,
                f"SELECT count(*) FROM read_parquet([{listed}], union_by_name = true, "
                f"hive_partitioning = false) WHERE project = {quoted(self._wanted.project)} "
                f"AND {self._within()}",
            )
        return {"duplicates": stored - kept_rows - self._erased, "suppressed": self._erased}

    def json_columns(self, columns: Sequence[Column]) -> frozenset[str]:
        """Those that hold JSON text."""
        fields = load(self._table.record).fields
        return frozenset({f.name for f in fields if f.json} & {c.name for c in columns})

    def notes(self) -> list[str]:
        """What a reader must know."""
        if self._wanted.table == "events":
            return [
                "Of the copies of (source, type, event_id) the first received is in it; rows of "
                "suppressed people are left out."
            ]
        return ["Rows as they were computed; they are of people as they were then."]


def _number(engine: duckdb.DuckDBPyConnection, sql: str) -> int:
    found: Any = engine.execute(sql).fetchone()
    return int(found[0])
