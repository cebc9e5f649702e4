"""Who meets a cohort's rule: one pass over the events for all its conditions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reports.cohorts.definition import (
    Asked,
    Definition,
    Did,
    FirstDid,
    Property,
    Sql,
    Trait,
    Upload,
    leaves_of,
    tree_of,
)
from reports.insights.filters import Bindings, condition, expression, matches
from reports.insights.person_periods import ALL_TIME
from reports.insights.question import Filter, Question, days_of, span_us
from reports.insights.source import Source
from transforms.cohorts import Mask, can_be_silent, did, first_within, members, newest

_ID = "coalesce(nullif(e.user_id, ''), nullif(e.anonymous_id, ''))"
_PLACE = "(e.event_time, e.producer, e.seq, e.row)"
_HOLDS_WITHOUT = {"is_not", "not_contains", "is_not_set"}
_NEVER = -(1 << 62)
_Column: TypeAlias = "pa.ChunkedArray[Any]"
Names = Callable[[Sql | Upload], pa.Table]  # ids of a query or a list: column `id`


@dataclass(frozen=True)
class Found:
    """People of a cohort.

    people:  column `person`, each once, sorted, in the definition's identity mode
    others:  column `person`: what the same people are called in the other mode
    remarks: what did not fit, such as ids on a list that nobody has
    """

    people: pa.Table
    others: pa.Table
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class _Asking:
    """How a condition is asked.

    column: aggregate over a person's events
    rows:   SQL of the events that can say anything of it
    span:   when these lie, us
    mask:   who meets it, out of the column
    silent: does somebody without any such event meet it?
    """

    column: str
    rows: str
    span: tuple[int, int]
    mask: Callable[[_Column], Mask]
    silent: bool


def evaluate(definition: Definition, source: Source, names: Names) -> Found:
    """Find them. Raises QuestionError, QueryFailed, and what `names` does."""
    bind, remarks = Bindings(), list[str]()
    question = Question(identity=definition.identity)
    asked = [
        _asking(leaf, _Around(source, question, names), bind, remarks)
        for leaf in leaves_of(definition.rule)
    ]
    tree = tree_of(definition.rule)
    span, only = _all_time(source), ""
    # Where silence is no membership, people without any of these events need not be looked at.
    if not can_be_silent(tree, [one.silent for one in asked]):
        span = min(one.span[0] for one in asked), max(one.span[1] for one in asked)
        only = f"AND ({' OR '.join(one.rows for one in asked)})"
    columns = ", ".join(f"{one.column} AS leaf_{number}" for number, one in enumerate(asked))
    found = source.read(
        f"""SELECT person, {columns}
        FROM {source.events(question, bind, span)} AS e
        WHERE person IS NOT NULL {only}
        GROUP BY person ORDER BY person""",
        bind,
    )
    masks = [one.mask(found[f"leaf_{number}"]) for number, one in enumerate(asked)]
    people = found.select(["person"]).filter(pa.array(members(tree, masks)))
    return Found(people, _others(people, source, question), tuple(remarks))


@dataclass(frozen=True)
class _Around:
    """What conditions are asked of."""

    source: Source
    question: Question
    names: Names


def _asking(leaf: Asked, around: _Around, bind: Bindings, remarks: list[str]) -> _Asking:
    source = around.source
    match leaf:
        case Did():
            return _did(leaf, source, bind)
        case FirstDid():
            rows, span = matches(leaf.event, bind), _span(leaf.dates, source)
            return _Asking(
                column=f"min(epoch_us(e.event_time)) FILTER (WHERE {rows})",
                rows=rows,
                span=(ALL_TIME, span[1]),
                mask=lambda got: first_within(_numbers(got, _NEVER), span),
                silent=False,
            )
        case Trait():
            return _newest(leaf.filter, "e.type = 'identify'", _all_time(source), bind)
        case Property():
            span = _span(leaf.dates, source)
            rows = f"({matches(leaf.event, bind)} AND {_between(span)})"
            if leaf.when == "last":
                return _newest(leaf.where, rows, span, bind)
            met = f"({rows} AND {condition(leaf.where, bind)})"
            return _Asking(f"bool_or({met})", met, span, _truths, silent=False)
    known, unknown = _known(around.names(leaf), around)
    if unknown:
        kind = "query" if isinstance(leaf, Sql) else "list"
        remarks.append(f"{unknown:,} of the ids in the {kind} belong to nobody with an event")
    on_it = f"e.person IN (SELECT person FROM {source.give(known)})"
    return _Asking(f"bool_or({on_it})", on_it, _all_time(source), _truths, silent=False)


def _did(leaf: Did, source: Source, bind: Bindings) -> _Asking:
    span = _span(leaf.dates, source)
    rows = f"({matches(leaf.event, bind)} AND {_between(span)})"
    return _Asking(
        f"count(*) FILTER (WHERE {rows})",
        rows,
        span,
        lambda got: did(_numbers(got, 0), leaf.times, leaf.count),
        silent=bool(did(np.zeros(1, np.int64), leaf.times, leaf.count)[0]),
    )


def _newest(asked: Filter, rows: str, span: tuple[int, int], bind: Bindings) -> _Asking:
    """The newest of these events that has the property decides."""
    without = asked.operator in _HOLDS_WITHOUT
    has_it = f"({rows} AND {expression(asked.property)} IS NOT NULL)"
    column = f"arg_max({condition(asked, bind)}, {_PLACE}) FILTER (WHERE {has_it})"

    def mask(got: _Column) -> Mask:
        return newest(_truths(got), got.is_valid().to_numpy().astype(bool), without)

    return _Asking(column, has_it, span, mask, silent=without)


def _all_time(source: Source) -> tuple[int, int]:
    """No event lies after now."""
    return ALL_TIME, source.now_us + 1


def _span(dates: str, source: Source) -> tuple[int, int]:
    """[start, end) in us; empty: all time up to now."""
    if not dates:
        return _all_time(source)
    return span_us(days_of(dates, source.today), source.zone)


def _between(span: tuple[int, int]) -> str:
    first, end = (f"make_timestamptz({at})" for at in span)
    return f"e.event_time >= {first} AND e.event_time < {end}"


def _numbers(column: _Column, none: int) -> NDArray[np.int64]:
    return pl.Series(column).fill_null(none).cast(pl.Int64).to_numpy()


def _truths(column: _Column) -> Mask:
    return pl.Series(column).cast(pl.Boolean).fill_null(False).to_numpy()


def _known(ids: pa.Table, around: _Around) -> tuple[pa.Table, int]:
    """The people who have these ids, and how many ids nobody has.

    An id is a person's, or that of an event: its user id, or anonymous id where there is none, or
    one that the identities table joins to a person.
    """
    bind, source = Bindings(), around.source
    table = source.give(ids)
    events = source.events(around.question, bind, _all_time(source))
    through = source.joins_people() and around.question.identity == "person"
    joined = "UNION ALL SELECT id, person_id AS person FROM identities" if through else ""
    found = source.read(
        f"""WITH pairs AS MATERIALIZED (
          SELECT DISTINCT {_ID} AS id, person FROM {events} AS e WHERE person IS NOT NULL
        )
        SELECT id AS given, person FROM (SELECT id, person FROM pairs {joined})
        WHERE id IN (SELECT id FROM {table}) AND person IN (SELECT person FROM pairs)
        UNION
        SELECT person AS given, person FROM pairs WHERE person IN (SELECT id FROM {table})""",
        bind,
    )
    people = found.select(["person"]).group_by("person").aggregate([])
    return people, ids.num_rows - len(pc.unique(found["given"]))


def _others(people: pa.Table, source: Source, question: Question) -> pa.Table:
    """What they are called where people are counted the other way."""
    if not source.joins_people():
        return people.slice(0, 0)
    table = source.give(people)
    own, other = ("person_id", "id") if question.identity == "person" else ("id", "person_id")
    return source.read(
        f"SELECT DISTINCT {other} AS person FROM identities "
        f"WHERE {own} IN (SELECT person FROM {table})",
        tables=("identities",),
    )


def as_ids(values: Sequence[object]) -> pa.Table:
    """A table of ids, each once."""
    texts = sorted({str(value) for value in values if value is not None})
    return pa.table({"id": pa.array(texts, pa.string())})
