"""How the rows of a query are drawn: as its panel says, and by their columns where it does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from reports.boards.definition import SqlChart
from reports.insights.question import QuestionError

Unit = Literal["time", "number", "label"]
_ROLES = ("x", "y", "color", "row")
_PLACED = ("line", "area", "bar", "stacked_bar")  # drawn over an x
_CHOSEN = (*_PLACED, "number")  # marks whose columns can be chosen


@dataclass(frozen=True)
class _Columns:
    """The columns of an answer, in their order."""

    names: Sequence[str]
    units: Sequence[Unit]

    def first(self, *units: Unit, but: Sequence[str] = ()) -> str:
        """The first column of the first of these units that there is; empty: none."""
        found = zip(self.names, self.units, strict=True)
        free = [(name, unit) for name, unit in found if name not in but]
        return next((name for wanted in units for name, unit in free if unit == wanted), "")


def chart_of(said: SqlChart | None, names: Sequence[str], units: Sequence[Unit]) -> dict[str, str]:
    """Mark and columns of x, y, color and row.

    Raises QuestionError for columns that are not there, and where the mark needs others than these.
    """
    columns = _Columns(names, units)
    chart = said or SqlChart(mark=_mark(columns))
    found: dict[str, str] = msgspec.to_builtins(chart)
    for role in _ROLES:
        if found[role] and found[role] not in names:
            raise QuestionError(
                f"chart {role}={found[role]!r} is no column of the query; it has {', '.join(names)}"
            )
    return _filled(found, columns) if chart.mark in _CHOSEN else found


def _mark(columns: _Columns) -> Literal["line", "bar", "number", "table"]:
    """A line over time, bars of names; one number alone; else the table."""
    if not columns.first("number"):
        return "table"
    if len(columns.names) == 1:
        return "number"
    if columns.first("time"):
        return "line"
    return "bar" if list(columns.units).count("label") == 1 else "table"


def _filled(said: dict[str, str], columns: _Columns) -> dict[str, str]:
    """With the columns that are not said: time or names along, the first number up."""
    made = dict(said)
    if made["mark"] in _PLACED:
        made["x"] = said["x"] or columns.first("time", "label", "number", but=[said["y"]])
        if not said["x"] and not said["y"]:  # who says what is drawn says all that splits it
            made["color"] = said["color"] or columns.first("label", but=[made["x"]])
    made["y"] = said["y"] or columns.first("number", but=[made["x"], made["color"]])
    missing = [role for role in ("x", "y") if not made[role]]
    if made["mark"] == "number":
        missing = [role for role in missing if role == "y"]
    if missing:
        what = "a column of numbers" if "y" in missing else "two columns"
        raise QuestionError(
            f"chart mark={made['mark']!r} needs {what}; the query has {', '.join(columns.names)}: "
            "choose the table, or select more"
        )
    return made
