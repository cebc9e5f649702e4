"""Asks what is in a panel: a question, a query, or a live tile, ready to be shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from catalog.documents import Documents
from reports.boards.answers import Answers
from reports.boards.definition import Panel, Scope, SqlChart, scoped
from reports.boards.query_chart import Unit, chart_of
from reports.boards.tiles import TILES, tile
from reports.charts.drawn import drawn
from reports.charts.noted import with_notes
from reports.insights.kinds import ask, check
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
ZONE = "time_zone"  # and the one for where these days begin
_USUAL_DAYS = "last_30_days"
_NO_TITLES = {"x_title": "", "y_title": ""}


@dataclass(frozen=True)
class Panels:
    """Asks panels. live: the live page's numbers of a project.

    Threads may share it: what one has asked, others are given for a short time.
    """

    warehouse: Warehouse
    documents: Documents
    answers: Answers
    live: Callable[[str], dict[str, Any]]

    def shown(
        self,
        panel: Panel,
        scope: Scope,
        source: Source,
        *,
        is_noted: bool = True,
        user: str | None = None,
    ) -> bytes:
        """JSON of what `show` of static/chart.js takes, or {"text"}, of a panel of words.

        is_noted: with the project's annotations
        user:     who tries a query that is not saved, whose queries at once are limited
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
            check(panel.kind, question, source)  # what is remembered was asked by others
            asked = (panel.kind, msgspec.json.encode(question).decode())
            make = lambda: as_json(ask(panel.kind, question, source))  # noqa: E731
        else:
            sql, given = self._sql(panel, scope, source)
            asked = ("sql", sql, repr(sorted(given.items())), repr(panel.chart))
            make = lambda: self._query(source, sql, given, panel.chart, user)  # noqa: E731
        # The day is part of it: `last_30_days` of tomorrow is another question.
        notes = source.annotations() if is_noted else {}
        key = (source.project, source.today, *asked, tuple(notes.items()))
        return self.answers.get(key, lambda: msgspec.json.encode(drawn(with_notes(make(), notes))))

    def _tile(self, panel: Panel, project: str) -> dict[str, Any]:
        if panel.live not in TILES:
            raise QuestionError(
                f"there is no live tile {panel.live!r}; there are {', '.join(TILES)}"
            )
        return tile(panel.live, self.live(project))

    def _sql(self, panel: Panel, scope: Scope, source: Source) -> tuple[str, dict[str, Any]]:
        """A panel's query and its parameters: their own or saved values, and the board's days."""
        sql, given = panel.sql, values_of(panel.parameters)
        if panel.query:
            found = self.documents.get(source.project, "query", panel.query)
            if found is None:
                raise QuestionError(
                    f"the saved query {panel.query!r} is gone; edit the panel or remove it"
                )
            sql, given = str(found.body["sql"]), values_of(found.body.get("parameters"))
        days = days_of(scope.dates or _USUAL_DAYS, source.today)
        named = {name.lower() for name in re.findall(r"@(\w+)", sql)}
        known = dict(zip((*DAYS, ZONE), (*days, source.zone), strict=True))
        given |= {name: value for name, value in known.items() if name in named}
        return sql, given

    def _query(
        self,
        source: Source,
        sql: str,
        given: dict[str, Any],
        chart: SqlChart | None,
        user: str | None,
    ) -> dict[str, Any]:
        found = self.warehouse.ask(source.project, sql, given, user=user)
        return sql_answer(found, chart, source.zone)


def sql_answer(found: Result, chart: SqlChart | None, zone: str) -> dict[str, Any]:
    """Rows of a query as an answer, instants in the zone that it says.

    Raises QuestionError for a chart that the rows do not give.
    """
    units = [_unit(kind) for kind in found.types]
    columns = [
        {"name": name, "title": name, "unit": unit, "low": "", "high": ""}
        for name, unit in zip(found.columns, units, strict=True)
    ]
    rows, here = len(found.rows), ZoneInfo(zone)
    cut = [f"Only the first {rows:,} rows are here; aggregate or add a LIMIT."]
    return {
        "kind": "sql",
        "question": {},
        "columns": columns,
        "rows": [[plain(_local(value, here)) for value in row] for row in found.rows],
        "chart": {**chart_of(chart, found.columns, units), **_NO_TITLES},
        "totals": [],
        "notes": cut if found.truncated else [],
        "status": found.status,
        "error": 0.0,
        "as_of": when(found.as_of, zone),
        "complete_until": when(found.complete_until, zone),
        "time_zone": zone,
        "identity": "as the query counts them" if found.status else "",
        "elapsed_ms": round(found.elapsed_s * 1000),
    }


def _local(value: Any, zone: ZoneInfo) -> Any:
    if not isinstance(value, datetime) or value.tzinfo is None:
        return value
    try:
        return value.astimezone(zone)
    except OverflowError:  # in the first or last hours that there are
        return value


def _unit(kind: str) -> Unit:
    if _TIME.fullmatch(kind):
        return "time"
    return "number" if _NUMBER.fullmatch(kind) else "label"
