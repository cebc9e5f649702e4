"""What every kind of question has in common: days, filters, steps; read from JSON, checked."""

from __future__ import annotations

import math
import re
from datetime import date, timedelta
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from transforms.grid import day_span_us

Operator = Literal[
    "is", "is_not", "contains", "not_contains", "above", "at_least", "below", "at_most",
    "is_set", "is_not_set",
]  # fmt: skip
Identity = Literal["person", "device"]
_LAST = re.compile(r"last_([0-9]{1,4})_(days|weeks|months)")
_MOST_DAYS = 3660
_MOST = {"days": _MOST_DAYS, "weeks": 520, "months": 120}
_YEARS = range(1970, 2201)  # times are microseconds since the first
_WHOLE = 1 << 63


class QuestionError(ValueError):
    """The question cannot be asked; the message names the field, the value and the remedy."""


class PeopleHidden(QuestionError):
    """Its answer lists people, whom the caller may not see."""


class Filter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A condition on an event.

    property: a column of `events`, such as country, or properties.NAME or context.NAME[.NAME]
    values:   any of them for `is` and `contains`, none of them for `is_not` and `not_contains`, one
              number for the comparisons, nothing for `is_set` and `is_not_set`
    """

    property: str
    operator: Operator = "is"
    values: Annotated[tuple[str | int | float | bool, ...], Meta(max_length=1000)] = ()


Filters = Annotated[tuple[Filter, ...], Meta(max_length=50)]


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Events that match: a name, or any where there is none, and conditions that all hold.

    name is that of the event; track, page, screen, identify, group and alias also mean every event
    of that type.
    """

    name: str | None = None
    where: Filters = ()
    label: str = ""

    @property
    def title(self) -> str:
        """How a table names it."""
        return self.label or self.name or "Any event"


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all kinds.

    dates:    last_30_days (weeks, months; up to and with today), today, yesterday, or
              2026-01-01..2026-01-31, both included, in the project's time zone
    where:    conditions that every event must meet
    cohort:   name of a cohort whose people alone are looked at; empty: everybody
    identity: person joins a person's ids by the `identities` table; device takes the user id, or
              the anonymous id where there is none, as live numbers do
    """

    dates: str = "last_30_days"
    where: Filters = ()
    cohort: str = ""
    identity: Identity = "person"


Q = TypeVar("Q", bound=Question)


def read(kind: type[Q], value: Any) -> Q:
    """A question out of JSON's values. Raises QuestionError."""
    try:
        _check(value, "the question")
        return msgspec.convert(value, kind, strict=True)
    except RecursionError:
        raise QuestionError("the question is nested too deeply") from None
    except msgspec.ValidationError as error:
        raise QuestionError(str(error).replace("Object ", "the question ", 1)) from None


def _check(value: Any, place: str) -> None:
    """What JSON can say and no database can hold. Raises QuestionError."""
    match value:
        case dict():
            for name, inner in value.items():
                _check(name, f"a name in {place}")
                _check(inner, str(name))
        case list() | tuple():
            for inner in value:
                _check(inner, place)
        case str() if "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
            raise QuestionError(
                f"{place}={value[:40]!r} is no text: it has half a character or a 0"
            )
        case float() if not math.isfinite(value):
            raise QuestionError(f"{place}={value} is no number to compare with")
        case int() if not -_WHOLE <= value < _WHOLE:
            raise QuestionError(f"{place}={str(value)[:20]}… is beyond 64 bits")


def days_of(dates: str, today: date) -> tuple[date, date]:
    """First and last day, both included. Raises QuestionError."""
    if dates == "today":
        return today, today
    if dates == "yesterday":
        return today - timedelta(1), today - timedelta(1)
    if last := _LAST.fullmatch(dates):
        count, unit = int(last[1]), last[2]
        if not 0 < count <= _MOST[unit]:
            raise QuestionError(f"dates={dates!r}: 1 to {_MOST[unit]} {unit}")
        return _back(today, count, unit), today
    first_text, dots, last_text = dates.partition("..")
    try:
        first, last_day = date.fromisoformat(first_text), date.fromisoformat(last_text)
    except ValueError:
        dots = ""
    if not dots:
        raise QuestionError(
            f"dates={dates!r} are no days: write last_30_days, today, yesterday or "
            "2026-01-01..2026-01-31"
        )
    if first.year not in _YEARS or last_day.year not in _YEARS:
        raise QuestionError(f"dates={dates!r}: years {_YEARS[0]} to {_YEARS[-1]}")
    if first > last_day:
        raise QuestionError(f"dates={dates!r}: the first day lies after the last")
    if (last_day - first).days > _MOST_DAYS:
        raise QuestionError(f"dates={dates!r} are more than ten years")
    return first, last_day


def _back(today: date, count: int, unit: str) -> date:
    """First of so many days, weeks or months up to today; those begin on Monday, on the first."""
    match unit:
        case "days":
            return today - timedelta(count - 1)
        case "weeks":
            return today - timedelta(today.weekday() + 7 * count - 7)
    months = today.year * 12 + today.month - count
    return date(months // 12, months % 12 + 1, 1)


def span_us(days: tuple[date, date], zone: str) -> tuple[int, int]:
    """[start, end) of days in a time zone, us."""
    return day_span_us(days[0], zone)[0], day_span_us(days[1], zone)[1]
