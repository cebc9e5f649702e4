"""What comes of a question: a table whose columns say what they are, and how to draw it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

# time: ISO day or instant in the project's zone; label: text; count, money (minor units, with a
# column `currency`), ratio (0 to 1), number, seconds, bytes
Unit = Literal["time", "label", "count", "money", "ratio", "number", "seconds", "bytes"]
Mark = Literal["line", "area", "bar", "stacked_bar", "funnel", "heatmap", "flow", "number", "table"]
Trust = Literal["exact", "approximate", "live, approximate"]


@dataclass(frozen=True)
class Column:
    """A column. low, high: names of the columns that bound it, where it is an estimate."""

    name: str
    title: str
    unit: Unit
    low: str = ""
    high: str = ""


@dataclass(frozen=True)
class Chart:
    """How the rows are drawn: names of columns. One description for page, server and dashboards.

    x, y:     columns on the axes; of a heatmap x and `row` make the cell and y its colour
    color:    column that tells series apart
    row:      column of a heatmap's rows, or where a flow comes from (x: where it goes to)
    before:   column of what y was in the period that it is compared to: a second, dashed line
    grain:    how long a period of x is, where x has the first days of periods; empty: a day
    x_title, y_title: titles where the columns' own do not fit
    """

    mark: Mark
    x: str = ""
    y: str = ""
    color: str = ""
    row: str = ""
    before: str = ""
    grain: Literal["", "hour", "day", "week", "month"] = ""
    x_title: str = ""
    y_title: str = ""


@dataclass(frozen=True)
class Table:
    """Columns, rows in their order, and remarks for the reader.

    chart:  how it is drawn
    totals: single numbers above the table: (title, value, unit)
    notes:  what a reader must know: what was left out, what is not computable and why
    trust:  exact, or approximate with `error` (relative, one standard error)
    """

    columns: tuple[Column, ...]
    rows: list[tuple[Any, ...]]
    chart: Chart
    totals: tuple[tuple[str, Any, Unit], ...] = ()
    notes: tuple[str, ...] = ()
    trust: Trust = "exact"
    error: float = 0.0


@dataclass(frozen=True)
class Answer:
    """A table and what is to be said of all its numbers.

    days:           first and last day asked for
    as_of:          when what it was read from was last written, us
    complete_until: events received up to here are in it, us
    zone:           time zone of its days
    identity:       who counts as one person
    """

    kind: str
    question: dict[str, Any]
    table: Table
    days: tuple[date, date]
    as_of: int | None
    complete_until: int | None
    zone: str
    identity: str
    elapsed_s: float
    rows_read: int = 0
