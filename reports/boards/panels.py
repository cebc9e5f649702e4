"""Asks what is in a panel: a question, a query, or a live tile, ready to be shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from catalog.documents import Documents
from reports.boards.answers import Answers
from reports.boards.definition import Panel, Scope, SqlChart, scoped
from reports.boards.tiles import TILES, tile
from reports.charts.drawn import drawn
from reports.insights.kinds import ask
from reports.insights.question import QuestionError, days_of
from reports.insights.routes import as_json
from reports.insights.source import Source
from reports.present import when
from reports.warehouse.engine import Result, Warehouse
from reports.warehouse.parameters import values_of
from reports.warehouse.shown import plain

_TIME = re.compile(r"DATE|TIMESTAMP.*|DATETIME")
_NUMBER = re.compile(r"(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL\(.*\))")
DAYS = ("first_day", "last_day")  # parameters that stand for the board's days
_USUAL_DAYS = "last_30_days"
_NO_CHART = {"x_title": "", "y_title": ""}


@dataclass(frozen=True)
class Panels:
    """Asks panels. live: the live page's numbers of a project.

    Threads may share it: what one has asked, others are given for a short time.
    """

    warehouse: Warehouse
    documents: Documents
    answers: Answers
    live: Callable[[str], dict[str, Any]]

    def shown(self, panel: Panel, scope: Scope, source: Source) -> bytes:
        """JSON of what `show` of static/chart.js takes, or {"text"}, of a panel of words.

        Raises QuestionError, and NotAdmitted or QueryFailed of reports.warehouse.engine.
        """
        if panel.text:
            return msgspec.json.encode({"text": panel.text})
        if panel.live:
            return msgspec.json.encode(drawn(self._tile(panel, source.project)))
        asked: tuple[str, ...]
        make: Callable[[], dict[str, Any]]
        if panel.kind:
            question = scoped(panel.question, scope, own_dates=panel.own_dates)
            asked = (panel.kind, msgspec.json.encode(question).decode())
            make = lambda: as_json(ask(panel.kind, question, source))  # noqa: E731
        else:
            sql, given = self._sql(panel, scope, source)
            asked = ("sql", sql, repr(sorted(given.items())), repr(panel.chart))
            make = lambda: self._query(source, sql, given, panel.chart)  # noqa: E731
        # The day is part of it: `last_30_days` of tomorrow is another question.
        key = (source.project, source.today, *asked)
        return self.answers.get(key, lambda: msgspec.json.encode(drawn(make())))

    def _tile(self, panel: Panel, project: str) -> dict[str, Any]:
        if panel.live not in TILES:
            raise QuestionError(
                f"there is no live tile {panel.live!r}; there are {', '.join(TILES)}"
            )
        return tile(panel.live, self.live(project))

    def _sql(self, panel: Panel, scope: Scope, source: Source) -> tuple[str, dict[str, Any]]:
        """A panel's query and the values of its parameters: saved ones, and the board's days."""
        sql, given = panel.sql, {}
        if panel.query:
            found = self.documents.get(source.project, "query", panel.query)
            if found is None:
                raise QuestionError(
                    f"the saved query {panel.query!r} is gone; edit the panel or remove it"
                )
            sql, given = str(found.body["sql"]), values_of(found.body.get("parameters"))
        days = days_of(scope.dates or _USUAL_DAYS, source.today)
        named = {name.lower() for name in re.findall(r"@(\w+)", sql)}
        given |= {n: day for n, day in zip(DAYS, days, strict=True) if n in named}
        return sql, given

    def _query(
        self, source: Source, sql: str, given: dict[str, Any], chart: SqlChart | None
    ) -> dict[str, Any]:
        found = self.warehouse.ask(source.project, sql, given)
        return sql_answer(found, chart, source.zone)


def sql_answer(found: Result, chart: SqlChart | None, zone: str) -> dict[str, Any]:
    """Rows of a query as an answer. Raises QuestionError for a chart of columns not there."""
    units = [_unit(kind) for kind in found.types]
    columns = [
        {"name": name, "title": name, "unit": unit, "low": "", "high": ""}
        for name, unit in zip(found.columns, units, strict=True)
    ]
    how = _guessed(found.columns, units) if chart is None else msgspec.to_builtins(chart)
    for role in ("x", "y", "color", "row"):
        if how[role] and how[role] not in found.columns:
            raise QuestionError(
                f"chart {role}={how[role]!r} is no column of the query; it has "
                f"{', '.join(found.columns)}"
            )
    rows = len(found.rows)
    cut = [f"Only the first {rows:,} rows are here; aggregate or add a LIMIT."]
    return {
        "kind": "sql",
        "question": {},
        "columns": columns,
        "rows": [[plain(value) for value in row] for row in found.rows],
        "chart": {**how, **_NO_CHART},
        "totals": [],
        "notes": cut if found.truncated else [],
        "status": found.status,
        "error": 0.0,
        "as_of": when(found.as_of, zone),
        "complete_until": None,
        "time_zone": zone,
        "identity": "",
        "elapsed_ms": round(found.elapsed_s * 1000),
    }


def _unit(kind: str) -> str:
    if _TIME.fullmatch(kind):
        return "time"
    return "number" if _NUMBER.fullmatch(kind) else "label"


def _guessed(names: list[str], units: list[str]) -> dict[str, str]:
    """A line over time, bars of names; one number alone; else the table."""

    def first(*wanted: str) -> str:
        return next((n for n, unit in zip(names, units, strict=True) if unit in wanted), "")

    time, label, number = first("time"), first("label"), first("number")
    how = {"mark": "table", "x": "", "y": "", "color": "", "row": ""}
    if len(names) == 1 and number:
        return how | {"mark": "number", "y": number}
    if time and number:
        return how | {"mark": "line", "x": time, "y": number, "color": label}
    if label and number and units.count("label") == 1:
        return how | {"mark": "bar", "x": label, "y": number}
    return how
