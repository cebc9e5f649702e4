"""Errors: groups of the same one, and one group by day. docs/errors.md has the conventions.

Two reads. The first takes what was said of errors, each different text once, and gives every one
its fingerprint here. The second counts, by the hash of that text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Annotated

import msgspec
import polars as pl

from reports.insights.answer import Chart, Column, Table
from reports.insights.filters import Bindings
from reports.insights.kinds import Kind, register
from reports.insights.question import Question, QuestionError
from reports.insights.source import Source
from reports.present import when
from reports.warehouse.execute import quoted
from transforms.error_groups import (
    ERROR_NAMES,
    EVIDENCE,
    PLAIN,
    ROWS,
    Group,
    Problem,
    fingerprint,
    group,
    read,
    spark,
)
from transforms.grid import DAY_US, MINUTE_US, day_span_us

MOST_TEXTS = 50_000
_SLICE_US = 15 * MINUTE_US  # days of every time zone begin at such a quarter of an hour
# Only what this finds is read as JSON.
_MAY_BE = r'"(error|exception)"\s*:\s*\{|"exception\.(type|message)"'
_ID = re.compile(r"[0-9a-f]{16}")
_Hint = Annotated[int, msgspec.Meta(ge=0, le=366, extra_json_schema={"x-more": True})]


class Errors(Question, frozen=True, kw_only=True):
    """Groups of errors: how often, since when, how many people, where.

    search:  only groups whose type, message or place has this text
    also:    names of further events that are errors, besides $exception and Error
    rows:    how many groups are listed, those with most events first
    history: days before the dates that are looked through for when a group was first seen
    """

    search: str = ""
    also: Annotated[
        tuple[str, ...], msgspec.Meta(max_length=50, extra_json_schema={"x-more": True})
    ] = ()
    rows: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 100
    history: _Hint = 28


class ErrorGroup(Question, frozen=True, kw_only=True):
    """One group of errors by day.

    group:   its id, as the list of groups has it
    also:    as for the list
    """

    group: str
    also: Annotated[
        tuple[str, ...], msgspec.Meta(max_length=50, extra_json_schema={"x-more": True})
    ] = ()
    history: _Hint = 28


@dataclass(frozen=True)
class Found:
    """Groups of the dates, those with most events first.

    first: when each was first seen in the dates or the history before, us
    keys:  hashes of the texts of each
    """

    groups: list[Group]
    first: dict[str, int]
    keys: dict[str, list[int]]
    notes: tuple[str, ...]


def errors_sql(question: Errors | ErrorGroup, source: Source, bind: Bindings) -> str:
    """SQL of the question's errors from the start of its history: events, `evidence` and its hash.

    evidence: + for an event that has one of the names, - for others, and a JSON list of what its
    properties have under EVIDENCE, and under PLAIN where it has a name. Of others some are no
    errors: `read` decides.
    """
    names = bind.add([*ERROR_NAMES, *question.also])
    start, end = source.span(question)
    events = source.events(question, bind, (start - question.history * DAY_US, end))
    return f"""(
      SELECT *, hash(evidence) AS evidence_hash
      FROM (
        SELECT
          *,
          CASE WHEN named THEN '+' || coalesce({_said(EVIDENCE + PLAIN)}, '[]')
          ELSE '-' || coalesce({_said(EVIDENCE)}, '[]') END AS evidence
        FROM (
          SELECT e.*, coalesce(list_contains({names}, e.name), false) AS named FROM {events} AS e
        ) AS e
        WHERE named OR (e.type = 'track' AND regexp_matches(e.properties, {quoted(_MAY_BE)}))
      )
    )"""


def _said(names: tuple[str, ...]) -> str:
    paths = ", ".join(quoted(f'$."{name}"') for name in names)
    return f"to_json(TRY(json_extract(e.properties, [{paths}])))::VARCHAR"


def find(question: Errors | ErrorGroup, source: Source) -> Found:
    """The groups. Raises QueryFailed."""
    bind = Bindings()
    sql = errors_sql(question, source, bind)
    texts = source.read(
        f"""SELECT evidence_hash, any_value(evidence) AS evidence, count(*) AS events
        FROM {sql} GROUP BY evidence_hash
        ORDER BY events DESC, evidence_hash LIMIT {MOST_TEXTS + 1}""",
        bind,
    )
    listed = texts.slice(0, MOST_TEXTS).to_pylist()
    problems = {row["evidence_hash"]: _problem(row["evidence"]) for row in listed}
    kept = {key: problem for key, problem in problems.items() if problem is not None}
    rows = source.read(
        f"""SELECT
          evidence_hash AS evidence, person, app_version AS version,
          browser_name || coalesce(' ' || split_part(browser_version, '.', 1), '') AS browser,
          count(*) AS events,
          min(epoch_us(event_time)) AS first, max(epoch_us(event_time)) AS last
        FROM {sql}
        GROUP BY 1, 2, 3, 4, epoch_us(event_time) // {_SLICE_US}""",
        bind,
    )
    frame = pl.DataFrame(pl.from_arrow(rows)).cast(dict(ROWS))  # type: ignore[arg-type]
    notes = []
    if texts.num_rows > MOST_TEXTS:
        notes.append(
            f"There are more than {MOST_TEXTS:,} different error texts; those that came most often "
            "are grouped. Ask for fewer days or add a filter for the others."
        )
    keys: dict[str, list[int]] = {}
    for key, problem in kept.items():
        keys.setdefault(fingerprint(problem), []).append(key)
    start, _ = source.span(question)
    return Found(
        groups=group(frame.filter(pl.col("first") >= start), kept, source.zone),
        first={one.id: one.first for one in group(frame, kept, source.zone)},
        keys=keys,
        notes=tuple(notes),
    )


def _problem(evidence: str) -> Problem | None:
    is_named, values = evidence[0] == "+", msgspec.json.decode(evidence[1:])
    known = {n: v for n, v in zip(EVIDENCE + PLAIN, values, strict=False) if v is not None}
    return read(known) or (Problem("", "") if is_named else None)


# -- The two kinds.

_GROUPS = (
    Column("group", "Group", "label"),
    Column("type", "Type", "label"),
    Column("message", "Message", "label"),
    Column("culprit", "Where", "label"),
    Column("events", "Events", "count"),
    Column("people", "People", "count"),
    Column("first_seen", "First seen", "time"),
    Column("last_seen", "Last seen", "time"),
    Column("is_new", "New", "label"),
    Column("versions", "Versions", "label"),
    Column("browsers", "Browsers", "label"),
    Column("trend", "Trend", "label"),
)


def answer(question: Errors, source: Source) -> Table:
    """A row for each group that has events in the dates."""
    found = find(question, source)
    start, _ = source.span(question)
    days = days_between(*source.days(question))
    shown = [one for one in found.groups if _matches(one, question.search)]
    new = {one.id for one in shown if found.first[one.id] >= start}
    rows = [
        (
            one.id,
            one.problem.type or "(no type)",
            one.problem.message.split("\n", 1)[0][:300] or "(no message)",
            one.problem.culprit,
            one.events,
            one.people,
            when(found.first[one.id], source.zone),
            when(one.last, source.zone),
            "new" if one.id in new else "",
            _listed(one.versions),
            _listed(one.browsers),
            spark([one.days.get(day, 0) for day in days[-60:]]),
        )
        for one in shown[: question.rows]
    ]
    notes = [*found.notes]
    if len(shown) > question.rows:
        notes.append(f"{len(shown):,} groups in all; the {question.rows:,} with most events shown.")
    notes.append(
        f"First seen looks back {question.history} days before the dates as well; new: not seen "
        "in those."
    )
    return Table(
        columns=_GROUPS,
        rows=rows,
        chart=Chart("table"),
        totals=(
            ("Errors", sum(one.events for one in shown), "count"),
            ("Groups", len(shown), "count"),
            ("New groups", len(new), "count"),
        ),
        notes=tuple(notes),
    )


def _matches(one: Group, text: str) -> bool:
    wanted = text.strip().lower()
    said = (one.problem.type, one.problem.message, one.problem.culprit, one.id)
    return not wanted or any(wanted in part.lower() for part in said)


def _listed(values: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{value} ({events:,})" for value, events in values if value)


def days_between(first: date, last: date) -> list[date]:
    """Every day, both included."""
    return [date.fromordinal(n) for n in range(first.toordinal(), last.toordinal() + 1)]


def one_group(question: ErrorGroup, source: Source) -> tuple[Group, Found]:
    """A group, and what else was found. Raises QuestionError where there is none."""
    if not _ID.fullmatch(question.group):
        raise QuestionError(
            f"group={question.group!r} is no id of a group; those have 16 hexadecimal digits"
        )
    found = find(question, source)
    for one in found.groups:
        if one.id == question.group:
            return one, found
    raise QuestionError(
        f"group={question.group!r}: no error of these dates belongs to it; ask for other dates"
    )


def answer_group(question: ErrorGroup, source: Source) -> Table:
    """Its events by day, days without any as 0."""
    one, found = one_group(question, source)
    first, last = source.days(question)
    rows = [(day.isoformat(), one.days.get(day, 0)) for day in days_between(first, last)]
    notes = found.notes
    if day_span_us(last, source.zone)[1] > source.now_us:
        notes = (*notes, "The last day is not over yet.")
    return Table(
        columns=(Column("day", "Day", "time"), Column("events", "Errors", "count")),
        rows=list(rows),
        chart=Chart("bar", x="day", y="events"),
        totals=(
            ("Errors", one.events, "count"),
            ("People", one.people, "count"),
            ("First seen", when(found.first[one.id], source.zone), "time"),
            ("Last seen", when(one.last, source.zone), "time"),
        ),
        notes=(one.problem.title, *notes),
    )


register(
    Kind(
        "errors",
        "Errors",
        "Groups of the same error: how often, how many people, first and last seen, versions.",
        Errors,
        answer,
        {"dates": "last_30_days"},
    )
)
register(
    Kind(
        "error_group",
        "One error by day",
        "The events of one group of errors by day.",
        ErrorGroup,
        answer_group,
        {"group": "0123456789abcdef"},
    )
)
