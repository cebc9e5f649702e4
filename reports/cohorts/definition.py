"""What a cohort is, as JSON has it, and checked: a rule, and who counts as one person."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from reports.insights.filters import Bindings, condition, matches
from reports.insights.question import Filter, Identity, Operator, QuestionError, Step, days_of
from transforms.cohorts import Branch, Leaf, Times, Tree

MOST_LEAVES, MOST_DEPTH = 50, 8
MOST_SQL, MOST_DESCRIPTION = 100_000, 1_000  # characters
_SOME_DAY = date(2026, 1, 1)
LIST_ID = re.compile(r"[0-9a-f]{64}")


class _Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="is"):
    """Base of all rules; `is` tells which."""


class All(_Rule, frozen=True, kw_only=True, tag="all"):
    """Every one of these holds."""

    of: tuple[Rule, ...]


class AnyOf(_Rule, frozen=True, kw_only=True, tag="any"):
    """At least one of these holds."""

    of: tuple[Rule, ...]


class Not(_Rule, frozen=True, kw_only=True, tag="not"):
    """This does not hold. Of everybody who ever had an event."""

    of: Rule


class Did(_Rule, frozen=True, kw_only=True, tag="did"):
    """Did it so often; `at_least` 1 is "did", `exactly` 0 is "never did".

    dates: as of a question, such as last_30_days or 2026-01-01..2026-01-31; empty: ever
    """

    event: Step = Step()
    times: Times = "at_least"
    count: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 1
    dates: str = ""


class FirstDid(_Rule, frozen=True, kw_only=True, tag="first_did"):
    """Did it for the first time of all time in these days."""

    event: Step = Step()
    dates: str = "last_30_days"


class Trait(_Rule, frozen=True, kw_only=True, tag="trait"):
    """A property of the person: the trait's value in the newest identify event that has it.

    name: of the trait, such as plan, or address.city
    """

    name: str
    operator: Operator = "is"
    values: tuple[str | int | float | bool, ...] = ()

    @property
    def filter(self) -> Filter:
        """The condition on identify events."""
        return Filter(
            property=f"properties.{self.name}", operator=self.operator, values=self.values
        )


class Property(_Rule, frozen=True, kw_only=True, tag="property"):
    """A property of the person's events.

    event: which events; empty: all
    where: the condition
    when:  ever, where any of the events meets it; last, where the newest that has the property does

    Dates are as in `did`.
    """

    where: Filter
    event: Step = Step()
    when: Annotated[str, Meta(pattern="^(ever|last)$")] = "ever"
    dates: str = ""


class Sql(_Rule, frozen=True, kw_only=True, tag="sql"):
    """Whoever a query names in its column `person`: an id that events carry, or a person's."""

    sql: Annotated[str, Meta(min_length=1, max_length=MOST_SQL)]


class Upload(_Rule, frozen=True, kw_only=True, tag="upload"):
    """Whoever is on an uploaded list of ids. list: what the upload answered."""

    list: str


Rule = All | AnyOf | Not | Did | FirstDid | Trait | Property | Sql | Upload
_KINDS = ("all", "any", "not", "did", "first_did", "trait", "property", "sql", "upload")
Asked = Did | FirstDid | Trait | Property | Sql | Upload


class Definition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cohort. identity: as of a question; whose events are counted together."""

    rule: Rule
    identity: Identity = "person"
    description: Annotated[str, Meta(max_length=MOST_DESCRIPTION)] = ""


def read(value: Any) -> Definition:
    """A definition out of JSON's values, checked. Raises QuestionError."""
    try:
        found = msgspec.convert(value, Definition, strict=True)
    except msgspec.ValidationError as error:
        message = str(error).replace("Object ", "the cohort ", 1)
        if message.endswith(".is`"):
            message += "; `is` is one of " + ", ".join(_KINDS)
        raise QuestionError(message) from None
    except RecursionError:
        raise QuestionError(_too_deep()) from None
    leaves = list(leaves_of(found.rule))
    if len(leaves) > MOST_LEAVES:
        raise QuestionError(f"{len(leaves)} conditions are more than {MOST_LEAVES}")
    for leaf in leaves:
        _check(leaf)
    return found


def _too_deep() -> str:
    return f"the rule is nested more than {MOST_DEPTH} deep; combine fewer"


def leaves_of(rule: Rule, depth: int = 0) -> Iterator[Asked]:
    """The conditions of a rule, in their order. Raises QuestionError."""
    if depth > MOST_DEPTH:
        raise QuestionError(_too_deep())
    match rule:
        case All(of=parts) | AnyOf(of=parts):
            if not parts:
                raise QuestionError("`of` is empty; give it at least one condition")
            for part in parts:
                yield from leaves_of(part, depth + 1)
        case Not(of=part):
            yield from leaves_of(part, depth + 1)
        case _:
            yield rule


def tree_of(rule: Rule) -> Tree:
    """The rule with its conditions numbered in their order."""
    return _tree(rule, iter(range(MOST_LEAVES)))


def _tree(rule: Rule, numbers: Iterator[int]) -> Tree:
    match rule:
        case All(of=parts):
            return Branch("all", tuple(_tree(part, numbers) for part in parts))
        case AnyOf(of=parts):
            return Branch("any", tuple(_tree(part, numbers) for part in parts))
        case Not(of=part):
            return Branch("not", (_tree(part, numbers),))
        case _:
            return Leaf(next(numbers))


def _check(leaf: Asked) -> None:
    """What can be seen without any event. Raises QuestionError."""
    bind = Bindings()
    if isinstance(leaf, Did | FirstDid | Property):
        matches(leaf.event, bind)
        if leaf.dates or isinstance(leaf, FirstDid):
            days_of(leaf.dates, _SOME_DAY)
    if isinstance(leaf, Property):
        condition(leaf.where, bind)
    if isinstance(leaf, Trait):
        condition(leaf.filter, bind)
    if isinstance(leaf, Upload) and not LIST_ID.fullmatch(leaf.list):
        raise QuestionError(f"list={leaf.list[:80]!r} is none; upload one and take its `list`")
