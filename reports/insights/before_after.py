"""Before and after a launch: registered daily numbers, or one of events, with uncertainty.

What counts as a change, and when it is not computable, is in `transforms.before_after`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from reports.insights.answer import Chart, Column, Table
from reports.insights.filters import Bindings, matches
from reports.insights.kinds import Kind, register
from reports.insights.question import Question, QuestionError, Step
from reports.insights.source import Source
from transforms.before_after import LEVEL, Effect, NotComputable, effect
from transforms.metrics import METRICS
from transforms.money import exponent

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
_MEASURES = {"events": "count(*)", "people": "count(DISTINCT e.person)"}


class BeforeAfter(Question, frozen=True, kw_only=True):
    """What changed with a launch: days after it against the same weekdays before.

    launch:      its day, such as 2026-03-01
    annotation:  or the name of a saved annotation, whose day it is
    metrics:     registered daily numbers; revenue is one for each currency
    event:       a number of one's own besides: such events of a day
    measure:     of these the events, or the people who did them
    settle_days: days from the launch on that are left out, such as the launch day itself
    """

    dates: str = "last_12_weeks"
    launch: str = ""
    annotation: str = ""
    metrics: Annotated[
        tuple[str, ...], msgspec.Meta(extra_json_schema={"x-suggest": list(METRICS)})
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
    series = _series(question, source, first, min(last, source.today - _DAY))
    from_day = launch + timedelta(question.settle_days)
    rows, notes = [], []
    for one in series:
        before = {day: value for day, value in one.values.items() if day < launch}
        after = {day: value for day, value in one.values.items() if day >= from_day}
        found = effect(before, after)
        rows.append(_row(one.title, found, len(before), len(after)))
        notes += _notes(one.title, found)
    shared = (
        f"Intervals of {LEVEL:.0%}: days after {launch} against what the same weekdays before let "
        "expect. Nothing but time tells them apart: whatever else changed then is in them.",
        *(
            [f"Of {len(series)} intervals one in twenty leaves out the truth by chance."]
            if len(series) > 1
            else []
        ),
    )
    chart = Chart("bar", x="metric", y="relative")
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
    wanted = question.metrics or (() if question.event else ("events", "active_users", "orders"))
    for name in wanted:
        if name not in METRICS:
            raise QuestionError(f"metrics: there is no {name!r}; there are {', '.join(METRICS)}")
    if wanted and (question.where or question.cohort):
        raise QuestionError(
            "where and cohort apply to event alone: daily metrics are of everybody; leave out "
            "metrics, or the conditions"
        )
    found = _daily(tuple(dict.fromkeys(wanted)), source, first, last) if wanted else []
    if question.event is not None:
        found.append(_of_events(question, question.event, source, first, last))
    return found


def _daily(names: tuple[str, ...], source: Source, first: date, last: date) -> list[_Series]:
    """Series out of the exact daily table; a day without events is nought, not unknown."""
    span = "SELECT min(day), epoch_us(max(complete_until)) FROM daily"
    begins, until = _only(source.read(span, tables=("daily",)))
    if begins is None:
        return [_Series(METRICS[name].title, {}) for name in names]
    zone = ZoneInfo(source.zone)
    last = min(last, datetime.fromtimestamp(until / 1e6, UTC).astimezone(zone).date() - _DAY)
    known = _days(max(first, begins), last)
    bind = Bindings()
    sql = (
        "SELECT day, metric, dimensions, value, denominator FROM daily WHERE day BETWEEN "
        f"{bind.add(first)} AND {bind.add(last)} AND list_contains({bind.add(list(names))}, metric)"
    )
    found: dict[tuple[str, str], dict[date, float]] = {}
    ratios = {name for name in names if METRICS[name].denominator}
    for row in source.read(sql, bind, tables=("daily",)).to_pylist():
        dimensions, name = json.loads(row["dimensions"]), row["metric"]
        currency = dimensions.get("currency", "")
        if dimensions and not currency:
            continue  # of one event name: part of the total
        days = found.setdefault((name, currency), {})
        if name not in ratios:
            days[row["day"]] = row["value"] / 10 ** (exponent(currency) if currency else 0)
        elif row["denominator"]:
            days[row["day"]] = row["value"] / row["denominator"]
    series = []
    for name in names:
        of_name = {c: days for (n, c), days in sorted(found.items()) if n == name}
        for currency, days in (of_name or {"": {}}).items():
            title = METRICS[name].title + (f", {currency}" if currency else "")
            whole = {day: days.get(day, 0.0) for day in known if name not in ratios or day in days}
            series.append(_Series(title, whole))
    return series


def _of_events(
    question: BeforeAfter, step: Step, source: Source, first: date, last: date
) -> _Series:
    """A number of events, counted anew from the raw ones."""
    begins = Bindings()
    local = f"timezone({begins.add(source.zone)}, min(event_time))::DATE"
    (begin,) = _only(source.read(f"SELECT {local} FROM events", begins))
    bind = Bindings()
    events = source.events(question, bind)
    day = f"timezone({bind.add(source.zone)}, e.event_time)::DATE"
    sql = (
        f"SELECT {day} AS day, {_MEASURES[question.measure]} AS value FROM {events} AS e "
        f"WHERE {matches(step, bind)} GROUP BY 1"
    )
    days = {row["day"]: float(row["value"]) for row in source.read(sql, bind).to_pylist()}
    known = _days(max(first, begin), last) if begin is not None else []
    title = f"{step.title}, {question.measure}"
    return _Series(title, {day: days.get(day, 0.0) for day in known})


def _only(table: Any) -> tuple[Any, ...]:
    """The one row of a table."""
    return tuple(table.to_pylist()[0].values())


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(n) for n in range((last - first).days + 1)]


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
