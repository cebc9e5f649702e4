"""One intake for every protocol: candidates in, durable rows and dead letters out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from catalog.store import KeyOwner
from collector.bus.port import BusError, BusFull, Publisher
from collector.problems import Problem
from transforms.failures import Reason, Rejection
from transforms.flags import Flag
from transforms.intake import Candidate, Origin, accept, dead_letter_row

# Credentials, and addresses of people.
_DROPPED = {
    "authorization",
    "cookie",
    "forwarded",
    "proxy-authorization",
    "x-forwarded-for",
    "x-real-ip",
    "x-write-key",
}


@dataclass(frozen=True, slots=True)
class Message:
    """One event of a request: what the adapter made of it, and its own bytes."""

    content: Candidate | Rejection
    original: bytes
    sent_time: int | None = None  # us, by the sender's clock; None: the request's


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one message: `ok`, `warning` or `drop`."""

    result: str
    event_id: str | None = None
    reason: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all messages of a request share."""

    owner: KeyOwner
    headers: Mapping[str, str]
    sent_time: int | None = None
    retry_count: int | None = None


class Intake:
    """Judges messages and hands them to the publisher.

    clock: now in us
    """

    def __init__(
        self, publisher: Publisher, clock: Callable[[], int], max_events: int, max_event_bytes: int
    ) -> None:
        self._publisher, self._clock = publisher, clock
        self._max_events, self._max_event_bytes = max_events, max_event_bytes

    def take(self, messages: Sequence[Message], envelope: Envelope) -> list[Outcome]:
        """Returns once every accepted event and every dead letter is durable.

        Raises Problem: 413 for too many, 503 or 507 when the bus does not take them.
        """
        if len(messages) > self._max_events:
            raise Problem(
                413,
                "too_many_events",
                f"{len(messages):,} events in one request; at most {self._max_events:,}",
            )
        origin = Origin(
            project=envelope.owner.project,
            source=envelope.owner.source,
            received_time=self._clock(),
            sent_time=envelope.sent_time,
            retry_count=envelope.retry_count,
        )
        rows, dead, outcomes = [], [], []
        for message in messages:
            judged = self._judge(message, origin)
            if isinstance(judged, Rejection):
                kept = _without_credentials(envelope.headers)
                dead.append(dead_letter_row(judged, origin, step="intake", headers=kept))
                outcomes.append(Outcome("drop", None, judged.reason.value, judged.message))
            else:
                rows.append(judged)
                outcomes.append(_outcome(judged["event_id"], Flag(judged["flags"])))
        self._publish(rows, dead)
        return outcomes

    def bus_is_healthy(self) -> bool:
        """Could an event be handed over now?"""
        return self._publisher.healthy()

    def _judge(self, message: Message, origin: Origin) -> dict[str, Any] | Rejection:
        if len(message.original) > self._max_event_bytes:
            return Rejection(
                Reason.EVENT_TOO_LARGE,
                f"{len(message.original):,} bytes; at most {self._max_event_bytes:,} an event",
                message.original,
            )
        if isinstance(message.content, Rejection):
            return message.content
        if message.sent_time is not None:
            origin = replace(origin, sent_time=message.sent_time)
        return accept(message.content, origin, message.original)

    def _publish(
        self, rows: Sequence[dict[str, object]], dead: Sequence[dict[str, object]]
    ) -> None:
        try:
            self._publisher.publish(rows, dead)
        except BusFull as error:
            raise Problem(507, "disk_full", f"not stored: {error}", error.retry_after_s) from error
        except BusError as error:
            raise Problem(
                503, "unavailable", f"not stored: {error}", error.retry_after_s
            ) from error


def _outcome(event_id: str, flags: Flag) -> Outcome:
    if Flag.CLAMPED in flags:
        return Outcome("warning", event_id, "clamped", "the time lay in the future; set to receipt")
    if Flag.MADE_ID in flags:
        return Outcome("warning", event_id, "made_id", "no id: a resend cannot be recognised")
    return Outcome("ok", event_id)


def _without_credentials(headers: Mapping[str, str]) -> str:
    kept = {name: value for name, value in headers.items() if name.lower() not in _DROPPED}
    return json.dumps(kept, ensure_ascii=False)
