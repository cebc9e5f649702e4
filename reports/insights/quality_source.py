"""What the data-quality questions read: volumes, samples of fields, refusals and repeats."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from reports.insights.answer import Unit
from reports.insights.filters import Bindings
from reports.insights.question import Question, span_us
from reports.insights.source import Source
from reports.warehouse.execute import quoted
from transforms.failures import Reason
from transforms.flags import Flag
from transforms.quality import BEFORE_DAYS, WEEKS, Profile, profile

Key = tuple[str, str]  # type, name
_NAME = "CASE WHEN e.type = 'track' THEN coalesce(e.name, '') ELSE '' END"
_FLAGS = {
    "corrected": Flag.CLOCK_CORRECTED,
    "clamped": Flag.CLAMPED,
    "no_time": Flag.NO_TIME,
    "made_id": Flag.MADE_ID,
    "bot": Flag.BOT,
    "mismatch": Flag.SCHEMA_MISMATCH,
}


@dataclass
class Volume:
    """One type of event: events by day, and of the dates asked how many had which remark."""

    days: dict[date, int] = field(default_factory=dict)
    remarks: dict[str, int] = field(default_factory=dict)

    def between(self, first: date, last: date) -> int:
        """Events of some days, both included."""
        return sum(n for day, n in self.days.items() if first <= day <= last)


def counted_by_day(
    question: Question, source: Source, late_s: int, only: Key | None = None
) -> dict[Key, Volume]:
    """Volumes of the dates and of WEEKS weeks before."""
    first, last = source.days(question)
    bind = Bindings()
    span = span_us((first - timedelta(weeks=WEEKS), last), source.zone)
    flags = ", ".join(f"count_if(e.flags & {f.value} <> 0) AS {n}" for n, f in _FLAGS.items())
    where = "true"
    if only is not None:
        where = f"e.type = {bind.add(only[0])}"
        where += f" AND e.name = {bind.add(only[1])}" if only[1] else ""
    found = source.read(
        f"""SELECT e.type AS type, {_NAME} AS name,
          timezone({quoted(source.zone)}, e.event_time)::DATE AS day,
          count(*) AS events, {flags},
          count_if(epoch_us(e.received_time) - epoch_us(e.event_time) > {late_s * 1_000_000})
            AS late
        FROM {source.events(question, bind, span)} AS e WHERE {where}
        GROUP BY 1, 2, 3""",
        bind,
    )
    made: dict[Key, Volume] = defaultdict(Volume)
    for row in found.to_pylist():
        one = made[row["type"], row["name"]]
        one.days[row["day"]] = row["events"]
        if row["day"] >= first:
            for name in (*_FLAGS, "late"):
                one.remarks[name] = one.remarks.get(name, 0) + int(row[name])
    return made


def profiles_of(
    question: Question, source: Source, wanted: dict[Key, tuple[int, int]], samples: int
) -> dict[Key, tuple[Profile, Profile]]:
    """Fields before and in the dates, of about `samples` events each; wanted: how many there are.

    Which events are looked at depends on their ids alone, so that a second look sees the same.
    """
    if not wanted:
        return {}
    first, last = source.days(question)
    bind = Bindings()
    span = span_us((first - timedelta(days=BEFORE_DAYS), last), source.zone)
    start, _ = source.span(question)
    columns: list[list[Any]] = [
        [key[0] for key in wanted],
        [key[1] for key in wanted],
        [-(-max(before, 1) // samples) for before, _ in wanted.values()],
        [-(-max(now, 1) // samples) for _, now in wanted.values()],
    ]
    lists = ", ".join(
        f"unnest({bind.add(values)}) AS {name}"
        for name, values in zip(("t", "n", "every_before", "every_now"), columns, strict=True)
    )
    found = source.read(
        f"""SELECT w.t AS type, w.n AS name, epoch_us(e.event_time) >= {start} AS is_now,
          e.properties AS properties
        FROM {source.events(question, bind, span)} AS e
        JOIN (SELECT {lists}) AS w ON e.type = w.t AND {_NAME} = w.n
        WHERE hash(e.event_id) % (
          CASE WHEN epoch_us(e.event_time) >= {start} THEN w.every_now ELSE w.every_before END
        )::UBIGINT = 0""",
        bind,
    )
    texts: dict[Key, tuple[list[str], list[str]]] = {key: ([], []) for key in wanted}
    for row in found.to_pylist():
        texts[row["type"], row["name"]][row["is_now"]].append(row["properties"] or "{}")
    return {key: (profile(before), profile(now)) for key, (before, now) in texts.items()}


def refused_by_event(question: Question, source: Source) -> tuple[dict[Key, int], int]:
    """Refused events by the type and name they would have had, and those that name none."""
    start, end = source.span(question)
    found = source.read(
        """SELECT coalesce(json_extract_string(candidate, '$.type'), '') AS type,
          coalesce(json_extract_string(candidate, '$.name'), '') AS name, count(*) AS letters
        FROM dead_letters
        WHERE received_time >= make_timestamptz($start::BIGINT)
          AND received_time < make_timestamptz($end::BIGINT) AND reason <> $damaged
        GROUP BY 1, 2""",
        {"start": start, "end": end, "damaged": Reason.DAMAGED_BLOCK.value},
        tables=("dead_letters",),
    )
    made: dict[Key, int] = {}
    none = 0
    for row in found.to_pylist():
        if not row["type"]:
            none += row["letters"]
            continue
        key = (row["type"], row["name"] if row["type"] == "track" else "")
        made[key] = made.get(key, 0) + row["letters"]
    return made, none


def share_of_repeats(question: Question, source: Source) -> tuple[tuple[str, Any, Unit], ...]:
    """Share of repeats among what came, from the exact table; nothing before its first run."""
    first, last = source.days(question)
    found = source.read(
        """SELECT sum(events_in) AS events, sum(duplicates) AS repeats FROM (
          SELECT DISTINCT day, events_in, duplicates FROM daily WHERE day BETWEEN $first AND $last
        )""",
        {"first": first, "last": last},
        tables=("daily",),
    ).to_pylist()[0]
    if not found["events"]:
        return ()
    repeats = int(found["repeats"])
    return (("Repeats left out", repeats / (int(found["events"]) + repeats), "ratio"),)
