"""Data quality by type of event: volumes, fields, what the intake corrected. docs/data-quality.md.

Page and screen views are one type each, whatever they are called: their names are titles.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Annotated, Any

import msgspec

from reports.insights.answer import Chart, Column, Table, Unit
from reports.insights.kinds import Kind, register
from reports.insights.quality_source import (
    Key,
    Volume,
    counted_by_day,
    profiles_of,
    refused_by_event,
    share_of_repeats,
)
from reports.insights.question import Identity, Question, QuestionError
from reports.insights.source import Source
from transforms.quality import (
    BEFORE_DAYS,
    WEEKS,
    Band,
    Finding,
    Profile,
    compare,
    days_of,
    overall,
)

_Samples = Annotated[int, msgspec.Meta(ge=10, le=20_000, extra_json_schema={"x-more": True})]
_Late = Annotated[int, msgspec.Meta(ge=1, extra_json_schema={"x-more": True})]
_ORDER = ("vanished", "low", "high", "new", "unknown", "unfinished", "ok")


class Quality(Question, frozen=True, kw_only=True):
    """Every type of event: as much as usual, made as usual, and what the intake had to correct.

    rows:    how many types of events are listed, those with findings first
    late_s:  seconds after which an event counts as late when it is received
    samples: events of each type whose fields are looked at, now and in the 28 days before
    """

    dates: str = "last_7_days"
    identity: Identity = "device"
    rows: Annotated[int, msgspec.Meta(ge=1, le=500)] = 200
    late_s: _Late = 600
    samples: _Samples = 300


class QualityDays(Question, frozen=True, kw_only=True):
    """One type of event by day, with what was to be expected by the same weekdays before.

    event: name of a track event; empty: all events of the type
    type:  track, page, screen, identify, group or alias
    """

    dates: str = "last_30_days"
    identity: Identity = "device"
    event: str = ""
    type: str = "track"


class QualityFields(Question, frozen=True, kw_only=True):
    """Fields of one type of event against the 28 days before the dates.

    event:   name of a track event; empty for the other types
    type:    track, page, screen, identify, group or alias
    samples: events that are looked at, of the dates and of the days before
    """

    dates: str = "last_7_days"
    identity: Identity = "device"
    event: str = ""
    type: str = "track"
    samples: _Samples = 2_000


# -- The kinds

_COLUMNS = (
    Column("type", "Type", "label"),
    Column("event", "Event", "label"),
    Column("state", "State", "label"),
    Column("events", "Events", "count"),
    Column("expected", "Expected", "number", low="low", high="high"),
    Column("low", "Least expected", "number"),
    Column("high", "Most expected", "number"),
    Column("days_out", "Days out of band", "count"),
    Column("fields", "Fields that differ", "label"),
    Column("refused", "Refused", "count"),
    Column("mismatch", "Against schema", "ratio"),
    Column("late", "Late", "ratio"),
    Column("corrected", "Clock corrected", "ratio"),
    Column("clamped", "From the future", "ratio"),
    Column("no_time", "Without time", "ratio"),
    Column("made_id", "Without id", "ratio"),
    Column("bot", "Crawlers", "ratio"),
)


def answer(question: Quality, source: Source) -> Table:
    """A row for each type of event, those with findings first."""
    first, last = source.days(question)
    days = [first + timedelta(n) for n in range((last - first).days + 1)]
    counted = counted_by_day(question, source, question.late_s)
    before_first = first - timedelta(days=BEFORE_DAYS)
    yesterday = first - timedelta(days=1)
    there = {k: v for k, v in counted.items() if v.between(before_first, last)}
    largest = sorted(there, key=lambda k: (-there[k].between(before_first, last), k))
    kept = largest[: question.rows]
    sizes = {
        key: (there[key].between(before_first, yesterday), there[key].between(first, last))
        for key in kept
    }
    both = {key: size for key, size in sizes.items() if all(size)}
    profiles = profiles_of(question, source, both, question.samples)
    refused, others = refused_by_event(question, source)
    rows = []
    for key in kept:
        volume, (_, now) = there[key], sizes[key]
        judged = days_of(volume.days, days, source.today)
        bands = [one.band for one in judged if one.band and one.state != "unfinished"]
        every = len(bands) == sum(one.state != "unfinished" for one in judged) and bands
        found = compare(*profiles[key]) if key in profiles else []
        rows.append(
            (
                key[0],
                key[1] or ("(no name)" if key[0] == "track" else f"(every {key[0]})"),
                overall(volume.days, judged),
                now,
                *([_sum(b.middle for b in bands), _sum(b.low for b in bands),
                   _sum(b.high for b in bands)] if every else [None] * 3),
                sum(one.state in ("low", "high") for one in judged),
                _fields(found),
                refused.pop(key, 0),
                *(_share(volume.remarks.get(name, 0), now) for name in
                  ("mismatch", "late", "corrected", "clamped", "no_time", "made_id", "bot")),
            )
        )  # fmt: skip
    rows.sort(key=lambda row: (_ORDER.index(row[2]), not row[8], -row[3], row[:2]))
    missed = len(there) - len(kept)
    return Table(
        columns=_COLUMNS,
        rows=rows,
        chart=Chart("table"),
        totals=(*_totals(rows), *share_of_repeats(question, source)),
        notes=(
            f"Expected: by the same weekdays of {WEEKS} weeks before, for the days that are over. "
            "Both ends of the band are sums of the days' own, so they are wide.",
            f"Fields are those of a sample of about {question.samples:,} events of each type, "
            f"against as many of the {BEFORE_DAYS} days before.",
            *([f"{missed:,} rarer types of events are not listed."] if missed else []),
            *([f"{others + sum(refused.values()):,} refused events name no event of this list."]
              if others or refused else []),
            *(["Refused events and repeats are those of the whole project: they have no filter."]
              if question.where or question.cohort else []),
        ),
    )  # fmt: skip


def _sum(values: Iterable[float]) -> float:
    return round(sum(values), 1)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _fields(found: list[Finding]) -> str:
    shown = [f"{one.field}: {one.what}" for one in found[:5]]
    return "; ".join(shown) + (f"; {len(found) - 5} more" if len(found) > 5 else "")


def _totals(rows: list[tuple[Any, ...]]) -> tuple[tuple[str, Any, Unit], ...]:
    def with_state(*states: str) -> int:
        return sum(row[2] in states for row in rows)

    return (
        ("Types of events", len(rows), "count"),
        ("Out of band", with_state("low", "high"), "count"),
        ("New", with_state("new"), "count"),
        ("Vanished", with_state("vanished"), "count"),
        ("With fields that differ", sum(bool(row[8]) for row in rows), "count"),
    )


def answer_days(question: QualityDays, source: Source) -> Table:
    """A row a day."""
    key = _key(question.type, question.event)
    counted = counted_by_day(question, source, 600, key)
    first, last = source.days(question)
    days = [first + timedelta(n) for n in range((last - first).days + 1)]
    counts: dict[date, int] = {}
    for volume in counted.values():
        for day, n in volume.days.items():
            counts[day] = counts.get(day, 0) + n
    judged = days_of(counts, days, source.today)
    rows = [
        (one.day.isoformat(), one.events, *_bounds(one.band), one.state) for one in judged
    ]  # fmt: skip
    return Table(
        columns=(
            Column("day", "Day", "time"),
            Column("events", "Events", "count", low="low", high="high"),
            Column("low", "Least expected", "number"),
            Column("expected", "Expected", "number"),
            Column("high", "Most expected", "number"),
            Column("state", "State", "label"),
        ),
        rows=rows,
        chart=Chart("line", x="day", y="events"),
        totals=(
            ("Events", sum(one.events for one in judged), "count"),
            ("Days out of band", sum(one.state in ("low", "high") for one in judged), "count"),
        ),
        notes=(
            f"Expected: the median of the same weekdays of up to {WEEKS} weeks before, three "
            "robust spreads to each side.",
        ),
    )


def _bounds(band: Band | None) -> tuple[float | None, float | None, float | None]:
    if band is None:
        return None, None, None
    return round(band.low, 1), round(band.middle, 1), round(band.high, 1)


def answer_fields(question: QualityFields, source: Source) -> Table:
    """A row a field, those that differ first."""
    key = _key(question.type, question.event)
    if key[0] == "track" and not key[1]:
        raise QuestionError("event='' names none; name the track event whose fields are compared")
    first, last = source.days(question)
    volume = counted_by_day(question, source, 600, key).get(key, Volume())
    before_first = first - timedelta(days=BEFORE_DAYS)
    size = (volume.between(before_first, first - timedelta(days=1)), volume.between(first, last))
    empty = Profile(), Profile()
    before, now = profiles_of(question, source, {key: size}, question.samples).get(key, empty)
    findings = {one.field: one for one in compare(before, now)}
    rows = []
    for name in sorted({**before.fields, **now.fields}, key=lambda n: (n not in findings, n)):
        found = findings.get(name)
        rows.append(
            (
                name,
                found.what if found else "",
                _kinds(before, name),
                _kinds(now, name),
                before.empty_share(name) if before.samples else None,
                now.empty_share(name) if now.samples else None,
            )
        )
    return Table(
        columns=(
            Column("field", "Field", "label"),
            Column("finding", "Finding", "label"),
            Column("before", "Kinds before", "label"),
            Column("now", "Kinds now", "label"),
            Column("empty_before", "Empty before", "ratio"),
            Column("empty_now", "Empty now", "ratio"),
        ),
        rows=rows,
        chart=Chart("table"),
        totals=(
            ("Events looked at", now.samples, "count"),
            (f"In the {BEFORE_DAYS} days before", before.samples, "count"),
            ("Fields that differ", len(findings), "count"),
        ),
        notes=(
            f"A sample of {now.samples:,} of {size[1]:,} events, and {before.samples:,} of "
            f"{size[0]:,} of the {BEFORE_DAYS} days before. Empty: null or missing.",
        ),
        trust="exact" if (before.samples, now.samples) == size else "approximate",
    )


def _kinds(one: Profile, name: str) -> str:
    found = one.fields.get(name)
    return ", ".join(kind for kind, _ in found.kinds.most_common()) if found else ""


_TYPES = ("track", "page", "screen", "identify", "group", "alias")


def _key(kind: str, name: str) -> Key:
    if kind not in _TYPES:
        raise QuestionError(f"type={kind!r} is none of {', '.join(_TYPES)}")
    if name and kind != "track":
        raise QuestionError(f"event={name!r}: only track events are told apart by name")
    return kind, name


register(
    Kind(
        "quality",
        "Data quality",
        "Every type of event: volume against the same weekdays before, fields, late, corrected.",
        Quality,
        answer,
        {"dates": "last_7_days"},
    )
)
register(
    Kind(
        "quality_days",
        "Volume by day",
        "Events of a type by day with the band that was to be expected.",
        QualityDays,
        answer_days,
        {"dates": "last_30_days"},
    )
)
register(
    Kind(
        "quality_fields",
        "Fields of an event",
        "Fields of a type of event that are new, missing, of another kind, or more often empty.",
        QualityFields,
        answer_fields,
        {"type": "page", "dates": "last_7_days"},
    )
)
