"""Candidates -> rows of `event.avsc`, or the reasons why not. Every way in goes through here.

Judged as columns: one event and a block of ten thousand take the same number of calls. What few
rows need (money, odd times, missing ids) is done one by one.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any

import polars as pl

from schemas_avro import derive, load
from transforms.candidates import Candidates
from transforms.failures import Reason, Rejection
from transforms.flags import Flag
from transforms.money import MoneyError, to_minor
from transforms.times import OLDEST_US, SKEW_US, YEARS_US, TimeError, parse_us

MAX_ID = 100  # characters
TYPES = ("alias", "group", "identify", "page", "screen", "track")
IDS = ("event_id", "user_id", "anonymous_id", "order_id")
_WIRE = derive.wire(load("event"))
_JSON = ("properties", "context")
_TEXTS = ("type", "name", "event_id", "user_id", "anonymous_id", "session_id", "order_id",
          "timestamp")  # fmt: skip
_TYPES: dict[str, pl.DataType] = {
    **_WIRE,
    **dict.fromkeys(_JSON, pl.Binary()),
    "timestamp": pl.String(),
}
_Columns = dict[str, list[Any]]
_Why = dict[int, tuple[Reason, str]]


@dataclass(frozen=True, slots=True)
class Origin:
    """Who sent it and when it came; times in us. `sent_time` is by the sender's clock.

    flags:   bits of transforms.flags that hold for all its events, such as that a bot sent them
    columns: promoted columns that hold for all its events, such as the country of the request;
             what a candidate says itself goes before
    """

    project: str
    source: str
    received_time: int
    sent_time: int | None = None
    retry_count: int | None = None
    flags: int = 0
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Judged:
    """What became of candidates.

    rows:      the accepted, as columns of event.avsc, in order
    refused:   by place among the candidates: reason and message
    flags:     of every candidate, bits of transforms.flags
    event_ids: of every candidate, made ones included
    """

    rows: pl.DataFrame
    refused: Mapping[int, tuple[Reason, str]]
    flags: pl.Series
    event_ids: Sequence[str]


def judge(parts: Sequence[tuple[Candidates, Origin]]) -> Judged:
    """Judge the candidates of some requests together. Order and company change nothing.

    Raises what polars raises for a value of another type than its column's.
    """
    columns = _joined(parts)
    _identify(columns)
    refused = _price(columns)
    for name in _TEXTS:  # by list: nearly no column has one, and an expression for each costs more
        if "" in columns.get(name, ()):
            columns[name] = [value or None for value in columns[name]]
    given = pl.DataFrame([pl.Series(n, values, _TYPES[n]) for n, values in columns.items()])
    rows, not_text = _read(given)
    if rows["_odd"].any():
        rows = _with_odd_times(rows)
    if rows["_bad"].any():
        bad = rows.with_row_index("_at").filter("_bad").with_columns(_WRONG)
        refused |= {row["_at"]: _explained(row) for row in bad.iter_rows(named=True)}
    refused |= not_text
    known = set(rows.columns)
    kept = rows[[name for name in _WIRE if name in known]]
    if refused:
        kept = kept.filter(pl.Series([at not in refused for at in range(rows.height)]))
    return Judged(kept, refused, rows["flags"], columns["event_id"])


def dead_letter_row(
    rejection: Rejection,
    origin: Origin,
    step: str,
    dead_letter_id: str | None = None,
    headers: str | None = None,
) -> dict[str, Any]:
    """Row of `dead_letter.avsc`. `headers` is JSON text, without credentials."""
    return {
        "dead_letter_id": dead_letter_id or uuid.uuid4().hex,
        "project": origin.project,
        "source": origin.source,
        "step": step,
        "reason": rejection.reason.value,
        "message": rejection.message,
        "exception": rejection.exception or None,
        "original": rejection.original,
        "headers": headers,
        "candidate": rejection.candidate.decode() or None,
        "request": _said(origin),
        "received_time": origin.received_time,
    }


def _said(origin: Origin) -> str | None:
    """What an event of this origin would have been stored with; of an address nothing."""
    columns = {n: v for n, v in origin.columns.items() if v is not None and n != "ip"}
    said = {
        "sent_time": origin.sent_time,
        "flags": origin.flags or None,
        "retry_count": origin.retry_count,
        "columns": columns or None,
    }
    filled = {name: value for name, value in said.items() if value is not None}
    return json.dumps(filled, ensure_ascii=False) if filled else None


# -- Before polars: what is done by list, and what few events need.


def _joined(parts: Sequence[tuple[Candidates, Origin]]) -> _Columns:
    """The columns of all requests one behind the other, and what each request says of all."""
    given = set(chain.from_iterable((*c.columns, *o.columns) for c, o in parts))
    columns: _Columns = {
        name: list(chain.from_iterable(_values(c, o, name) for c, o in parts))
        for name in (*_TEXTS, *_JSON, "sent_time", "flags", *sorted(given))
        if name in given or name in ("event_id", "sent_time", "flags")
    }
    for name in ("project", "source", "received_time", "retry_count"):
        columns[name] = [v for c, o in parts for v in repeat(getattr(o, name), c.count)]
    return columns


def _values(candidates: Candidates, origin: Origin, name: str) -> Iterable[Any]:
    own = candidates.columns.get(name)
    match name:
        case "flags":
            return (origin.flags | flags for flags in own or repeat(0, candidates.count))
        case "sent_time":
            shared = origin.sent_time
        case _:
            shared = origin.columns.get(name)
    if own is None:
        return repeat(shared, candidates.count)
    return own if shared is None else (shared if value is None else value for value in own)


def _identify(columns: _Columns) -> None:
    ids, flags = columns["event_id"], columns["flags"]
    if all(ids):
        return
    for at, event_id in enumerate(ids):
        if not event_id:
            ids[at] = uuid.uuid4().hex
            flags[at] |= Flag.MADE_ID.value


def _price(columns: _Columns) -> _Why:
    """revenue_minor, exact, in place of revenue; what is no amount of money is refused."""
    revenues, currencies = columns.pop("revenue", []), columns.pop("currency", [])
    refused: _Why = {}
    if not any(revenues):
        return refused
    count = len(revenues)
    minor: list[int | None] = [None] * count
    codes: list[str | None] = [None] * count
    for at, revenue in enumerate(revenues):
        if not revenue:
            continue
        currency = currencies[at] if currencies else None
        try:
            if not currency:
                raise MoneyError(f"revenue {revenue} has no currency; send `currency`, such as EUR")
            codes[at] = currency.upper()
            minor[at] = to_minor(revenue, currency.upper())
        except MoneyError as error:
            refused[at] = (Reason.BAD_MONEY, str(error))
    columns["revenue_minor"], columns["currency"] = minor, codes
    return refused


# -- In polars, in one go: each call into it costs more than a short column, most of all under
# -- load, where every return from it has to win the interpreter's lock again. Expressions are
# -- made once for the same reason.

_TIME, _ORIGINAL_TIME, _RECEIVED = map(pl.col, ("timestamp", "original_time", "received_time"))
_NULLS = {
    name: pl.lit(None, _TYPES[name]).alias(name)
    for name in (*_TEXTS, "revenue_minor", "currency", *_JSON)
}
# What is no object where one belongs says nothing; the event is kept.
_OBJECTS = [
    pl.when(pl.col(name).cast(pl.String).str.starts_with("{"))
    .then(pl.col(name).cast(pl.String))
    .otherwise(pl.lit("{}"))
    .alias(name)
    for name in _JSON
]
_PARSED = (
    _TIME.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    .dt.timestamp("us")
    .alias("original_time")
)
# Years that other readers of an archive do not know are no times here either.
_ORIGINAL = pl.when(_ORIGINAL_TIME.is_between(*YEARS_US)).then(_ORIGINAL_TIME)
_AHEAD = _RECEIVED - pl.col("sent_time")
_SKEWED = _ORIGINAL_TIME.is_not_null() & (_AHEAD.abs() > SKEW_US).fill_null(False)
_HAPPENED = [
    _SKEWED.alias("_skewed"),
    pl.when(_SKEWED).then(_ORIGINAL_TIME + _AHEAD).otherwise(_ORIGINAL_TIME).alias("_happened"),
]
_FLAGS = (
    pl.col("_flags")
    | pl.col("_skewed").cast(pl.Int32) * Flag.CLOCK_CORRECTED.value
    | (pl.col("_happened") > _RECEIVED).fill_null(False).cast(pl.Int32) * Flag.CLAMPED.value
    | _TIME.is_null().cast(pl.Int32) * Flag.NO_TIME.value
)
_TIMES = [
    pl.min_horizontal("_happened", "received_time").alias("event_time"),
    _FLAGS.alias("flags"),
]
_UNREAD = _TIME.is_not_null() & _ORIGINAL_TIME.is_null()
_ODD = _UNREAD.alias("_odd")
_CHECKS: tuple[tuple[Reason, pl.Expr], ...] = (
    (Reason.UNKNOWN_TYPE, ~pl.col("type").is_in(TYPES).fill_null(False)),
    (Reason.MISSING_FIELD, (pl.col("type") == "track") & pl.col("name").is_null()),
    (Reason.NO_PERSON, pl.col("user_id").is_null() & pl.col("anonymous_id").is_null()),
    (Reason.ID_TOO_LONG, pl.any_horizontal(pl.col(IDS).str.len_chars() > MAX_ID)),
    (Reason.BAD_TIME, _UNREAD),
    (Reason.TIME_OUT_OF_RANGE, pl.col("event_time") < OLDEST_US),
)
_BAD = pl.any_horizontal(wrong for _, wrong in _CHECKS).alias("_bad")
# The first reason why a row is no event.
_WRONG = pl.coalesce(pl.when(wrong).then(pl.lit(reason.value)) for reason, wrong in _CHECKS).alias(
    "_wrong"
)


def _read(given: pl.DataFrame) -> tuple[pl.DataFrame, _Why]:
    """All columns that a row needs, when it happened, and `_bad`."""
    try:
        return _computed(given), {}
    except pl.exceptions.ComputeError:  # a decoder that passes over a value sees no bad encoding
        refused: _Why = {}
        texts = []
        for name in set(_JSON) & set(given.columns):
            decoded = list(map(_utf8, given[name]))
            texts.append(pl.Series(name, decoded, pl.Binary()))
            for at in (at for at, text in enumerate(decoded) if text is None):
                if given[name][at] is not None:
                    refused[at] = (Reason.UNREADABLE, f"{name} is not text in UTF-8")
        return _computed(given.with_columns(texts)), refused


def _utf8(value: bytes | None) -> bytes | None:
    try:
        return None if value is None else value.decode().encode()
    except UnicodeDecodeError:
        return None


def _computed(given: pl.DataFrame) -> pl.DataFrame:
    known = set(given.columns)
    absent = [null for name, null in _NULLS.items() if name not in known]
    return (
        given.lazy()
        .with_columns(*absent, pl.col("flags").alias("_flags"))
        .with_columns(*_OBJECTS, _PARSED)
        .with_columns(_ORIGINAL.alias("original_time"))
        .with_columns(_ODD, *_HAPPENED)
        .with_columns(_TIMES)
        .with_columns(_BAD)
        .collect(optimizations=_AS_WRITTEN)
    )


_AS_WRITTEN = pl.QueryOptFlags.none()


def _with_odd_times(rows: pl.DataFrame) -> pl.DataFrame:
    """Times that only Python reads, one by one."""
    both = zip(rows["timestamp"], rows["original_time"], strict=True)
    found = [_parsed(text) if at is None and text is not None else at for text, at in both]
    return (
        rows.with_columns(pl.Series("original_time", found, pl.Int64))
        .lazy()
        .with_columns(_HAPPENED)
        .with_columns(_TIMES)
        .with_columns(_BAD)
        .collect(optimizations=_AS_WRITTEN)
    )


def _parsed(text: str) -> int | None:
    try:
        return parse_us(text)
    except TimeError:
        return None


def _explained(row: Mapping[str, Any]) -> tuple[Reason, str]:
    """The reason with a message that names the value and the remedy."""
    reason = Reason(row["_wrong"])
    match reason:
        case Reason.UNKNOWN_TYPE:
            text = f"type {row['type'] or ''!r} is none of {', '.join(TYPES)}"
        case Reason.MISSING_FIELD:
            text = "a track needs a name: the field `event`"
        case Reason.NO_PERSON:
            text = "neither user id nor anonymous id; send one of them"
        case Reason.ID_TOO_LONG:
            name = next(n for n in IDS if len(row[n] or "") > MAX_ID)
            shown, length = f"{row[name][:20]}…", len(row[name])
            text = f"{name} {shown!r} has {length} characters; at most {MAX_ID} are allowed"
        case Reason.BAD_TIME:
            text = f"time {row['timestamp']!r} is unreadable; send ISO 8601 or epoch milliseconds"
        case _:
            text = (
                f"time {row['timestamp']!r} lies before 2000-01-01: the sender's clock was not "
                "set; correct the time and replay"
            )
    return reason, text
