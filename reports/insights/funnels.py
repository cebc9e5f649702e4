"""Funnels: how many people get through steps, how fast, and who does not."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
from msgspec import Meta

from reports.insights.answer import Chart, Column, Table, Unit
from reports.insights.filters import Bindings, any_named, expression, matches
from reports.insights.kinds import Kind, register
from reports.insights.parts import parts
from reports.insights.question import Question, QuestionError, Step
from reports.insights.source import Source
from reports.present import when
from transforms.funnels import (
    EXCLUSION_BIT,
    MOST_EXCLUSIONS,
    MOST_STEPS,
    Attempts,
    Funnel,
    Mode,
    best_attempts,
    largest,
    stages,
)

OTHER, NONE = "(other)", "(none)"
_SECOND_US = 1_000_000
_TEN_YEARS_S = 3660 * 86_400
# At the same instant the place in the archive decides: number of the block, row, producer.
_PLACE = ("seq", "row", "producer")


class Exclusion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event that ends an attempt.

    event:  which events do
    after:  number of the step from which on it does
    before: number of the step that the attempt must have taken to be safe; 0: the last
    """

    event: Step
    after: Annotated[int, Meta(ge=1)] = 1
    before: Annotated[int, Meta(ge=0)] = 0


class FunnelQuestion(Question, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many of the people who begin get how far.

    steps:      events, one after the other; two equal steps need two events
    mode:       ordered: other events may lie between; strict: no other event of the person may;
                any_order: the steps may come in any order
    window_s:   longest time from the first step to the last, which still counts
    exclusions: events that end an attempt
    breakdown:  property of the event that takes the first step
    top:        values of it that are shown; the rest is (other)
    """

    steps: Annotated[tuple[Step, ...], Meta(min_length=1, max_length=MOST_STEPS)]
    mode: Mode = "ordered"
    window_s: Annotated[int, Meta(ge=1, le=_TEN_YEARS_S)] = 14 * 86_400
    exclusions: Annotated[
        tuple[Exclusion, ...],
        Meta(max_length=MOST_EXCLUSIONS, extra_json_schema={"x-more": True}),
    ] = ()
    breakdown: str = ""
    top: Annotated[int, Meta(ge=1, le=50, extra_json_schema={"x-more": True})] = 10


class FunnelPeople(FunnelQuestion, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who took a step of a funnel and no more, or got at least so far.

    step:    number of the step
    outcome: dropped: took it and not the next one; reached: took it
    limit:   people at once
    after:   goes on after this person, the last one of the page before
    """

    step: Annotated[int, Meta(ge=1, le=MOST_STEPS)]
    outcome: Literal["dropped", "reached"] = "dropped"
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 100
    after: str = ""


@dataclass(frozen=True)
class _Read:
    """Best attempts, and of each the value of the breakdown at its first event."""

    attempts: Attempts
    values: pl.Series | None


def answer(question: FunnelQuestion, source: Source) -> Table:
    """People and times of each step, in all or by group. Raises QuestionError, QueryFailed."""
    funnel, read = _attempts(question, source)
    titles = step_titles(question)
    every = stages(read.attempts)
    groups, notes = [("", every)], _notes(question, funnel, source)
    if read.values is not None:
        groups, left_out = _groups(read, question.top)
        if left_out:
            notes.append(f"{OTHER}: {left_out} more values of {question.breakdown}.")
    rows = []
    for name, found in groups:
        for number, stage in enumerate(found):
            before = found[max(0, number - 1)].people
            shares = _share(stage.people, found[0].people), _share(stage.people, before)
            spent = stage.median, stage.p90, stage.since_first
            of = (name,) if question.breakdown else ()
            rows.append((*of, titles[number], stage.people, *shares, *spent))
    totals: list[tuple[str, Any, Unit]] = [
        ("Began", every[0].people, "count"),
        ("Took every step", every[-1].people, "count"),
        ("Conversion", _share(every[-1].people, every[0].people), "ratio"),
    ]
    if len(every) > 1:
        totals.append(("Median time to convert", every[-1].since_first, "seconds"))
    group = (Column("breakdown", question.breakdown, "label"),) if question.breakdown else ()
    color = "breakdown" if question.breakdown else ""
    chart = Chart("funnel", x="step", y="people", color=color)
    return Table((*group, *_COLUMNS), rows, chart, tuple(totals), tuple(notes))


_COLUMNS = (
    Column("step", "Step", "label"),
    Column("people", "People", "count"),
    Column("of_first", "Of the first step", "ratio"),
    Column("of_previous", "Of the step before", "ratio"),
    Column("median_s", "Median since the step before", "seconds"),
    Column("p90_s", "90 % within", "seconds"),
    Column("since_first_s", "Median since the first step", "seconds"),
)


def people(question: FunnelPeople, source: Source) -> Table:
    """Ids of people, in order, a page at a time. Raises QuestionError, QueryFailed."""
    keys, taken_at = _there(question, source)
    at = {int(key): times for key, times in zip(keys, taken_at, strict=True)}
    page = _named(question, source, keys, question.limit)
    rows = []
    for person, key in zip(*(page[name].to_pylist() for name in ("person", "key")), strict=True):
        times = at[key]
        taken = (times[0], times[question.step - 1])
        rows.append((person, *(when(int(us), source.zone) for us in taken)))
    columns = (
        Column("person", "Person", "label"),
        Column("began", "Began", "time"),
        Column("took", f"Took step {question.step}", "time"),
    )
    notes = []
    if len(rows) == question.limit and len(rows) < len(keys):
        notes.append(f"A page of {question.limit:,}: the next one begins after the last person.")
    totals: tuple[tuple[str, Any, Unit], ...] = (("People", len(keys), "count"),)
    return Table(columns, rows, Chart("table"), totals, tuple(notes))


def everybody(question: FunnelPeople, source: Source) -> list[str]:
    """Ids of all of them, in order, whatever `limit` and `after` are."""
    keys, _ = _there(question, source)
    whole = msgspec.structs.replace(question, after="")
    return [str(person) for person in _named(whole, source, keys)["person"].to_pylist()]


def _there(question: FunnelPeople, source: Source) -> tuple[Any, Any]:
    """Hashes of the people, and when each took each step, us. Raises QuestionError, QueryFailed."""
    count = len(question.steps)
    if question.step > count:
        raise QuestionError(f"step={question.step}: the funnel has {count} steps")
    if question.outcome == "dropped" and question.step == count:
        raise QuestionError(
            f"step={question.step} is the last one: nobody drops out after it; ask for the step "
            'before, or for outcome="reached"'
        )
    _, read = _attempts(question, source)
    found = read.attempts
    is_dropped = question.outcome == "dropped"
    there = found.reached == question.step if is_dropped else found.reached >= question.step
    return found.person[there], found.times[there]


def _named(question: FunnelPeople, source: Source, keys: Any, limit: int | None = None) -> pa.Table:
    """Columns `person` and `key` of the people with these hashes, in the order of their ids."""
    bind = Bindings()
    chosen = source.give(pa.table({"key": pa.array(keys)}))
    events = source.events(question, bind, source.span(question))
    more = f"AND e.person > {bind.add(question.after)}" if question.after else ""
    page = f"LIMIT {limit}" if limit is not None else ""
    return source.read(
        f"SELECT e.person AS person, any_value(hash(e.person)) AS key FROM {events} AS e "
        f"WHERE hash(e.person) IN (SELECT key FROM {chosen}) {more} "
        f"GROUP BY e.person ORDER BY e.person {page}",
        bind,
    )


def step_titles(question: FunnelQuestion) -> list[str]:
    """A name for each step; no two are equal."""
    count = len(question.steps)
    if question.mode == "any_order":
        return [f"{number} of {count} steps" for number in range(1, count + 1)]
    return [f"{number}. {step.title}" for number, step in enumerate(question.steps, 1)]


def _attempts(question: FunnelQuestion, source: Source) -> tuple[Funnel, _Read]:
    start, end = source.span(question)
    window_us = question.window_s * _SECOND_US
    try:
        funnel = Funnel(len(question.steps), question.mode, window_us, end, _between(question))
    except ValueError as error:
        raise QuestionError(f"exclusions: {error}") from None
    span = start, end + window_us
    every = parts(_rows(question, source, span))
    found = [_part(question, source, funnel, span, some) for some in every]
    return funnel, found[0] if len(found) == 1 else _together(found)


def _rows(question: FunnelQuestion, source: Source, span: tuple[int, int]) -> int:
    """About how many events are to be read: it decides on memory, not on the answer."""
    most = source.most_rows(*span)
    if len(parts(most)) == 1 or question.mode == "strict":
        return most
    middle, tenth = sum(span) // 2, (span[1] - span[0]) // 10
    sample = middle - tenth // 2, middle + tenth // 2
    of_sample = source.most_rows(*sample)
    if not of_sample:
        return most
    bind = Bindings()
    events = source.events(question, bind, sample)
    counted = f"SELECT count(*) AS n FROM {events} AS e WHERE {_named_in(question, bind)}"
    return most * int(source.read(counted, bind)["n"][0].as_py()) // of_sample


def _part(
    question: FunnelQuestion,
    source: Source,
    funnel: Funnel,
    span: tuple[int, int],
    some: str,
) -> _Read:
    """Of some of the people, as `parts` tells them."""
    bind = Bindings()
    rows = pl.DataFrame(source.read(_sql(question, source, bind, span, some), bind))
    attempts = best_attempts(rows.drop("value", strict=False), funnel)
    return _Read(attempts, rows["value"].gather(attempts.first) if question.breakdown else None)


def _together(found: list[_Read]) -> _Read:
    """Of all parts; in no order, and where its first event was says nothing any more."""
    whole = Attempts(
        *(np.concatenate([getattr(one.attempts, each.name) for one in found])
          for each in fields(Attempts))
    )  # fmt: skip
    values = [one.values for one in found if one.values is not None]
    return _Read(whole, pl.concat(values) if values else None)


def _between(question: FunnelQuestion) -> tuple[tuple[int, int], ...]:
    count = len(question.steps)
    return tuple((one.after - 1, (one.before or count) - 1) for one in question.exclusions)


def _looked_for(question: FunnelQuestion) -> list[Step]:
    return [*question.steps, *(one.event for one in question.exclusions)]


def _named_in(question: FunnelQuestion, bind: Bindings) -> str:
    """The events that can match something, by their names; of a strict funnel all."""
    return "true" if question.mode == "strict" else any_named(_looked_for(question), bind)


def _sql(
    question: FunnelQuestion,
    source: Source,
    bind: Bindings,
    span: tuple[int, int],
    some: str,
) -> str:
    """Events of somebody that match something, or of a strict funnel all, with few columns."""
    looked_for = _looked_for(question)
    numbers = [*range(len(question.steps)), *(
        EXCLUSION_BIT + number for number in range(len(question.exclusions)))]  # fmt: skip
    bits = " | ".join(
        f"CASE WHEN {matches(step, bind)} THEN {1 << number} ELSE 0 END"
        for step, number in zip(looked_for, numbers, strict=True)
    )
    named = f"{_named_in(question, bind)} AND {some}"
    relevant = "true" if question.mode == "strict" else "bits <> 0"
    value = ""
    if question.breakdown:
        begins = (1 << len(question.steps)) - 1 if question.mode == "any_order" else 1
        value = f", CASE WHEN bits & {begins} <> 0 THEN value END AS value"
    text = f", {expression(question.breakdown)} AS value" if question.breakdown else ""
    events = source.events(question, bind, span)
    return (
        "SELECT hash(person) AS person, epoch_us(event_time) AS time, bits, "
        f"seq, row, hash(producer) AS producer{value} "
        f"FROM (SELECT e.person, e.event_time, e.seq, e.row, e.producer, ({bits})::UINTEGER AS bits"
        f"{text} FROM {events} AS e WHERE e.person IS NOT NULL AND {named}) WHERE {relevant}"
    )


def _groups(read: _Read, top: int) -> tuple[list[tuple[str, Any]], int]:
    """(name, stages) of the largest groups and the rest, and how many values are in the rest."""
    assert read.values is not None
    people = pl.DataFrame({"value": read.values}).with_row_index("person")
    groups = people.group_by("value").agg("person")
    values = groups["value"].to_list()
    members = {
        value: where.to_numpy() for value, where in zip(values, groups["person"], strict=True)
    }
    shown = largest(values, groups["person"].list.len().to_list(), top)
    found = [
        (NONE if value is None else value, stages(read.attempts, members.pop(value)))
        for value in shown
    ]
    if members:
        rest = np.concatenate(list(members.values()))
        found.append((OTHER, stages(read.attempts, rest)))
    return found, len(members)


def _notes(question: FunnelQuestion, funnel: Funnel, source: Source) -> list[str]:
    notes = []
    end = funnel.starts_before
    if end + funnel.window_us > source.now_us and len(question.steps) > 1:
        since = max(source.now_us - funnel.window_us, source.span(question)[0])
        notes.append(f"Who began after {when(since, source.zone)} still has time to go on.")
    if question.mode == "any_order":
        notes.append("A step counts people who took so many of the steps, whichever they were.")
    return notes


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


_EXAMPLE = {"steps": [{"name": "page"}, {"name": "Order Completed"}], "window_s": 604_800}

register(
    Kind(
        "funnel",
        "Funnel",
        "How many people get through steps, one after the other, and how long it takes them.",
        FunnelQuestion,
        answer,
        _EXAMPLE,
    )
)
register(
    Kind(
        "funnel_people",
        "People of a funnel",
        "Who took a step of a funnel and did not go on.",
        FunnelPeople,
        people,
        {**_EXAMPLE, "step": 1},
        lists_people=True,
    )
)
