"""One intake for every protocol: candidates in, durable rows and dead letters out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from werkzeug.datastructures import Headers

from catalog.settings import Settings
from catalog.store import KeyOwner
from collector.bus.port import BusError, BusFull
from collector.gather import Gatherer, Receipt
from collector.problems import Problem, too_many_events
from transforms.candidates import Candidates
from transforms.failures import Reason
from transforms.flags import Flag
from transforms.judge import Origin

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
_MOST_HEADERS = 8_192  # characters kept: they stand in each dead letter of the request


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all messages of a request share."""

    owner: KeyOwner
    headers: Headers
    body_bytes: int
    retry_count: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one message: `ok`, `warning` or `drop`."""

    result: str
    event_id: str | None = None
    reason: str | None = None
    message: str | None = None


_SUPPRESSED = Outcome("drop", None, "suppressed", "this person's events are not kept")


class Intake:
    """Applies the limits and hands over to the gatherer.

    clock: now in us
    """

    def __init__(self, gatherer: Gatherer, clock: Callable[[], int], limits: Settings) -> None:
        self._gatherer, self._clock, self._limits = gatherer, clock, limits

    def take(self, candidates: Candidates, envelope: Envelope) -> Receipt:
        """Returns once every accepted event and every dead letter is durable.

        Raises Problem: 413 for too many, 503 or 507 when the bus does not take them.
        """
        if candidates.messages > self._limits.max_batch_events:
            raise too_many_events(candidates.messages, self._limits.max_batch_events)
        if envelope.body_bytes > self._limits.max_event_bytes:  # else no event can be larger
            candidates = _without_large(candidates, self._limits.max_event_bytes)
        origin = Origin(
            project=envelope.owner.project,
            source=envelope.owner.source,
            received_time=self._clock(),
            sent_time=candidates.sent_time,
            retry_count=envelope.retry_count,
        )
        try:
            return self._gatherer.take(
                candidates, origin, lambda: _without_credentials(envelope.headers)
            )
        except BusFull as error:
            raise Problem(507, "disk_full", f"not stored: {error}", error.retry_after_s) from error
        except BusError as error:
            raise Problem(
                503, "unavailable", f"not stored: {error}", error.retry_after_s
            ) from error

    def bus_is_healthy(self) -> bool:
        """Could an event be handed over now?"""
        return self._gatherer.healthy()


def outcomes(receipt: Receipt) -> list[Outcome]:
    """What became of each message, in the order of the request."""
    candidates = receipt.candidates
    found = {
        at: _accepted(event_id, Flag(flags))
        for at, event_id, flags in zip(
            candidates.places, receipt.event_ids, receipt.flags, strict=True
        )
    }
    found |= {
        at: Outcome("drop", None, refused.reason.value, refused.message)
        for at, refused in receipt.refused.items()
    }
    found |= dict.fromkeys(candidates.suppressed, _SUPPRESSED)
    return [found[at] for at in range(candidates.messages)]


def _accepted(event_id: str, flags: Flag) -> Outcome:
    if Flag.CLAMPED in flags:
        return Outcome("warning", event_id, "clamped", "the time lay in the future; set to receipt")
    if Flag.MADE_ID in flags:
        return Outcome("warning", event_id, "made_id", "no id: a resend cannot be recognised")
    return Outcome("ok", event_id)


def _without_large(candidates: Candidates, most: int) -> Candidates:
    sizes = [len(original) for original in candidates.originals()]
    return candidates.refuse(
        {
            at: (Reason.EVENT_TOO_LARGE, f"{size:,} bytes; at most {most:,} an event")
            for at, size in enumerate(sizes)
            if size > most
        }
    )


def _without_credentials(headers: Headers) -> str:
    kept: dict[str, str] = {}
    room = _MOST_HEADERS
    for name, value in headers.items():
        room -= len(name) + len(value)
        if name.lower() not in _DROPPED and room >= 0:
            kept[name] = value
    return json.dumps(kept, ensure_ascii=False)
