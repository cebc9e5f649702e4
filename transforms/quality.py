"""Data quality of one type of event: is there as much of it as usual, and is it made as usual?

Volumes are compared with the same weekdays before, fields with a sample of the days before. Every
rule has its reason beside it: a page of false alarms is read once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from statistics import median
from typing import Any, Literal

import msgspec

WEEKS = 8  # looked back for the same weekdays
LEAST_WEEKS = 3  # below, nothing is expected: a median of two is whichever one likes
BEFORE_DAYS = 28  # whose fields, and whose names, are those before
_MAD_TO_SD = 1.4826  # of normally distributed values
_WIDTH = 3.0  # spreads to each side
_LEAST_SPREAD = 0.05  # of the median: weeks alike by luck do not make a narrow band
_EXPECTED = 10  # events that must have been expected before none is a finding

State = Literal["ok", "low", "high", "new", "vanished", "unknown", "unfinished"]
What = Literal["new", "missing", "changed type", "more often empty", "less often empty"]


@dataclass(frozen=True, slots=True)
class Band:
    """What is expected of a day, in events. weeks: how many it is made of."""

    low: float
    middle: float
    high: float
    weeks: int


def band(before: Sequence[int]) -> Band | None:
    """From the counts of the same weekday of weeks before; None where those are too few.

    The median, three spreads to each side. A spread is the largest of: 1.4826 times the median
    distance from the median, so that one holiday moves nothing; the root of the median, for counts
    scatter by that much by themselves; 5 % of it.
    """
    if len(before) < LEAST_WEEKS:
        return None
    middle = float(median(before))
    distance = float(median(abs(count - middle) for count in before))
    spread = max(_MAD_TO_SD * distance, math.sqrt(middle), _LEAST_SPREAD * middle)
    return Band(max(0.0, middle - _WIDTH * spread), middle, middle + _WIDTH * spread, len(before))


@dataclass(frozen=True, slots=True)
class Day:
    """A day's volume. band: None where nothing can be expected."""

    day: date
    events: int
    band: Band | None
    state: State


def days_of(counts: Mapping[date, int], days: Sequence[date], over: date) -> list[Day]:
    """Each of `days` judged. counts: events by day, from WEEKS weeks before the first on.

    over: days from this one on are not over yet, and are not judged. Days before the event was
    first seen are no zeros: nobody sent it yet.
    """
    first = min((day for day, n in counts.items() if n), default=date.max)
    made = []
    for day in days:
        events = counts.get(day, 0)
        weekdays = [day - timedelta(weeks=n) for n in range(1, WEEKS + 1)]
        expected = band([counts.get(d, 0) for d in weekdays if d >= first])
        made.append(Day(day, events, expected, _state(events, expected, is_over=day < over)))
    return made


def _state(events: int, expected: Band | None, *, is_over: bool) -> State:
    if not is_over:
        return "unfinished"
    if expected is None:
        return "unknown"
    if events < expected.low:
        return "low"
    return "high" if events > expected.high else "ok"


def overall(counts: Mapping[date, int], judged: Sequence[Day]) -> State:
    """The state of all judged days: new or vanished, else that of the last day that is over.

    new:      none in the 28 days before
    vanished: none now, where at least ten were to be expected by the 28 days before
    """
    if not judged:
        return "unknown"
    start = judged[0].day
    usual = sum(counts.get(start - timedelta(days=n), 0) for n in range(1, BEFORE_DAYS + 1))
    now = sum(one.events for one in judged)
    if now and not usual:
        return "new"
    finished = [one for one in judged if one.state != "unfinished"]
    if not now and usual / BEFORE_DAYS * len(finished) >= _EXPECTED:
        return "vanished"
    return finished[-1].state if finished else "unfinished"


# -- Fields

_MOST_FIELDS = 500  # of one event: objects whose names are data have no end
_MOST_DEPTH = 3
_BY_CHANCE = 0.001
_Z = 4.0  # standard errors
_LEAST_DIFFERENCE = 0.05


@dataclass
class Field:
    """How often a field was there with a value, by the value's kind; null and missing are not."""

    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def filled(self) -> int:
        """How often it had a value."""
        return self.kinds.total()


@dataclass
class Profile:
    """What a sample of an event's properties is like. fields: by path, such as `cart.total`.

    cut: there were more fields than are kept
    """

    samples: int = 0
    fields: dict[str, Field] = field(default_factory=dict)
    cut: bool = False

    def empty_share(self, name: str) -> float:
        """Share of samples in which the field is null or missing."""
        found = self.fields.get(name)
        return 1 - (found.filled if found else 0) / self.samples if self.samples else 1.0


def profile(samples: Iterable[str | bytes]) -> Profile:
    """The profile of JSON texts of properties; what is no JSON object counts as an empty one."""
    made = Profile()
    for text in samples:
        made.samples += 1
        try:
            value = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if isinstance(value, dict):
            _add(made, value, "", 1)
    return made


def _add(made: Profile, value: Mapping[str, Any], prefix: str, depth: int) -> None:
    for name, inner in value.items():
        path = f"{prefix}{name}"
        if inner is None:
            continue
        if path not in made.fields and len(made.fields) >= _MOST_FIELDS:
            made.cut = True
            continue
        made.fields.setdefault(path, Field()).kinds[_kind(inner)] += 1
        if isinstance(inner, dict) and depth < _MOST_DEPTH:
            _add(made, inner, f"{path}.", depth + 1)


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "text"
        case list():
            return "list"
    return "object"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is different about a field. before, now: kinds, or the share of events without it."""

    field: str
    what: What
    before: str
    now: str


def compare(before: Profile, now: Profile) -> list[Finding]:
    """What differs, by field. What a sample of this size would miss by chance is no finding."""
    if not before.samples or not now.samples:
        return []
    found = [
        finding
        for name in {**before.fields, **now.fields}
        if (finding := _finding(name, before, now)) is not None
    ]
    return sorted(found, key=lambda one: one.field)


def _finding(name: str, before: Profile, now: Profile) -> Finding | None:
    old, new = before.fields.get(name, Field()), now.fields.get(name, Field())
    if not old.filled:
        if before.cut or _missed(new.filled / now.samples, before.samples):
            return None
        return Finding(name, "new", "", _kinds(new))
    if not new.filled:
        if now.cut or _missed(old.filled / before.samples, now.samples):
            return None
        return Finding(name, "missing", _kinds(old), "")
    fresh = {kind: n for kind, n in new.kinds.items() if kind not in old.kinds}
    if any(not _missed(n / new.filled, old.filled) for n in fresh.values()):
        return Finding(name, "changed type", _kinds(old), _kinds(new))
    was, is_ = before.empty_share(name), now.empty_share(name)
    if not _differ(was, before.samples, is_, now.samples):
        return None
    what: What = "more often empty" if is_ > was else "less often empty"
    return Finding(name, what, f"{was:.0%} empty", f"{is_:.0%} empty")


def _missed(share: float, samples: int) -> bool:
    """Could so many samples well have missed what has this share of all?"""
    return (1 - share) ** samples > _BY_CHANCE


def _differ(a: float, n: int, b: float, m: int) -> bool:
    """Do two shares differ, by more than chance and by enough to matter?"""
    together = (a * n + b * m) / (n + m)
    error = math.sqrt(together * (1 - together) * (1 / n + 1 / m))
    return abs(a - b) >= _LEAST_DIFFERENCE and abs(a - b) > _Z * error


def _kinds(one: Field) -> str:
    return ", ".join(kind for kind, _ in one.kinds.most_common())
