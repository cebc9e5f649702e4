"""Stickiness as a question: on how many of the days, weeks or months people were active."""

from __future__ import annotations

from typing import Any

from reports.insights.answer import Chart, Column, Table, Unit
from reports.insights.filters import Bindings, matches
from reports.insights.kinds import Kind, register
from reports.insights.person_periods import active_people, periods_of, remarks, words
from reports.insights.question import Question, Step
from reports.insights.source import Source
from transforms.periods import PeriodGrain
from transforms.stickiness import stickiness


class StickinessQuestion(Question, frozen=True, kw_only=True):
    """How many people were active on exactly so many of the periods.

    active: event that makes somebody active
    period: day, week from Monday, or month
    """

    active: Step = Step()
    period: PeriodGrain = "day"


def answer(question: StickinessQuestion, source: Source) -> Table:
    """The question's table. Raises QuestionError, QueryFailed."""
    bind = Bindings()
    periods = periods_of(source, question, question.period)
    met = matches(question.active, bind)
    found = active_people(source, question, periods, bind, met, life=False)
    people = stickiness(words(found, "active", periods), len(periods))
    everybody = int(people.sum())
    at_least = people[::-1].cumsum()[::-1]
    rows = [
        (
            number,
            int(people[number - 1]),
            float(people[number - 1] / everybody) if everybody else None,
            int(at_least[number - 1]),
        )
        for number in range(1, len(periods) + 1)
    ]
    unit = question.period
    columns = (
        Column("periods", f"Active {unit}s", "number"),
        Column("people", "People", "count"),
        Column("share", "Of all active people", "ratio"),
        Column("at_least", f"On so many {unit}s or more", "count"),
    )
    mean = float((people * range(1, len(periods) + 1)).sum() / everybody) if everybody else None
    totals: tuple[tuple[str, Any, Unit], ...] = (
        ("Active people", everybody, "count"),
        (f"Active {unit}s of a person, mean", mean, "number"),
    )
    notes = (f"Of {len(periods):,} {unit}s.", *remarks(source, periods))
    chart = Chart("bar", x="periods", y="people")
    return Table(columns, rows, chart, totals=totals, notes=notes)


register(
    Kind(
        "stickiness",
        "Stickiness",
        "How many people were active on exactly one, two, three … of the days, weeks or months.",
        StickinessQuestion,
        answer,
        {"dates": "last_30_days", "period": "day"},
    )
)
