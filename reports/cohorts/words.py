"""A cohort's rule in words, for the list of cohorts."""

from __future__ import annotations

from reports.cohorts.definition import (
    All,
    AnyOf,
    Did,
    FirstDid,
    Not,
    Property,
    Rule,
    Sql,
    Trait,
)
from reports.insights.question import Filter, Operator, Step

_TIMES = {"at_least": "at least", "at_most": "at most", "exactly": "exactly"}
_OPERATORS: dict[Operator, str] = {
    "is": "is",
    "is_not": "is not",
    "contains": "contains",
    "not_contains": "does not contain",
    "above": "is above",
    "at_least": "is at least",
    "below": "is below",
    "at_most": "is at most",
    "is_set": "is there",
    "is_not_set": "is not there",
}


def in_words(rule: Rule, *, inside: bool = False) -> str:
    """One sentence without a full stop; what is nested stands in parentheses."""
    match rule:
        case All(of=parts) | AnyOf(of=parts):
            between = " and " if isinstance(rule, All) else " or "
            text = between.join(in_words(part, inside=True) for part in parts)
            return f"({text})" if inside and len(parts) > 1 else text
        case Not(of=part):
            return f"not: {in_words(part, inside=True)}"
        case Did():
            what = f"{_step(rule.event)}{_days(rule.dates)}"
            if rule.times == "at_least" and rule.count == 1:
                return f"did {what}"
            if rule.count == 0 and rule.times != "at_least":
                return f"never did {what}"
            number = "once" if rule.count == 1 else f"{rule.count:,} times"
            return f"did {what} {_TIMES[rule.times]} {number}"
        case FirstDid():
            return f"first did {_step(rule.event)}{_days(rule.dates)}"
        case Trait():
            return f"trait {_filter(rule.filter).removeprefix('properties.')}"
        case Property():
            which = "an event" if rule.when == "ever" else "the last event with it"
            of = f" of {_step(rule.event)}" if rule.event != Step() else ""
            return f"{_filter(rule.where)} in {which}{of}{_days(rule.dates)}"
        case Sql():
            return "named by a query"
    return "on an uploaded list"


def _step(step: Step) -> str:
    where = f" where {' and '.join(map(_filter, step.where))}" if step.where else ""
    return f"{step.title if step.name or step.label else 'any event'}{where}"


def _filter(one: Filter) -> str:
    values = " or ".join(str(value) for value in one.values)
    return f"{one.property} {_OPERATORS[one.operator]} {values}".strip()


def _days(dates: str) -> str:
    if not dates:
        return ""
    first, dots, last = dates.partition("..")
    return f" from {first} to {last}" if dots else f" ({dates.replace('_', ' ')})"
