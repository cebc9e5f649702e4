"""Candidate events: what senders say, in our words, before anyone has judged it.

Protocol adapters and file imports make candidates. They travel as columns, one list per field
for all events of a request, so that judging them costs a column operation and not a loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any

import msgspec

from transforms.failures import Reason, Rejection

Time = str | int | float | None
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_KEPT = 1 << 20  # bytes of a message whose candidate a dead letter keeps beside it


class Candidate(msgspec.Struct, kw_only=True, gc=False):
    """What a sender says of one event, in our words but with its own times and money.

    timestamp:  ISO 8601 text or epoch milliseconds, by the sender's clock
    sent_time:  when the sender handed it over, by its clock, us; None: the request's
    revenue:    in major units of currency, as written; refunds negative
    properties: JSON object, as sent; `context` likewise, in the shape of Segment's context
    columns:    promoted columns of event.avsc that the adapter found outside the context
    """

    type: str
    name: str | None = None
    event_id: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    session_id: str | None = None
    timestamp: Time = None
    sent_time: int | None = None
    revenue: Decimal | str | int | None = None
    currency: str | None = None
    order_id: str | None = None
    properties: bytes = b"{}"
    context: bytes = b"{}"
    columns: dict[str, Any] = {}


_PLAIN = ("type", "name", "event_id", "user_id", "anonymous_id", "session_id", "sent_time",
          "currency", "order_id", "properties", "context")  # fmt: skip


@dataclass(frozen=True)
class Candidates:
    """Candidate events of one request as columns, and what could not even become one.

    columns:    field of Candidate (or promoted column) -> one value per candidate, as text but for
                `sent_time` (us), `flags` (bits) and the two JSON fields (bytes); a field may be
                left out
    count:      candidates, the length of every column
    originals:  the bytes of every message of the request, asked for only when one is refused
    sent_time:  when the request was sent, by the sender's clock, us
    refused:    by place in the request, what is no candidate
    suppressed: places of what must leave no trace
    places:     place in the request of each candidate
    """

    columns: Mapping[str, Sequence[Any]]
    count: int
    originals: Callable[[], Sequence[bytes]]
    sent_time: int | None = None
    refused: Mapping[int, Rejection] = field(default_factory=dict)
    suppressed: frozenset[int] = frozenset()
    places: Sequence[int] = ()

    def __post_init__(self) -> None:
        if not self.places:
            object.__setattr__(self, "places", range(self.count))

    @property
    def messages(self) -> int:
        """Events in the request, whatever became of them."""
        return self.count + len(self.refused) + len(self.suppressed)

    def refuse(self, why: Mapping[int, tuple[Reason, str]]) -> Candidates:
        """Without the messages at these places, which become refused for a reason of ours."""
        if not why:
            return self
        originals, rows = self.originals(), {at: row for row, at in enumerate(self.places)}
        refused = {
            at: Rejection(*reason, originals[at], candidate=self._kept(rows.get(at), originals[at]))
            for at, reason in why.items()
        }
        return self._without(why.keys(), refused={**self.refused, **refused})

    def suppress(self, places: Set[int]) -> Candidates:
        """Without the messages at these places, of which nothing is kept."""
        if not places:
            return self
        refused = {at: one for at, one in self.refused.items() if at not in places}
        return self._without(places, refused=refused, suppressed=self.suppressed | places)

    def with_columns(self, columns: Mapping[str, Sequence[Any]]) -> Candidates:
        """With more columns, or others in their place."""
        return replace(self, columns={**self.columns, **columns})

    def refusals(self, judged: Mapping[int, tuple[Reason, str]]) -> Mapping[int, Rejection]:
        """By place: what is no candidate, and the candidates that were judged to be no event.

        judged: by row among the candidates, as `judge` says it
        """
        return self.refuse({self.places[row]: why for row, why in judged.items()}).refused

    def _kept(self, row: int | None, original: bytes) -> bytes:
        """A candidate as a JSON object, for a dead letter to be replayed from."""
        if row is None or len(original) > _MOST_KEPT:  # the bus must be able to carry both
            return b""
        fields = {name: values[row] for name, values in self.columns.items()}
        return encoded({n: v for n, v in fields.items() if v is not None})

    def _without(self, places: Set[int], **changes: Any) -> Candidates:
        kept = [row for row, at in enumerate(self.places) if at not in places]
        columns = {name: [values[r] for r in kept] for name, values in self.columns.items()}
        left = [self.places[row] for row in kept]
        return replace(self, columns=columns, count=len(kept), places=left, **changes)

    @classmethod
    def of(
        cls,
        made: Sequence[Candidate | Rejection],
        originals: Sequence[bytes],
        sent_time: int | None = None,
    ) -> Candidates:
        """From one by one. For protocols that are not worth a way of their own."""
        refused = {at: one for at, one in enumerate(made) if isinstance(one, Rejection)}
        places = [at for at, one in enumerate(made) if isinstance(one, Candidate)]
        rows = [one for one in made if isinstance(one, Candidate)]
        columns: dict[str, list[Any]] = {n: list(map(attrgetter(n), rows)) for n in _PLAIN}
        columns["timestamp"] = [time_text(one.timestamp) for one in rows]
        columns["revenue"] = [None if r.revenue is None else str(r.revenue) for r in rows]
        for name in sorted(set().union(*(one.columns for one in rows))):
            columns[name] = [one.columns.get(name) for one in rows]
        return cls(columns, len(rows), lambda: originals, sent_time, refused, places=places)


def time_text(value: Time) -> str | None:
    """A time as ISO 8601 text; numbers are epoch milliseconds. What is no time stays as it is."""
    if value is None or isinstance(value, str):
        return value
    try:
        return (_EPOCH + timedelta(milliseconds=value)).isoformat()
    except (OverflowError, ValueError):
        return str(value)


def encoded(fields: Mapping[str, Any]) -> bytes:
    """Fields of a candidate as a JSON object; b"" where JSON cannot say it or it is too large."""
    try:
        raw = {n: msgspec.Raw(v) if isinstance(v, bytes) else v for n, v in fields.items()}
        written = msgspec.json.encode(raw)
        written.decode()
        msgspec.json.decode(written)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, TypeError):
        return b""
    return written if len(written) <= _MOST_KEPT else b""


def refuse_large(candidates: Candidates, most: int) -> Candidates:
    """Without the messages of more than `most` bytes, which are refused."""
    sizes = {at: len(original) for at, original in enumerate(candidates.originals())}
    return candidates.refuse(
        {
            at: (Reason.EVENT_TOO_LARGE, f"{sizes[at]:,} bytes; at most {most:,} an event")
            for at in candidates.places
            if sizes[at] > most
        }
    )
