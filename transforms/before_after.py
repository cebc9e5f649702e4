"""Did a launch change a daily number? Days after it against the same weekdays before. Pure.

The model: a day's value is its weekday's own level, plus the effect once launched, plus chance,
independent from day to day and with a spread of its own before and after. The expected level is
what the days after would have had by the weekdays before; so a weekend that is always low is no
effect. It is Welch's test (Biometrika 34, 1947, 28-35) with the weekdays' means taken out, and
with one weekday only it is that test.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from scipy import stats

LEVEL = 0.95
LEAST_BEFORE, LEAST_AFTER = 14, 7  # days: each weekday twice before, once after


@dataclass(frozen=True)
class Effect:
    """What changed, in the unit of the number.

    before:       mean that the days after would have had by the weekdays before
    after:        mean of the days after
    change:       after - before, with its interval [low, high]
    relative:     change / before, with its interval; None where `before` is not above nought
    p:            of the test that nothing changed, two-sided
    dependence:   correlation of what is left of a day with the day after it, before the launch;
                  above some 0.3 days are not independent and the interval is too narrow
    pooled:       there were too few days after to know their spread: that before is taken for both
    """

    before: float
    after: float
    change: float
    low: float
    high: float
    relative: float | None
    relative_low: float | None
    relative_high: float | None
    p: float
    days_before: int
    days_after: int
    dependence: float
    pooled: bool


@dataclass(frozen=True)
class NotComputable:
    """Why there is no effect, in words that go after "not computable, because"."""

    reason: str


def effect(
    before: Mapping[date, float], after: Mapping[date, float], level: float = LEVEL
) -> Effect | NotComputable:
    """The effect by days with their values. level: of the interval, in ]0, 1[.

    Days before of weekdays that do not occur after are left out.
    """
    weekdays = {day.weekday() for day in after}
    earlier = _by_weekday((d, v) for d, v in before.items() if d.weekday() in weekdays)
    later = _by_weekday(after.items())
    if reason := _too_few(before, after, earlier, later):
        return NotComputable(reason)
    total = sum(map(len, later.values()))
    shares = {weekday: len(values) / total for weekday, values in later.items()}
    expected = sum(share * float(np.mean(earlier[w])) for w, share in shares.items())
    seen = sum(sum(values) for values in later.values()) / total
    spread_before, free_before = _spread(earlier.values())
    spread_after, free_after = _spread(later.values())
    pooled = free_after < 1
    if pooled:
        spread_after = spread_before
    of_before = spread_before * sum(s * s / len(earlier[w]) for w, s in shares.items())
    of_after = spread_after / total
    variance = of_before + of_after
    if variance == 0:
        return NotComputable("the number is the same on all days of a weekday: it has no spread")
    if pooled:
        free: float = free_before
    else:
        free = variance**2 / (of_before**2 / free_before + of_after**2 / free_after)
    quantile = float(stats.t.ppf((1 + level) / 2, free))
    change, error = seen - expected, math.sqrt(variance)
    relative = _relative(seen, expected, of_after, of_before, quantile)
    return Effect(
        expected,
        seen,
        change,
        change - quantile * error,
        change + quantile * error,
        *relative,
        p=float(2 * stats.t.sf(abs(change) / error, free)),
        days_before=sum(map(len, earlier.values())),
        days_after=total,
        dependence=dependence(before),
        pooled=pooled,
    )


def _by_weekday(days: Iterable[tuple[date, float]]) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for day, value in days:
        found.setdefault(day.weekday(), []).append(float(value))
    return found


def _too_few(
    before: Mapping[date, float],
    after: Mapping[date, float],
    earlier: Mapping[int, list[float]],
    later: Mapping[int, list[float]],
) -> str:
    if len(after) < LEAST_AFTER:
        return f"{_days(after)} after; at least {LEAST_AFTER} are needed, each weekday once"
    if len(before) < LEAST_BEFORE:
        return f"{_days(before)} before; at least {LEAST_BEFORE} are needed, each weekday twice"
    if any(len(earlier.get(weekday, ())) < 2 for weekday in later):
        return "some weekday does not occur twice before; take more weeks before"
    return ""


def _days(days: Mapping[date, float]) -> str:
    return f"there is {len(days)} day" if len(days) == 1 else f"there are {len(days)} days"


def _spread(groups: Iterable[Sequence[float]]) -> tuple[float, int]:
    """Variance around the groups' own means, and its degrees of freedom."""
    squares, free = 0.0, 0
    for values in groups:
        mean = float(np.mean(values))
        squares += sum((value - mean) ** 2 for value in values)
        free += len(values) - 1
    return (squares / free if free else 0.0), free


def _relative(
    seen: float, expected: float, of_after: float, of_before: float, quantile: float
) -> tuple[float | None, float | None, float | None]:
    """The change as a share of what was expected, which is itself uncertain: the delta method."""
    if expected <= 0:
        return None, None, None
    ratio = seen / expected
    error = math.sqrt(of_after + ratio**2 * of_before) / expected
    return ratio - 1, ratio - 1 - quantile * error, ratio - 1 + quantile * error


def dependence(days: Mapping[date, float]) -> float:
    """Correlation of what is left of a day's value, beyond its weekday's mean, with the next day's.

    Neighbours have different weekdays, so that taking out the means does not pull it down. 0.0
    without spread.
    """
    means = {w: float(np.mean(values)) for w, values in _by_weekday(days.items()).items()}
    left = {day: value - means[day.weekday()] for day, value in days.items()}
    squares = sum(value**2 for value in left.values())
    pairs = [(v, left[day + timedelta(1)]) for day, v in left.items() if day + timedelta(1) in left]
    if not pairs or not squares:
        return 0.0
    return (sum(a * b for a, b in pairs) / len(pairs)) / (squares / len(left))
