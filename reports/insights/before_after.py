"""Before and after a launch: metrics of the project, or one number of events, with uncertainty.

What counts as a change, and when it is not computable, is in `transforms.before_after`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from reports.insights.answer import Chart, Column, Table
from reports.insights.kinds import Kind, register
from reports.insights.question import Question, QuestionError, Step
from reports.insights.source import Source
from reports.insights.trend_question import LETTERS, Series, TrendQuestion
from reports.insights.trends import in_whole_units, lines_of
from transforms.before_after import LEVEL, Effect, NotComputable, effect
from transforms.metrics import METRICS

_DEPENDENT = 0.3
_DAY = timedelta(1)
_COLUMNS = (
    Column("metric", "Metric", "label"),
    Column("before", "Before, same weekdays", "number"),
    Column("after", "After", "number"),
    Column("change", "Change", "number", low="low", high="high"),
    Column("low", "Change at least", "number"),
    Column("high", "Change at most", "number"),
    Column("relative", "Change, relative", "ratio", low="relative_low", high="relative_high"),
    Column("relative_low", "Relative at least", "ratio"),
    Column("relative_high", "Relative at most", "ratio"),
    Column("p", "p", "number"),
    Column("days_before", "Days before", "count"),
    Column("days_after", "Days after", "count"),
    Column("remark", "Remark", "label"),
)


class BeforeAfter(Question, frozen=True, kw_only=True):
    """What changed with a launch: days after it against the same weekdays before.

    launch:      its day, such as 2026-03-01
    annotation:  or the name of a saved annotation, whose day it is
    metrics:     of the project, built-in or its own; revenue is one for each currency
    event:       a number of one's own besides: such events of a day
    measure:     of these the events, or the people who did them
    settle_days: days from the launch on that are left out, such as the launch day itself
    """

    dates: str = "last_12_weeks"
    launch: str = ""
    annotation: str = ""
    metrics: Annotated[
        tuple[str, ...],
        msgspec.Meta(max_length=len(LETTERS) - 1, extra_json_schema={"x-suggest": list(METRICS)}),
    ] = ()
    event: Step | None = None
    measure: Literal["events", "people"] = "events"
    settle_days: Annotated[
        int, msgspec.Meta(ge=0, le=60, extra_json_schema={"x-more": True})
    ] = 0  # fmt: skip


@dataclass(frozen=True)
class _Series:
    """A daily number. values: of the whole days that are known."""

    title: str
    values: Mapping[date, float]


def answer(question: BeforeAfter, source: Source) -> Table:
    """A row for each number. Raises QuestionError, QueryFailed."""
    launch = _launch(question, source)
    first, last = source.days(question)
    if not first < launch <= last:
        raise QuestionError(
            f"launch={launch}: the days {first} to {last} must begin before it and end after it; "
            "set dates so that they do"
        )
    series = _series(question, source, first, max(first, min(last, source.today - _DAY)))
    from_day = launch + timedelta(question.settle_days)
    rows, notes, is_known = [], [], False
    for one in series:
        before = {day: value for day, value in one.values.items() if day < launch}
        after = {day: value for day, value in one.values.items() if day >= from_day}
        found = effect(before, after)
        rows.append(_row(one.title, found, len(before), len(after)))
        notes += _notes(one.title, found)
        is_known |= isinstance(found, Effect)
    shared = (
        f"Intervals of {LEVEL:.0%}: days after {launch} against what the same weekdays before let "
        "expect. Nothing but time tells them apart: whatever else changed then is in them.",
        *(
            [f"Of {len(series)} intervals one in twenty leaves out the truth by chance."]
            if len(series) > 1
            else []
        ),
    )
    chart = Chart("bar", x="metric", y="relative") if is_known else Chart("table")
    return Table(_COLUMNS, rows, chart, notes=(*shared, *notes), trust="exact")


def _launch(question: BeforeAfter, source: Source) -> date:
    if bool(question.launch) == bool(question.annotation):
        raise QuestionError(
            f"launch={question.launch!r} and annotation={question.annotation!r}: give one of them"
        )
    if question.annotation:
        found = source.annotations().get(question.annotation)
        if found is None:
            raise QuestionError(
                f"annotation={question.annotation!r}: there is none of that name in "
                f"{source.project}"
            )
        return found
    try:
        return date.fromisoformat(question.launch)
    except ValueError:
        raise QuestionError(
            f"launch={question.launch!r} is no day; write it as 2026-03-01"
        ) from None


def _series(question: BeforeAfter, source: Source, first: date, last: date) -> list[_Series]:
    """The daily numbers asked for, as trends count them: one mechanism, one answer."""
    wanted = question.metrics or (() if question.event else ("events", "active_users", "orders"))
    series = [Series(metric=name) for name in dict.fromkeys(wanted)]
    if question.event is not None:
        what = f"{question.event.title}, {question.measure}"
        series.append(Series(event=question.event, measure=question.measure, label=what))
    asked = TrendQuestion(
        series=tuple(series),
        dates=f"{first}..{last}",
        where=question.where,
        cohort=question.cohort,
        identity=question.identity,
    )
    grid, lines = lines_of(asked, source)
    days = [period.first for period in grid.periods]
    begin, end = _known(source)
    found = []
    for line in map(in_whole_units, lines):
        values = {day: value for day, value in zip(days, line.values, strict=True) if day < end}
        begins = min([*filter(None, [begin]), *(day for day, value in values.items() if value)],
                     default=None)  # fmt: skip
        # A day without events is nought and not unknown, but for those before the first of all.
        known = {
            day: float(value)
            for day, value in values.items()
            if value is not None and begins is not None and day >= begins
        }
        found.append(_Series(line.title, known))
    return found


def _known(source: Source) -> tuple[date | None, date]:
    """First day that the exact tables know, if any; and the first that is not whole yet."""
    span = source.read("SELECT min(day) AS begin FROM daily", tables=("daily",)).to_pylist()
    until = min(at for at in (source.complete_until, source.now_us) if at is not None)
    zone = ZoneInfo(source.zone)
    return span[0]["begin"], datetime.fromtimestamp(until / 1e6, UTC).astimezone(zone).date()


def _row(title: str, found: Effect | NotComputable, before: int, after: int) -> tuple[Any, ...]:
    if isinstance(found, NotComputable):
        nothing = (None,) * 9
        return (title, *nothing, before, after, f"not computable, because {found.reason}")
    return (
        title, found.before, found.after, found.change, found.low, found.high, found.relative,
        found.relative_low, found.relative_high, found.p, found.days_before, found.days_after, "",
    )  # fmt: skip


def _notes(title: str, found: Effect | NotComputable) -> list[str]:
    if isinstance(found, NotComputable):
        return [f"{title}: not computable, because {found.reason}."]
    notes = []
    if found.dependence > _DEPENDENT:
        notes.append(
            f"{title}: a day is like the day before it (correlation {found.dependence:.2f}), so "
            "the interval is too narrow."
        )
    if found.pooled:
        notes.append(f"{title}: too few days after to know their spread; that before is taken.")
    return notes


register(
    Kind(
        name="before_after",
        title="Before and after",
        description="What changed with a launch, against the same weekdays before it.",
        question=BeforeAfter,
        answer=answer,
        example={
            "dates": "2026-01-05..2026-03-29",
            "launch": "2026-03-02",
            "metrics": ["events"],
        },
    )
)
