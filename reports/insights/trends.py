"""Trends: how numbers develop, split, compared with before, and made of one another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import msgspec

from reports.insights.answer import Chart, Column, Table, Unit
from reports.insights.kinds import Kind, register
from reports.insights.question import QuestionError
from reports.insights.source import Source
from reports.insights.trend_exact import exact_series
from reports.insights.trend_metric import values_of, with_metrics
from reports.insights.trend_question import (
    LETTERS,
    Series,
    TrendQuestion,
    formulas_of,
    spec_of,
    title_of,
)
from reports.insights.trend_source import REST, Found, Key, Split, split_of
from reports.present import when
from transforms.formula import Formula
from transforms.money import MoneyError, exponent
from transforms.trends import (
    Grid,
    Value,
    cumulative,
    days_before,
    most_periods,
    moving_average,
    partners,
)

OTHER, NONE = "(other)", "(none)"
_MOST_ROWS = 200_000


@dataclass(frozen=True)
class Line:
    """One series as it is shown.

    before:     values of the periods that it is compared to
    calculated: title of its formula
    """

    title: str
    breakdown: str
    currency: str
    unit: Unit
    values: list[Value]
    before: list[Value]
    total: Value = None
    calculated: str = ""


def answer(question: TrendQuestion, source: Source) -> Table:
    """Values by period and series. Raises QuestionError, QueryFailed."""
    question = with_metrics(question, source)
    formulas = formulas_of(question)
    days = source.days(question)
    lines_at_most = len(question.series) * (question.top + 2 if question.breakdown else 1)
    if most_periods(days, question.grain) * lines_at_most > _MOST_ROWS:
        raise QuestionError(
            f"grain={question.grain!r}: more than {_MOST_ROWS:,} values; ask for fewer days, "
            "longer periods or a lower top"
        )
    grid = Grid.of(days, question.grain, source.zone)
    split = split_of(question, source) if question.breakdown else None
    found, exact = _all_series(question, grid, split, source)
    before, pairs, then = None, None, []
    if question.compare != "none":
        before, earlier = _before(question, grid, split, source)
        pairs = partners(grid, earlier)
        then = [None if at is None else earlier.periods[at].label for at in pairs]
    lines = _lines(question, formulas, found, before, split, grid, pairs)
    return _table(question, grid, lines, then, _notes(question, grid, lines, exact, split, source))


def lines_of(question: TrendQuestion, source: Source) -> tuple[Grid, list[Line]]:
    """Values by period of plain series, for other questions. Raises QuestionError, QueryFailed."""
    question = with_metrics(question, source)
    grid = Grid.of(source.days(question), question.grain, source.zone)
    found, _ = _all_series(question, grid, None, source)
    return grid, _lines(question, (), found, None, None, grid, None)


def _all_series(
    question: TrendQuestion, grid: Grid, split: Split | None, source: Source
) -> tuple[list[Found], list[str]]:
    """Values of each series, with what nothing happened in filled; letters of the exact ones."""
    found, exact = [], []
    for letter, one in zip(LETTERS, question.series, strict=False):
        known = exact_series(one, question, grid, source)
        if known is not None:
            exact.append(letter)
        values = known or values_of(one, question, grid, split, source)
        empty = spec_of(one).empty
        if not values.values and not split and spec_of(one).unit != "money":
            values.values[0, ""] = [None] * len(grid.periods)
        for key, there in values.values.items():
            filled = [empty if value is None else value for value in there]
            values.values[key] = cumulative(filled) if question.cumulative else filled
        found.append(values)
    return found, exact


def _before(
    question: TrendQuestion, grid: Grid, split: Split | None, source: Source
) -> tuple[list[Found], Grid]:
    """The same of the periods before, and which these are."""
    same_weekdays = question.compare == "previous_same_weekdays"
    days = days_before(source.days(question), question.grain, same_weekdays=same_weekdays)
    earlier = Grid.of(days, question.grain, source.zone)
    asked = msgspec.structs.replace(question, dates=f"{days[0]}..{days[1]}")
    found, _ = _all_series(asked, earlier, split, source)
    return found, earlier


def _lines(
    question: TrendQuestion,
    formulas: Sequence[Formula],
    found: list[Found],
    before: list[Found] | None,
    split: Split | None,
    grid: Grid,
    pairs: list[int | None] | None,
) -> list[Line]:
    """Every series and formula that is shown, split by value and currency."""
    shown: list[Line] = []
    units = {spec_of(one).unit for one in question.series if not one.hidden}
    is_mixed = len(units) + bool(formulas) > 1
    titles = _different([title_of(one) for one in question.series])
    for number, one in enumerate(question.series):
        if one.hidden:
            continue
        unit = spec_of(one).unit
        earlier = before[number].values if before else {}
        for key in _keys([found[number].values, earlier], split):
            nothing: list[Value] = [spec_of(one).empty] * len(grid.periods)
            values = found[number].values.get(key, nothing)
            line = _line(titles[number], key, unit, values, split)
            line = replace(
                line,
                before=_paired(earlier.get(key), pairs, spec_of(one).empty),
                total=None if question.cumulative else found[number].totals.get(key),
            )
            shown.append(in_whole_units(line) if is_mixed else line)
    for calculated, formula in zip(question.formulas, formulas, strict=True):
        title = calculated.label or calculated.formula
        now = _worked_out(formula, question.series, found, split, grid)
        then = _worked_out(formula, question.series, before, split, None) if before else {}
        for key in _keys([now, then], split):
            values = now.get(key, [None] * len(grid.periods))
            line = _line(title, key, "number", values, split)
            paired = _paired(then.get(key), pairs, None)
            shown.append(replace(line, before=paired, calculated=title))
    return shown


def _different(titles: list[str]) -> list[str]:
    """The titles, with the letter of the series where two are equal."""
    return [
        f"{title} ({letter})" if titles.count(title) > 1 else title
        for letter, title in zip(LETTERS, titles, strict=False)
    ]


def _keys(found: Iterable[dict[Key, list[Value]]], split: Split | None) -> list[Key]:
    """In the order of the values, the rest last, currencies by name."""
    keys = {key for values in found for key in values}
    last = len(split.values) if split else 0
    return sorted(keys, key=lambda key: (last if key[0] == REST else key[0], key[1]))


def _line(title: str, key: Key, unit: Unit, values: list[Value], split: Split | None) -> Line:
    code, currency = key
    name = ""
    if split:
        value = OTHER if code == REST else split.values[code]
        name = NONE if value is None else value
        title = f"{title}: {name}"
    return Line(f"{title} {currency}".rstrip(), name, currency, unit, values, [])


def _paired(
    values: list[Value] | None, pairs: list[int | None] | None, empty: Value
) -> list[Value]:
    if pairs is None:
        return []
    return [None if at is None else values[at] if values else empty for at in pairs]


def _whole_units(minor: Value, currency: str) -> Value:
    """Minor units -> units of the currency; what has no known currency stays."""
    if minor is None:
        return minor
    try:
        return float(Decimal(int(minor)).scaleb(-exponent(currency)))
    except MoneyError:
        return minor


def in_whole_units(line: Line) -> Line:
    """The line with numbers for minor units, which money has."""
    if line.unit != "money":
        return line

    def whole(values: list[Value]) -> list[Value]:
        return [_whole_units(value, line.currency) for value in values]

    total = _whole_units(line.total, line.currency)
    return replace(
        line, unit="number", values=whole(line.values), before=whole(line.before), total=total
    )


def _worked_out(
    formula: Formula,
    series: Sequence[Series],
    found: list[Found],
    split: Split | None,
    grid: Grid | None,
) -> dict[Key, list[Value]]:
    """A formula for each value and each currency; what has no currency counts for all of them."""
    read = [at for at, letter in enumerate(LETTERS) if letter in formula.letters]
    keys = {key for at in read for key in found[at].values}
    has_money = any(spec_of(series[at]).unit == "money" for at in read)
    if has_money and any(currency for _, currency in keys):
        keys = {key for key in keys if key[1]}
    periods = len(grid.periods) if grid else _length(found)
    if not keys:
        keys = {(0, "")} if split is None else set()
    worked: dict[Key, list[Value]] = {}
    for key in _keys([{key: [] for key in keys}], split):
        operands = {LETTERS[at]: _operand(series[at], found[at], key, periods) for at in read}
        worked[key] = [
            formula({letter: values[period] for letter, values in operands.items()})
            for period in range(periods)
        ]
    return worked


def _length(found: list[Found]) -> int:
    return max((len(values) for one in found for values in one.values.values()), default=0)


def _operand(one: Series, found: Found, key: Key, periods: int) -> list[Value]:
    is_money = spec_of(one).unit == "money"
    values = found.values.get(key if is_money else (key[0], ""))
    if values is None:
        return [spec_of(one).empty] * periods
    return [_whole_units(value, key[1]) for value in values] if is_money else values


def _table(
    question: TrendQuestion,
    grid: Grid,
    lines: list[Line],
    then: list[str | None],
    notes: list[str],
) -> Table:
    """A row for each line and period. then: of each period the one that it is compared to."""
    units = {line.unit for line in lines}
    unit: Unit = units.pop() if len(units) == 1 else "number"
    has_money = any(line.currency for line in lines)
    columns = [Column("time", _GRAINS[grid.grain], "time"), Column("series", "Series", "label")]
    if question.breakdown:
        columns.append(Column("breakdown", question.breakdown, "label"))
    if has_money:
        columns.append(Column("currency", "Currency", "label"))
    columns.append(Column("value", "Value", unit))
    if question.compare != "none":
        columns += [
            Column("previous_time", f"{_GRAINS[grid.grain]}, before", "time"),
            Column("previous", "Before", unit),
            Column("change", "Change", "ratio"),
        ]
    if question.moving_average > 1:
        title = f"Mean of {question.moving_average}"
        columns.append(Column("average", title, "number" if unit == "count" else unit))
    rows: list[tuple[Any, ...]] = []
    for line in lines:
        averages = moving_average(line.values, question.moving_average or 1)
        for at, period in enumerate(grid.periods):
            value = line.values[at]
            row: list[Any] = [period.label, line.title]
            row += [line.breakdown] if question.breakdown else []
            row += [line.currency] if has_money else []
            row.append(value)
            if question.compare != "none":
                row += [then[at], line.before[at], _change(value, line.before[at])]
            if question.moving_average > 1:
                row.append(averages[at])
            rows.append(tuple(row))
    alone = len(grid.periods) == 1
    chart = Chart("bar" if alone else "line", x="series" if alone else "time", y="value",
                  color="series", grain=grid.grain,
                  before="" if alone or question.compare == "none" else "previous")  # fmt: skip
    totals = [(_title(line), line.total, line.unit) for line in lines if line.total is not None]
    return Table(tuple(columns), rows, chart, tuple(totals[:12]), tuple(notes))


def _title(line: Line) -> str:
    return f"{line.title} in all"


_GRAINS = {"hour": "Hour", "day": "Day", "week": "Week from", "month": "Month from"}


def _change(value: Value, before: Value) -> float | None:
    return (value - before) / abs(before) if before and value is not None else None


def _notes(
    question: TrendQuestion,
    grid: Grid,
    lines: list[Line],
    exact: list[str],
    split: Split | None,
    source: Source,
) -> list[str]:
    notes = []
    if exact:
        every = len(exact) == len(question.series)
        which = "" if every else f"Series {', '.join(exact)}: "
        notes.append(f"{which}Read from the exact tables; no event was read.")
    first, last = grid.periods[0], grid.periods[-1]
    begun = [period for period in grid.periods if period.start <= source.now_us]
    if begun and begun[-1].end > source.now_us:
        notes.append(f"The {grid.grain} from {begun[-1].label} is not over.")
    notes.extend(
        f"Of the {grid.grain} from {period.first} only the days asked for count."
        for period in dict.fromkeys((first, last))
        if period.is_cut and period.end <= source.now_us
    )
    if split and split.has_rest:
        notes.append(f"{OTHER}: all values of {question.breakdown} but the {question.top} largest.")
    if any(line.unit == "number" and line.currency for line in lines):
        notes.append("Money is in whole units of its currency, beside numbers of other kinds.")
    missing = Counter(line.calculated for line in lines for value in line.values if value is None)
    del missing[""]
    notes.extend(
        f"{title}: {count:,} periods have no value, where it divides by zero or a series has none."
        for title, count in missing.items()
    )
    if source.complete_until is not None and source.complete_until < source.now_us:
        until = when(source.complete_until, source.zone)
        if last.end > source.complete_until >= first.start:
            notes.append(f"Events received up to {until} are counted.")
    return notes


register(
    Kind(
        "trend",
        "Trend",
        "How numbers develop: events, people, visits, money, or any numeric property.",
        TrendQuestion,
        answer,
        {"series": [{"measure": "events"}, {"measure": "people"}], "dates": "last_30_days"},
    )
)
