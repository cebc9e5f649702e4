"""One intake for every protocol: candidates in, durable rows and dead letters out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from werkzeug.datastructures import Headers

from catalog.store import KeyOwner
from collector.bus.port import BusError, BusFull, BusState
from collector.gather import Gatherer, Receipt
from collector.guard import Guard
from collector.metrics import Metrics
from collector.privacy import Sender, kept_headers
from collector.problems import Problem, too_many_events
from transforms.candidates import Candidates
from transforms.flags import Flag
from transforms.judge import Origin

if TYPE_CHECKING:
    from collector.observer import Observer


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all messages of a request share.

    protocol: name for the metrics; body_bytes: of the body as decompressed
    """

    owner: KeyOwner
    key: str
    protocol: str
    sender: Sender
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


_SUPPRESSED = Outcome("drop", None, "suppressed", "not kept: an erased person's, or a crawler's")


class Intake:
    """Applies limits and policy, hands over to the gatherer, and counts.

    clock: now in us
    """

    def __init__(
        self,
        gatherer: Gatherer,
        guard: Guard,
        metrics: Metrics,
        observers: Sequence[Observer],
        clock: Callable[[], int],
        max_events: int,
    ) -> None:
        self._gatherer, self._guard, self._metrics = gatherer, guard, metrics
        self._observers, self._clock, self._max_events = observers, clock, max_events

    def take(self, candidates: Candidates, envelope: Envelope) -> Receipt:
        """Returns once every accepted event and every dead letter is durable.

        Raises Problem: 413 for too many, 429 beyond a limit of the key, 503 or 507 when the bus
        does not take them.
        """
        if candidates.messages > self._max_events:
            raise too_many_events(candidates.messages, self._max_events)
        try:
            return self._take(candidates, envelope)
        except Problem as problem:
            self._count(envelope, problem.code, candidates.messages)
            raise

    def bus_is_healthy(self) -> bool:
        """Could an event be handed over now?"""
        return self._gatherer.healthy()

    def bus(self) -> BusState:
        """How the bus stands."""
        return self._gatherer.bus()

    def _take(self, candidates: Candidates, envelope: Envelope) -> Receipt:
        guard, owner = self._guard, envelope.owner
        guard.limits.take(envelope.key, owner.policy, candidates.messages)
        passed = guard.check(candidates, owner, envelope.sender, envelope.body_bytes)
        origin = Origin(
            project=owner.project,
            source=owner.source,
            received_time=self._clock(),
            sent_time=candidates.sent_time,
            retry_count=envelope.retry_count,
            flags=passed.flags,
            columns=passed.columns,
        )
        try:
            receipt = self._gatherer.take(
                passed.candidates,
                origin,
                lambda: kept_headers(envelope.headers, envelope.sender, owner.policy),
            )
        except BusError as error:
            guard.limits.give_back(envelope.key, owner.policy, candidates.messages)
            full = isinstance(error, BusFull)
            status, code = (507, "disk_full") if full else (503, "unavailable")
            raise Problem(status, code, f"not stored: {error}", error.retry_after_s) from error
        self._note(receipt, envelope, origin)
        return receipt

    def _note(self, receipt: Receipt, envelope: Envelope, origin: Origin) -> None:
        suppressed, refused = receipt.candidates.suppressed, receipt.refused
        accepted = receipt.candidates.messages - len(suppressed) - len(refused)
        self._count(envelope, "accepted", accepted)
        if suppressed:
            self._count(envelope, "suppressed", len(suppressed))
        for rejection in refused.values():
            self._count(envelope, rejection.reason.value, 1)
        if envelope.retry_count:
            self._metrics.count("headwater_collector_resends", envelope.protocol)
        for observer in self._observers:
            observer.seen(envelope.owner, origin, receipt)

    def _count(self, envelope: Envelope, outcome: str, amount: int) -> None:
        self._metrics.count("headwater_collector_events", envelope.protocol, outcome, amount=amount)


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
    if Flag.SCHEMA_MISMATCH in flags:
        text = "it does not fit its registered schema; X-Headwater-Debug: 1 says why"
        return Outcome("warning", event_id, "schema_mismatch", text)
    if Flag.CLAMPED in flags:
        return Outcome("warning", event_id, "clamped", "the time lay in the future; set to receipt")
    if Flag.MADE_ID in flags:
        return Outcome("warning", event_id, "made_id", "no id: a resend cannot be recognised")
    return Outcome("ok", event_id)
