"""Retention as a question: who came back, by the period they started in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from msgspec import Meta

from reports.insights.answer import Chart, Column, Table
from reports.insights.filters import Bindings, expression, matches
from reports.insights.kinds import Kind, register
from reports.insights.person_periods import (
    ALL_TIME,
    firsts,
    name_of,
    number_sql,
    periods_of,
    remarks,
    words,
    words_sql,
)
from reports.insights.question import Question, Step
from reports.insights.source import Source
from reports.warehouse.execute import quoted
from transforms.periods import PeriodGrain, Periods, Words, one_bit
from transforms.retention import Retention, retention

OTHER, UNSET = "(other)", "(not set)"
_WHO = {
    "recurring": "everybody who did the start event in the period",
    "first_time": "whose first start event of all time lies in the period",
}


class RetentionQuestion(Question, frozen=True, kw_only=True):
    """Of those who started in a period, how many came back in each later one.

    start:        event that puts people into a cohort
    returning:    event that counts as coming back; empty: the start event
    mode:         recurring: whoever did the start event in the period, each period anew;
                  first_time: whose first start event of their whole life lies in it
    rolling:      count people who came back in that period or in any later one shown
    period:       day, week from Monday, or month
    longest:      the last period after the start that is shown
    breakdown:    property of a cohort's start events; each value is then one row
    values_shown: that many values of it, the rest is (other)
    layout:       cells: a row for each cell of the heat map; table: a row for each cohort
    """

    start: Annotated[Step, Meta(title="Start event")] = Step()
    returning: Annotated[Step | None, Meta(title="Return event")] = None
    mode: Literal["recurring", "first_time"] = "recurring"
    rolling: bool = False
    period: PeriodGrain = "day"
    longest: Annotated[int, Meta(ge=1, le=400)] = 30
    breakdown: str = ""
    values_shown: Annotated[int, Meta(ge=1, le=100, extra_json_schema={"x-more": True})] = 8
    layout: Annotated[Literal["cells", "table"], Meta(extra_json_schema={"x-more": True})] = "cells"


def answer(question: RetentionQuestion, source: Source) -> Table:
    """The question's table. Raises QuestionError, QueryFailed."""
    periods = periods_of(source, question, question.period)
    found = source.read(*_query(question, source, periods))
    if question.breakdown:
        return _broken_down(question, source, periods, found)
    counted = _counted(question, source, periods, found)
    rows = [
        (name_of(periods, p), int(counted.sizes[p]), *_cells(counted, p))
        for p in range(len(periods))
    ]
    rows.append(("Weighted average", int(counted.sizes.sum()), *_average(counted)))
    notes = [
        f"A cohort is {_WHO[question.mode]}.",
        "The average weighs each cohort by its people, and takes those whose period is over.",
        *remarks(source, periods),
    ]
    name = Column("cohort", f"{question.period.capitalize()} of start", "label")
    return _table(question, name, rows, notes)


def _query(question: RetentionQuestion, source: Source, periods: Periods) -> tuple[str, Bindings]:
    """SQL of a row of bits for each person, and with a breakdown for each person and value."""
    bind = Bindings()
    start_us, end_us = periods.span
    life = question.mode == "first_time"
    events = source.events(question, bind, (ALL_TIME if life else start_us, end_us))
    started = matches(question.start, bind)
    same = question.returning is None or question.returning == question.start
    returned = started if same else matches(question.returning or question.start, bind)
    value, place = "", ""
    if question.breakdown:
        value = f", {expression(question.breakdown)} AS value"
        place = ", (e.event_time, e.producer, e.seq, e.row) AS place"
    rows = f"""SELECT e.person, {number_sql(periods)} AS period,
          {started} AS started, {returned} AS returned{value}{place}
        FROM {events} AS e
        WHERE e.person IS NOT NULL AND {started if same else f"({started} OR {returned})"}"""
    if question.breakdown:
        return _by_value(rows, periods, life=life), bind
    sets = {"back": "returned"} if same or life else {"back": "returned", "start": "started"}
    columns = words_sql(periods, sets)
    if life:
        columns.append("min(CASE WHEN started THEN period END) AS first")
    return f"SELECT {', '.join(columns)} FROM ({rows}) GROUP BY person", bind


def _by_value(rows: str, periods: Periods, *, life: bool) -> str:
    """In each cohort a person has the value of her first start event there."""
    back = ", ".join(words_sql(periods, {"back": "returned"}))
    start = ", ".join(words_sql(periods, {"start": "true"}))
    named = ", ".join(f"any_value(back_{w}) AS back_{w}" for w in range(periods.words))
    of_life = (
        "JOIN (SELECT person, min(period) AS first FROM r WHERE started GROUP BY person) "
        "USING (person)"
    )
    return f"""WITH r AS MATERIALIZED ({rows}),
      backs AS (SELECT person, {back} FROM r GROUP BY person),
      starts AS (
        SELECT person, period, arg_min(coalesce(value, {quoted(UNSET)}), place) AS value
        FROM r {of_life if life else ""}
        WHERE started AND period >= 0 {"AND period = first" if life else ""}
        GROUP BY person, period
      )
      SELECT value, {start}, {named}
      FROM starts JOIN backs USING (person) GROUP BY person, value"""


def _counted(
    question: RetentionQuestion, source: Source, periods: Periods, found: pa.Table
) -> Retention:
    back = words(found, "back", periods)
    starts: Words = back
    if "first" in found.column_names:
        starts = one_bit(firsts(found), len(periods))
    elif "start_0" in found.column_names:
        starts = words(found, "start", periods)
    return retention(
        starts,
        back,
        len(periods),
        over=periods.over(source.now_us),
        longest=min(question.longest, len(periods) - 1),
        rolling=question.rolling,
    )


def _broken_down(
    question: RetentionQuestion, source: Source, periods: Periods, found: pa.Table
) -> Table:
    """A row for each value: the weighted average over its cohorts."""
    rows = []
    for value, chosen in _groups(found, periods, question.values_shown):
        counted = _counted(question, source, periods, found.filter(chosen))
        rows.append((value, int(counted.sizes.sum()), *_average(counted)))
    notes = [
        f"A cohort is {_WHO[question.mode]}; each row is the average over the cohorts, weighed by "
        "their people.",
        f"In a cohort a person has the value of {question.breakdown} of her first start event "
        f"there, {UNSET} where it has none.",
        *remarks(source, periods),
    ]
    return _table(question, Column("value", question.breakdown, "label"), rows, notes)


def _groups(found: pa.Table, periods: Periods, most: int) -> Iterator[tuple[str, Any]]:
    """Values with the largest cohorts, then (other), and which rows have each."""
    encoded = found["value"].combine_chunks().dictionary_encode()
    names = [str(value) for value in encoded.dictionary.to_pylist()]
    codes = encoded.indices.to_numpy()
    starts = sum(np.bitwise_count(w).astype(np.int64) for w in words(found, "start", periods))
    sizes = np.bincount(codes, weights=starts, minlength=len(names))
    ranked = sorted(range(len(names)), key=lambda code: (-sizes[code], names[code]))
    # A value that is itself called (other) is told together with the rest.
    shown = [code for code in ranked[:most] if names[code] != OTHER]
    for code in shown:
        yield names[code], pa.array(codes == code)
    if len(shown) < len(names):
        yield OTHER, pa.array(~np.isin(codes, shown))


def _cells(counted: Retention, cohort: int) -> list[tuple[int | None, float | None]]:
    known = counted.known[cohort]
    return [
        (int(counted.counts[cohort, k]) if known[k] else None, counted.share(cohort, k))
        for k in range(len(known))
    ]


def _average(counted: Retention) -> list[tuple[int | None, float | None]]:
    found = [counted.average(k) for k in range(counted.known.shape[1])]
    return [(back if people else None, share) for people, back, share in found]


def _table(
    question: RetentionQuestion, first: Column, rows: list[tuple[Any, ...]], notes: list[str]
) -> Table:
    """rows: (name, size, (people back, share) for each k)."""
    unit = question.period.capitalize()
    size = Column("people", "People", "count")
    later = range(max((len(row) - 2 for row in rows), default=0))
    if question.layout == "table":
        shares = tuple(Column(f"p{k}", f"{unit} {k}", "ratio") for k in later)
        wide = [(name, people, *(share for _, share in cells)) for name, people, *cells in rows]
        return Table((first, size, *shares), wide, Chart("table"), notes=tuple(notes))
    columns = (
        first,
        size,
        Column("later", f"{unit}s later", "number"),
        Column("back", "Came back", "count"),
        Column("share", "Of the cohort", "ratio"),
    )
    long = [
        (name, people, k, *cell) for name, people, *cells in rows for k, cell in enumerate(cells)
    ]
    chart = Chart("heatmap", x="later", y="share", row=first.name)
    return Table(columns, long, chart, notes=tuple(notes))


register(
    Kind(
        "retention",
        "Retention",
        "Of those who started in a period, how many came back in each later one.",
        RetentionQuestion,
        answer,
        {"dates": "last_30_days", "period": "day", "longest": 14},
    )
)
