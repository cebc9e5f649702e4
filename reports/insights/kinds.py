"""The kinds of questions there are, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from reports.insights.answer import Answer, Table
from reports.insights.question import PeopleHidden, Question, QuestionError, read
from reports.insights.source import Source


@dataclass(frozen=True)
class Kind:
    """One kind of question.

    question: what can be asked; its docstring and fields describe it to people and to OpenAPI
    answer:   how it is answered; raises QuestionError, reports.warehouse.engine.QueryFailed
    example:  a question that most projects can ask, as JSON has it
    lists_people: its rows are people and not numbers, which not everybody may see
    """

    name: str
    title: str
    description: str
    question: type[Question]
    answer: Callable[[Any, Source], Table]
    example: dict[str, Any]
    lists_people: bool = False


KINDS: dict[str, Kind] = {}
IDS = ("user_id", "anonymous_id")
_SPLITS = ("breakdown", "split_property")  # fields of questions whose property's values are rows


def register(kind: Kind) -> Kind:
    """Add a kind. Raises ValueError for a name that is taken."""
    if kind.name in KINDS:
        raise ValueError(f"there is a kind {kind.name!r} already")
    KINDS[kind.name] = kind
    return kind


def check(kind: str, value: Any, source: Source) -> None:
    """Raises QuestionError for a kind that is none, PeopleHidden where ids would be listed."""
    if kind not in KINDS:
        raise QuestionError(f"there is no kind {kind!r} of question; there are {', '.join(KINDS)}")
    fields = value if isinstance(value, Mapping) else {}
    by_id = any(fields.get(name) in IDS for name in _SPLITS)
    if KINDS[kind].lists_people or by_id:
        check_people(KINDS[kind].title, source)


def check_people(what: str, source: Source) -> None:
    """Raises PeopleHidden for something that says who people are, where that is not for all."""
    if not source.may_list_people:
        raise PeopleHidden(
            f"{what}: who people are is shown to analysts of {source.project} only; ask an admin "
            "for the role analyst"
        )


def ask(kind: str, value: Any, source: Source) -> Answer:
    """Read a question of a kind and answer it. Raises as `check`, QuestionError, QueryFailed."""
    check(kind, value, source)
    question = read(KINDS[kind].question, value)
    table = KINDS[kind].answer(question, source)
    if gone := source.gone_before():
        said = (
            f"Events before {gone} are gone by retention: earlier days are not whole, and who or "
            "what came before counts from its first event since. The table daily keeps totals."
        )
        table = replace(table, notes=(*table.notes, said))
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
