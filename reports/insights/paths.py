"""Paths as a question: what people do after a chosen event, or before it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from msgspec import Meta
from numpy.typing import NDArray

from reports.insights.answer import Chart, Column, Table
from reports.insights.filters import Bindings, matches
from reports.insights.kinds import Kind, register
from reports.insights.person_periods import number_sql
from reports.insights.question import Question, QuestionError, Step
from reports.insights.source import Source
from transforms.paths import END, OTHER, Direction, Stream, Walk, edges
from transforms.periods import Periods

MOST_EVENTS = 10_000_000
_MORE = {"x-more": True}
_VIEW = "e.type IN ('page', 'screen')"


class PathsQuestion(Question, frozen=True, kw_only=True):
    """What people do one after the other, from an event on or up to it.

    start:       event that paths start from, or end with; empty: the first event, or the last
    direction:   after the event, or before it
    nodes:       events: every event by its name; pages: pages and screens by their path
    within:      session: while no gap is longer than 30 minutes, a path for each session;
                 time: for so long from the event on, a path for each person
    window_s:    how long, for within=time
    steps:       most steps that are shown
    nodes_shown: that many events or pages at each step, the rest is (other)
    collapse:    the same event or page several times in a row counts once
    ends:        show also where paths end
    """

    start: Annotated[Step | None, Meta(title="Start event")] = None
    direction: Direction = "after"
    nodes: Literal["events", "pages"] = "events"
    within: Literal["session", "time"] = "session"
    window_s: Annotated[float, Meta(gt=0, le=366 * 86_400, extra_json_schema=_MORE)] = 3600
    steps: Annotated[int, Meta(ge=1, le=10)] = 4
    nodes_shown: Annotated[int, Meta(ge=1, le=50, extra_json_schema=_MORE)] = 8
    collapse: bool = True
    ends: bool = False


def answer(question: PathsQuestion, source: Source) -> Table:
    """The question's table. Raises QuestionError, QueryFailed."""
    found = _read(question, source)
    nodes, numbers = _numbered(found["node"])
    stream = Stream(
        person=found["code"].to_numpy().astype(np.int64),
        time=found["time_us"].to_numpy().astype(np.int64),
        day=found["day"].to_numpy().astype(np.int64),
        node=numbers,
        anchor=found["anchor"].to_numpy(zero_copy_only=False),
    )
    walk = Walk(
        direction=question.direction,
        steps=question.steps,
        shown=question.nodes_shown,
        collapse=question.collapse,
        window_us=round(question.window_s * 1e6) if question.within == "time" else None,
        ends=question.ends,
    )
    names = dict(enumerate(nodes))
    names[OTHER], names[END] = "(other)", "(end)" if question.direction == "after" else "(start)"
    rows = [
        (depth, names[begin], names[end], people, paths, None if us is None else us / 1e6)
        for depth, begin, end, people, paths, us in edges(stream, walk).iter_rows()
    ]
    columns = (
        Column("depth", "Step", "number"),
        Column("from", "From", "label"),
        Column("to", "To", "label"),
        Column("people", "People", "count"),
        Column("events", "Times", "count"),
        Column("median_s", "Median time", "seconds"),
    )
    chart = Chart("flow", row="from", x="to", y="events", color="depth")
    return Table(columns, rows, chart, notes=tuple(_notes(question)))


def _numbered(column: pa.ChunkedArray[Any]) -> tuple[list[str], NDArray[np.int64]]:
    """Names in their order, and the number of each item: so that equal counts are told by name."""
    encoded = column.combine_chunks().dictionary_encode()
    names = [str(name) for name in encoded.dictionary.to_pylist()]
    order = sorted(range(len(names)), key=names.__getitem__)
    rank = np.empty(len(names), np.int64)
    rank[order] = np.arange(len(names))
    return [names[place] for place in order], rank[encoded.indices.to_numpy()]


def _read(question: PathsQuestion, source: Source) -> pa.Table:
    """Events of the people who have an anchor, in order. Raises QuestionError for too many."""
    bind = Bindings()
    days = Periods.of(source.days(question), "day", source.zone)
    anchor = "true" if question.start is None else matches(question.start, bind)
    node = "coalesce(nullif(e.name, ''), e.type)"
    if question.nodes == "pages":
        path = "coalesce(nullif(e.page_path, ''), nullif(e.name, ''), e.type)"
        anchored = f"WHEN {anchor} THEN {node}" if question.start else ""
        node = f"CASE WHEN {_VIEW} THEN {path} {anchored} END"
    events = source.events(question, bind)
    trail = f"""WITH trail AS (
          SELECT e.person, epoch_us(e.event_time) AS time_us, {number_sql(days)} AS day,
            {node} AS node, {anchor} AS anchor, e.producer, e.seq, e.row AS place
          FROM {events} AS e
          WHERE e.person IS NOT NULL AND {node} IS NOT NULL
        ),
        people AS (
          SELECT person, row_number() OVER () AS code
          FROM (SELECT DISTINCT person FROM trail WHERE anchor)
        )"""
    joined = "FROM trail JOIN people USING (person)"
    count = source.read(f"{trail} SELECT count(*) AS n {joined}", bind)["n"][0].as_py()
    if count > MOST_EVENTS:
        raise QuestionError(
            f"dates={question.dates!r}: {count:,} events would be followed, more than "
            f"{MOST_EVENTS:,}; choose fewer days, a rarer start, or conditions in where"
        )
    return source.read(
        f"{trail} SELECT code, time_us, day, node, anchor {joined} "
        "ORDER BY code, time_us, producer, seq, place",
        bind,
    )


def _notes(question: PathsQuestion) -> list[str]:
    first = "first" if question.direction == "after" else "last"
    of = "session" if question.within == "session" else "person"
    what = "such event" if question.start else "event"
    said = [f"Each {of} is followed from its {first} {what} in these days."]
    if question.within == "session":
        said.append("A session that crosses the first or the last midnight is cut there.")
    return said


register(
    Kind(
        "paths",
        "Paths",
        "What people do one after the other: after a chosen event or page, or before it.",
        PathsQuestion,
        answer,
        {"dates": "last_7_days", "steps": 4},
    )
)
