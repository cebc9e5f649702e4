"""Candidate -> row of `event.avsc`, or the reason why not. Every way in goes through here.

Protocol adapters and file imports make candidates; what a number means is decided by `accept`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import polars as pl

from schemas_avro import derive, load
from transforms.failures import Reason, Rejection
from transforms.flags import Flag
from transforms.money import MoneyError, to_minor
from transforms.times import OLDEST_US, TimeError, event_time, parse_us

MAX_ID = 100  # characters
TYPES = frozenset({"track", "identify", "page", "screen", "group", "alias"})
_WIRE = derive.wire(load("event"))
_INT64 = 1 << 63


class Candidate(msgspec.Struct, kw_only=True):
    """What a sender says of one event, in our words but with its own times and money.

    timestamp:  ISO 8601 text or epoch milliseconds, by the sender's clock
    revenue:    in major units of currency; refunds negative
    properties: JSON object, as sent; `context` likewise
    columns:    promoted columns of event.avsc that the adapter found
    """

    type: str
    name: str | None = None
    event_id: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    session_id: str | None = None
    timestamp: str | int | float | None = None
    revenue: Decimal | str | int | None = None
    currency: str | None = None
    order_id: str | None = None
    properties: bytes = b"{}"
    context: bytes = b"{}"
    columns: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Origin:
    """Who sent it and when it came; times in us. `sent_time` is by the sender's clock."""

    project: str
    source: str
    received_time: int
    sent_time: int | None = None
    retry_count: int | None = None


class _Refused(Exception):
    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def accept(candidate: Candidate, origin: Origin, original: bytes) -> dict[str, Any] | Rejection:
    """The row (only fields with a value), or a Rejection with the whole `original`."""
    try:
        return _row(candidate, origin)
    except _Refused as refusal:
        return Rejection(refusal.reason, str(refusal), original)


def _row(candidate: Candidate, origin: Origin) -> dict[str, Any]:
    if candidate.type not in TYPES:
        known = ", ".join(sorted(TYPES))
        raise _Refused(Reason.UNKNOWN_TYPE, f"type {candidate.type!r} is none of {known}")
    if candidate.type == "track" and not candidate.name:
        raise _Refused(Reason.MISSING_FIELD, "a track needs a name: the field `event`")
    if not candidate.user_id and not candidate.anonymous_id:
        raise _Refused(Reason.NO_PERSON, "neither user id nor anonymous id; send one of them")
    row: dict[str, Any] = {
        **candidate.columns,
        "project": origin.project,
        "source": origin.source,
        "type": candidate.type,
        "received_time": origin.received_time,
        "properties": candidate.properties.decode(),
        "context": candidate.context.decode(),
    }
    optional = {
        "name": candidate.name,
        "session_id": candidate.session_id,
        "sent_time": origin.sent_time,
        "retry_count": origin.retry_count,
    }
    row.update((name, value) for name, value in optional.items() if value)
    flags = _ids(candidate, row) | _times(candidate, origin, row)
    _money(candidate, row)
    row["flags"] = int(flags)
    return row


def _ids(candidate: Candidate, row: dict[str, Any]) -> Flag:
    for name in ("event_id", "user_id", "anonymous_id", "order_id"):
        value = getattr(candidate, name)
        if not value:
            continue
        if len(value) > MAX_ID:
            shown = f"{value[:20]}…"
            raise _Refused(
                Reason.ID_TOO_LONG,
                f"{name} {shown!r} has {len(value)} characters; at most {MAX_ID} are allowed",
            )
        row[name] = value
    if "event_id" in row:
        return Flag(0)
    row["event_id"] = uuid.uuid4().hex
    return Flag.MADE_ID


def _times(candidate: Candidate, origin: Origin, row: dict[str, Any]) -> Flag:
    try:
        original = None if candidate.timestamp is None else parse_us(candidate.timestamp)
    except TimeError as error:
        raise _Refused(Reason.BAD_TIME, str(error)) from error
    happened = event_time(original, origin.sent_time, origin.received_time)
    if happened.at < OLDEST_US:
        raise _Refused(
            Reason.TIME_OUT_OF_RANGE,
            f"time {candidate.timestamp!r} lies before 2000-01-01: the sender's clock was not "
            "set; correct the time and replay",
        )
    row["event_time"] = happened.at
    if original is not None and -_INT64 <= original < _INT64:
        row["original_time"] = original
    return happened.flags


def _money(candidate: Candidate, row: dict[str, Any]) -> None:
    if candidate.revenue is None:
        return
    if not candidate.currency:
        raise _Refused(
            Reason.BAD_MONEY,
            f"revenue {candidate.revenue} has no currency; send `currency`, such as EUR",
        )
    currency = candidate.currency.upper()
    try:
        row["revenue_minor"] = to_minor(candidate.revenue, currency)
    except MoneyError as error:
        raise _Refused(Reason.BAD_MONEY, str(error)) from error
    row["currency"] = currency


def to_frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows as columns of the wire types; only columns that some row has."""
    names = set().union(*rows)
    return pl.DataFrame(
        [
            pl.Series(name, [row.get(name) for row in rows], dtype=dtype)
            for name, dtype in _WIRE.items()
            if name in names
        ]
    )


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
        "received_time": origin.received_time,
    }
