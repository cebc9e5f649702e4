"""An answer's rows as a chart's data: short names of fields, numbers on their scale, texts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from reports.charts.values import (
    Scale,
    is_currency,
    is_day,
    is_time,
    number_of,
    scale_of,
    text,
    wall_clock_ms,
)

MOST_ROWS, MOST_SERIES = 5_000, 30
_DAY_MS = 86_400_000
_MOST_TIPS = 12  # columns in a tip


@dataclass(frozen=True)
class Rows:
    """The rows of an answer (JSON of reports.insights.routes.as_json), to be drawn.

    Fields of a datum: `x`, `y`, `before`, `low`, `high`, `color`, `row` as the chart names columns,
    and
    `t0`, `t1`, … with the text of each column.
    """

    answer: dict[str, Any]

    @property
    def chart(self) -> dict[str, Any]:
        """How it is drawn."""
        found: dict[str, Any] = self.answer["chart"]
        return found

    @cached_property
    def at(self) -> dict[str, int]:
        """Place of each column, by name."""
        return {column["name"]: i for i, column in enumerate(self.answer["columns"])}

    def column(self, role: str) -> dict[str, Any] | None:
        """The column that has a role in the chart: x, y, color or row."""
        place = self.at.get(self.chart.get(role) or "")
        found: dict[str, Any] | None = self.answer["columns"][place] if place is not None else None
        return found

    def title(self, role: str) -> str:
        """Of an axis or legend."""
        named = self.chart.get(f"{role}_title")
        column = self.column(role)
        return str(named or (column["title"] if column else ""))

    def unit(self, role: str) -> str:
        """Of the column of a role; label where there is none."""
        column = self.column(role)
        return str(column["unit"]) if column else "label"

    def values(self, role: str) -> list[Any]:
        """All values of a role."""
        place = self.at.get(self.chart.get(role) or "")
        return [] if place is None else [row[place] for row in self.answer["rows"]]

    def currency(self, row: list[Any]) -> str:
        """Of a row; of a question about one currency, that one."""
        place = self.at.get("currency")
        return str(row[place] or "") if place is not None else ""

    @cached_property
    def currencies(self) -> list[str]:
        """Those of all rows."""
        return list(dict.fromkeys(filter(is_currency, map(self.currency, self.answer["rows"]))))

    @cached_property
    def color(self) -> str:
        """Name of the column that tells series apart; money of several currencies has one."""
        named = str(self.chart.get("color") or "")
        return named if named in self.at else "currency" if self.is_mixed else ""

    @cached_property
    def is_mixed(self) -> bool:
        """Is there money of several currencies?"""
        return self.unit("y") == "money" and len(self.currencies) > 1

    @cached_property
    def scale(self) -> Scale:
        """Of the y axis. Several currencies share it, each in whole units of its own."""
        shown = self.values("y") + self.values("before")
        return scale_of(shown, self.unit("y"), *self.currencies[:1])

    @cached_property
    def series(self) -> list[str]:
        """Names of the series, in the order of the rows."""
        return list(dict.fromkeys(self._names)) if self.color else []

    @cached_property
    def _names(self) -> list[str]:
        """Of each row's series; "" where there are none."""
        rows = self.answer["rows"]
        return list(map(self._series_of, rows)) if self.color else [""] * len(rows)

    def _series_of(self, row: list[Any]) -> str:
        """Name of a row's series; where currencies differ, each has its own."""
        place = self.at[self.color]
        name = text(row[place], self.answer["columns"][place]["unit"])
        currency = self.currency(row) if self.is_mixed else ""
        return f"{name} {currency}" if currency and currency not in name.split() else name

    @cached_property
    def is_temporal(self) -> bool:
        """Are all x times?"""
        values = self.values("x")
        return bool(values) and all(map(is_time, values))

    @cached_property
    def is_by_day(self) -> bool:
        """Are all x whole days?"""
        return self.is_temporal and all(map(is_day, self.values("x")))

    @cached_property
    def is_within_a_day(self) -> bool:
        """Are all x of less than 24 hours, so that the hour tells them apart?"""
        times = [wall_clock_ms(value) for value in self.values("x")] if self.is_temporal else [0]
        return max(times) - min(times) < _DAY_MS

    @cached_property
    def is_doubled(self) -> bool:
        """Is one time on the wall two times: an hour that comes twice as clocks go back?"""
        seen: dict[int, str] = {}
        return self.is_temporal and any(
            seen.setdefault(wall_clock_ms(value), value) != value for value in self.values("x")
        )

    @cached_property
    def data(self) -> list[dict[str, Any]]:
        """What is drawn: of the first series, the first rows."""
        shown = set(self.series[:MOST_SERIES] or [""])
        drawn = (
            (r, n) for r, n in zip(self.answer["rows"], self._names, strict=True) if n in shown
        )
        return [self._datum(row, name) for row, name in islice(drawn, MOST_ROWS)]

    @cached_property
    def left_out(self) -> str:
        """What is not drawn, in words."""
        if len(self.series) > MOST_SERIES:
            return f"Drawn: the first {MOST_SERIES} of {len(self.series)} series."
        total = len(self.answer["rows"])
        return f"Drawn: the first {MOST_ROWS:,} of {total:,} rows." if total > MOST_ROWS else ""

    def _datum(self, row: list[Any], series: str) -> dict[str, Any]:
        currency = self.currency(row)
        divisor = scale_of([1], "money", currency).divisor if self.is_mixed else self.scale.divisor
        made = {role: self._place(row[at], unit) for role, at, unit in self._places}
        if self.color:
            made["color"] = series
        for key, at in self._numbers:
            number = number_of(row[at])
            made[key] = None if number is None else number / divisor
        for key, at, unit in self._texts:
            made[key] = text(row[at], unit, currency)
        return made

    @cached_property
    def _places(self) -> list[tuple[str, int, str]]:
        """Roles that are places on an axis: name, column, unit."""
        named = ((role, self.at.get(self.chart.get(role) or "")) for role in ("x", "row"))
        return [(role, at, self.unit(role)) for role, at in named if at is not None]

    @cached_property
    def _numbers(self) -> list[tuple[str, int]]:
        """What is drawn as a number: field, column."""
        column = self.column("y")
        if column is None:
            return []
        before = self.chart.get("before") or ""
        named = (("y", column["name"]), ("before", before),
                 ("low", column["low"]), ("high", column["high"]))  # fmt: skip
        return [(key, self.at[name]) for key, name in named if name in self.at]

    @cached_property
    def _texts(self) -> list[tuple[str, int, str]]:
        """What tips say: field, column, unit."""
        columns = self.answer["columns"][:_MOST_TIPS]
        return [(f"t{i}", i, column["unit"]) for i, column in enumerate(columns)]

    def _place(self, value: Any, unit: str) -> Any:
        """Where a value stands on an axis: a number, ms on the wall's clock, or a name."""
        if is_time(value) and self.is_temporal:
            if self.is_doubled:
                return f"{value[:16].replace('T', ' ')} {value[19:]}".strip()
            return wall_clock_ms(value)
        number = number_of(value) if unit != "label" else None
        return text(value, unit) if number is None else number

    def tips(self) -> list[dict[str, Any]]:
        """Encoding of the tip: each column as text."""
        return [
            {"field": f"t{i}", "type": "nominal", "title": column["title"]}
            for i, column in enumerate(self.answer["columns"][:_MOST_TIPS])
        ]
