"""Lifecycle as a question: new, returning, resurrecting and dormant people of each period."""

from __future__ import annotations

from reports.insights.answer import Chart, Column, Table
from reports.insights.filters import Bindings, matches
from reports.insights.kinds import Kind, register
from reports.insights.person_periods import (
    active_people,
    firsts,
    name_of,
    periods_of,
    remarks,
    words,
)
from reports.insights.question import Question, Step
from reports.insights.source import Source
from transforms.lifecycle import STATES, lifecycle
from transforms.periods import PeriodGrain


class LifecycleQuestion(Question, frozen=True, kw_only=True):
    """What becomes of active people from one period to the next.

    active: event that makes somebody active
    period: day, week from Monday, or month
    """

    active: Step = Step()
    period: PeriodGrain = "day"


def answer(question: LifecycleQuestion, source: Source) -> Table:
    """The question's table. Raises QuestionError, QueryFailed."""
    bind = Bindings()
    # Who is dormant or returning in the first period, the one before it says.
    periods = periods_of(source, question, question.period, before=1)
    met = matches(question.active, bind)
    found = active_people(source, question, periods, bind, met, life=True)
    counted = lifecycle(words(found, "active", periods), firsts(found), len(periods))
    over = periods.over(source.now_us)
    rows: list[tuple[str, str, int | None, int | None]] = []
    for number in range(1, len(periods)):
        for state in STATES:
            people: int | None = int(getattr(counted, state)[number - 1])
            if state == "dormant" and number >= over:
                people = None  # they may still come
            change = -people if people is not None and state == "dormant" else people
            rows.append((name_of(periods, number), state, people, change))
    columns = (
        Column("period", question.period.capitalize(), "label"),
        Column("state", "State", "label"),
        Column("people", "People", "count"),
        Column("change", "People, dormant below nought", "number"),
    )
    notes = (
        "New: active for the first time of all time. Returning: active in the period before as "
        "well. Resurrecting: active again after at least one period of silence. Dormant: active "
        "in the period before and silent in this one; not known until it is over.",
        *remarks(source, periods, before=1),
    )
    chart = Chart(
        "stacked_bar",
        x="period",
        y="change",
        color="state",
        grain=question.period,
        y_title="People",
    )
    return Table(columns, list(rows), chart, notes=notes)


register(
    Kind(
        "lifecycle",
        "Lifecycle",
        "New, returning, resurrecting and dormant people of each day, week or month.",
        LifecycleQuestion,
        answer,
        {"dates": "last_30_days", "period": "day"},
    )
)
