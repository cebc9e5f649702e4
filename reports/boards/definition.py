"""What a dashboard is, as JSON: checked when it is saved, imported or previewed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from reports.insights.answer import Mark
from reports.insights.kinds import KINDS
from reports.insights.question import Filter, QuestionError, read
from reports.warehouse.parameters import ParameterError, values_of

KIND = "dashboard"  # on the shelf of documents
MOST_PANELS = 40
_CONTENTS = ("kind", "sql", "query", "live", "text")
_BUILT_IN = Path(__file__).parent / "built_in"


class BoardError(ValueError):
    """The definition cannot be used; the message names the field, the value and the remedy."""


class SqlChart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the rows of a query are drawn: names of its columns, as in docs/charts.md.

    Columns that are not said are chosen, where the mark is lines, areas, bars or a number.
    """

    mark: Mark = "table"
    x: str = ""
    y: str = ""
    color: str = ""
    row: str = ""


class Panel(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """One panel: exactly one of kind, sql, query, live and text says what is in it.

    kind, question: a question of a kind, as /api/insights takes it
    sql:            a query in BigQuery's dialect
    parameters:     values of its parameters, as /api/sql takes them
    query:          id of a saved query, which has its own
    chart:          how either is drawn; chosen by the columns where it is not said
    live:           name of a live tile
    text:           words of your own
    w, h:           columns of twelve, and rows
    own_dates:      the board's days do not apply to it
    """

    title: Annotated[str, Meta(max_length=200)] = ""
    kind: str = ""
    question: dict[str, Any] = {}
    sql: Annotated[str, Meta(max_length=100_000)] = ""
    parameters: dict[str, Any] = {}
    query: str = ""
    chart: SqlChart | None = None
    live: str = ""
    text: Annotated[str, Meta(max_length=10_000)] = ""
    w: Annotated[int, Meta(ge=1, le=12)] = 6
    h: Annotated[int, Meta(ge=1, le=8)] = 3
    own_dates: bool = False


class Board(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A dashboard.

    dates, where, cohort: put onto the question of every panel, where they are said
    refresh_s:            how often panels are asked again, in s; 0: only when somebody asks
    """

    title: Annotated[str, Meta(min_length=1, max_length=200)]
    description: Annotated[str, Meta(max_length=2_000)] = ""
    panels: Annotated[tuple[Panel, ...], Meta(max_length=MOST_PANELS)] = ()
    dates: str = ""
    where: tuple[Filter, ...] = ()
    cohort: str = ""
    refresh_s: Annotated[int, Meta(ge=0, le=86_400)] = 0


@dataclass(frozen=True)
class Scope:
    """Days and people that a whole board is asked about; empty: each panel's own."""

    dates: str = ""
    where: tuple[Filter, ...] = ()
    cohort: str = ""


def board_of(value: Any) -> Board:
    """A board out of JSON's values. Raises BoardError."""
    board: Board = _converted(value, Board)
    for number, panel in enumerate(board.panels, 1):
        _check(panel, f"panel {number}")
    if 0 < board.refresh_s < 10:
        raise BoardError(f"refresh_s={board.refresh_s} is too often: 0 for never, or 10 and more")
    return board


def stored(value: Any) -> Board:
    """A board that was saved. A panel of a kind that is gone says so when it is asked."""
    board: Board = _converted(value, Board)
    return board


def panel_of(value: Any) -> Panel:
    """A panel out of JSON's values. Raises BoardError."""
    panel: Panel = _converted(value, Panel)
    _check(panel, "the panel")
    return panel


def _converted(value: Any, to: type[Any]) -> Any:
    try:
        return msgspec.convert(value, to, strict=True)
    except (msgspec.ValidationError, RecursionError) as error:
        what = "the dashboard " if to is Board else "the panel "
        raise BoardError(str(error).replace("Object ", what, 1)) from None


def _check(panel: Panel, name: str) -> None:
    said = [field for field in _CONTENTS if getattr(panel, field)]
    if len(said) != 1:
        raise BoardError(
            f"{name} ({panel.title or 'no title'}) has {' and '.join(said) or 'nothing'}: give it "
            f"exactly one of {', '.join(_CONTENTS)}"
        )
    if panel.parameters and not panel.sql:
        raise BoardError(f"{name}: parameters belong to sql; a saved query has its own")
    try:
        values_of(panel.parameters)
    except ParameterError as error:
        raise BoardError(f"{name}: {error}") from None
    if panel.kind:
        if panel.kind not in KINDS:
            raise BoardError(f"{name}: no kind {panel.kind!r}; there are {', '.join(KINDS)}")
        try:
            read(KINDS[panel.kind].question, panel.question)
        except QuestionError as error:
            raise BoardError(f"{name} ({panel.title or panel.kind}): {error}") from None


def scoped(question: dict[str, Any], scope: Scope, *, own_dates: bool) -> dict[str, Any]:
    """A panel's question with the board's days, filters and cohort on it."""
    asked = dict(question)
    if scope.dates and not own_dates:
        asked["dates"] = scope.dates
    if scope.where:
        asked["where"] = [*asked.get("where", []), *msgspec.to_builtins(scope.where)]
    if scope.cohort:
        asked["cohort"] = scope.cohort
    return asked


def plain(value: Board | Panel) -> dict[str, Any]:
    """As JSON's values; what has its default is left out."""
    made: dict[str, Any] = msgspec.to_builtins(value)
    return made


@cache
def built_in() -> dict[str, Board]:
    """The boards that every project has, by id."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted(_BUILT_IN.glob("*.json"))}
    order = sorted(found, key=lambda name: found[name].pop("order"))
    return {name: _converted(found[name], Board) for name in order}
