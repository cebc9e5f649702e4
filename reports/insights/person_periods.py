"""In which periods people did something: one row of bits a person, made where the events are.

Fifty million events become a number or a few for each person before Python sees them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from reports.insights.filters import Bindings
from reports.insights.question import Question, QuestionError
from reports.insights.source import Source
from transforms.periods import WORD_BITS, PeriodGrain, Periods, Segment
from transforms.times import YEARS_US

MOST_PERIODS = 400
ALL_TIME = YEARS_US[0]  # us: no event is older
_NEXT = {"day": "week", "week": "month"}


def periods_of(
    source: Source, question: Question, grain: PeriodGrain, *, before: int = 0
) -> Periods:
    """The whole periods that the question's days touch. Raises QuestionError."""
    found = Periods.of(source.days(question), grain, source.zone, before=before)
    if len(found) - before > MOST_PERIODS:
        longer = f", or period={_NEXT[grain]!r}" if grain in _NEXT else ""
        raise QuestionError(
            f"dates={question.dates!r} are {len(found) - before:,} {grain}s, more than "
            f"{MOST_PERIODS}: choose fewer{longer}"
        )
    return found


def remarks(source: Source, periods: Periods, *, before: int = 0) -> list[str]:
    """What is to be said of the first and the last period."""
    said = []
    over = periods.over(source.now_us)
    if over < len(periods):
        said.append(
            f"{name_of(periods, over)} is not over: what it counts may grow."
            if over == len(periods) - 1
            else f"From {name_of(periods, over)} on nothing is over."
        )
    until = source.complete_until
    if over > before and until is not None and until < periods.bounds[over]:
        said.append(
            f"Events that are still on their way may be missing from {name_of(periods, over - 1)} "
            "and later."
        )
    return said


def name_of(periods: Periods, number: int) -> str:
    """2026-09-01, or the first day of a week, or 2026-09."""
    return _name(periods.firsts[number], periods.grain)


def _name(first: date, grain: PeriodGrain) -> str:
    return f"{first:%Y-%m}" if grain == "month" else first.isoformat()


def number_sql(periods: Periods, instant: str = "epoch_us(e.event_time)") -> str:
    """SQL of the number of the period in which an instant (us) lies; -1 before the first.

    The bounds are worked out once, of the zone's own rules: no row is asked for its time zone.
    """
    inside = _choose(instant, periods.segments())
    return f"(CASE WHEN {instant} < {periods.bounds[0]} THEN -1 ELSE {inside} END)"


def _choose(instant: str, segments: list[Segment]) -> str:
    """Halves the segments until one is left: few comparisons, however many there are."""
    if len(segments) > 1:
        half = len(segments) // 2
        left, right = _choose(instant, segments[:half]), _choose(instant, segments[half:])
        return f"CASE WHEN {instant} < {segments[half].start} THEN {left} ELSE {right} END"
    only = segments[0]
    return f"({only.first} + ({instant} - {only.start}) // {only.length})"


def words_sql(periods: Periods, sets: Mapping[str, str]) -> list[str]:
    """Aggregates that gather, per group, the periods `period` of rows that meet a condition.

    sets: condition by name; columns are NAME_0, NAME_1, … as `words` reads them
    """
    made = []
    for name, met in sets.items():
        for word in range(periods.words):
            first, end = word * WORD_BITS, min((word + 1) * WORD_BITS, len(periods))
            here = f"({met}) AND period >= {first} AND period < {end}"
            bit = f"1::UBIGINT << ((period - {first}) & {WORD_BITS - 1})::UBIGINT"
            made.append(f"coalesce(bit_or(CASE WHEN {here} THEN {bit} END), 0) AS {name}_{word}")
    return made


def words(found: pa.Table, name: str, periods: Periods) -> list[NDArray[np.uint64]]:
    """The sets of a name, of each row."""
    return [found[f"{name}_{word}"].to_numpy() for word in range(periods.words)]


def firsts(found: pa.Table) -> NDArray[np.int64]:
    """Column `first`, the number of a period; a null lies after all of them."""
    return pl.Series(found["first"]).fill_null(1 << 40).cast(pl.Int64).to_numpy()


def active_people(
    source: Source, question: Question, periods: Periods, bind: Bindings, met: str, *, life: bool
) -> pa.Table:
    """A row of everybody who met a condition: columns active_0, …; with `life` also `first`.

    life: looks through all history for the period in which somebody first met it
    """
    start, end = periods.span
    events = source.events(question, bind, (ALL_TIME if life else start, end))
    columns = [*words_sql(periods, {"active": "true"}), *(["min(period) AS first"] * life)]
    return source.read(
        f"""SELECT {", ".join(columns)}
        FROM (
          SELECT e.person, {number_sql(periods)} AS period
          FROM {events} AS e
          WHERE e.person IS NOT NULL AND {met}
        )
        GROUP BY person""",
        bind,
    )
