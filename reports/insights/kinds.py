"""The kinds of questions there are, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from reports.insights.answer import Answer, Table
from reports.insights.question import Question, QuestionError, read
from reports.insights.source import Source


@dataclass(frozen=True)
class Kind:
    """One kind of question.

    question: what can be asked; its docstring and fields describe it to people and to OpenAPI
    answer:   how it is answered; raises QuestionError, reports.warehouse.engine.QueryFailed
    example:  a question that most projects can ask, as JSON has it
    """

    name: str
    title: str
    description: str
    question: type[Question]
    answer: Callable[[Any, Source], Table]
    example: dict[str, Any]


KINDS: dict[str, Kind] = {}


def register(kind: Kind) -> Kind:
    """Add a kind. Raises ValueError for a name that is taken."""
    if kind.name in KINDS:
        raise ValueError(f"there is a kind {kind.name!r} already")
    KINDS[kind.name] = kind
    return kind


def ask(kind: str, value: Any, source: Source) -> Answer:
    """Read a question of a kind and answer it. Raises QuestionError, QueryFailed."""
    if kind not in KINDS:
        raise QuestionError(f"there is no kind {kind!r} of question; there are {', '.join(KINDS)}")
    question = read(KINDS[kind].question, value)
    table = KINDS[kind].answer(question, source)
    return Answer(
        kind=kind,
        question=msgspec.to_builtins(question),
        table=table,
        days=source.days(question),
        as_of=source.as_of,
        complete_until=source.complete_until,
        zone=source.zone,
        identity=source.identity_text(question.identity),
        elapsed_s=source.elapsed_s,
        rows_read=source.rows_read,
    )
