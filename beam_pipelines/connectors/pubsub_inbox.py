"""One process's end of a subscription: messages that came, and what they wait for.

A message is done with once the archive holds its block. Until then it is kept by renewing its lease
again and again, and no more is pulled than may be under way.

Google's streaming pull is not used: what the emulator has sent to a killed client by it comes back
after minutes only, and what it would take off us, leases and limits, is what has to follow the
archive here.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from google.api_core import exceptions
from google.pubsub_v1 import ReceivedMessage

from beam_pipelines.connectors.frames import Frame
from beam_pipelines.connectors.pubsub_names import (
    LEASE_S,
    TRANSIENT,
    PubSubDown,
    PubSubError,
    Subscription,
    client,
    missing,
    prepare,
)
from beam_pipelines.connectors.warehouse import Warehouse
from schemas_avro.block import BlockError, read_meta
from schemas_avro.tables import Table
from transforms.arrivals import Arrivals
from transforms.positions import Positions

log = logging.getLogger(__name__)

# Under way at once, from Pub/Sub to the archive: more is not pulled. An archive commit comes every
# few seconds; a process's memory is a small multiple of the bytes.
MAX_BYTES = 128 << 20
MAX_MESSAGES = 50_000
# Should a block get lost between here and the archive, without this process ending: after so long
# its lease is not renewed, and it comes again.
_LONGEST_S = 600
WINDOW_S = 3 * LEASE_S  # see Arrivals: what a killed reader held, or was sent, is back within it
_RENEW_S = LEASE_S / 4
_SETTLE_S = 1.0
_PULL_S = 30.0
_PULLED = 1_000  # messages in one answer
_PAUSE_S = 0.5
_MISSED = 10  # pulls from a subscription that is not there, in a row
_FULL_S = 0.05
_IDS = 1_000  # in one request, of 512 KB at most
_LONGEST_SEQ = 18  # digits: fits into 64 bits


@dataclass(frozen=True)
class Source:
    """What an inbox reads, and which table must hold a block before it is done with.

    run: one pipeline run: its readers in one process share an inbox
    """

    subscription: Subscription
    archive: str
    table: Table
    run: str


@dataclass(eq=False)
class Waiting:
    """A message not acknowledged yet.

    since: when it came, by the monotonic clock
    """

    ack_id: str
    size: int
    since: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Taken:
    """A message that came: its block, when the first event of it was received (us)."""

    frame: Frame
    received: int
    waiting: Waiting

    @property
    def key(self) -> tuple[str, int]:
        """Producer and number of the block."""
        return self.frame.producer, self.frame.seq


def frame_of(message_id: str, data: bytes, attributes: Mapping[str, str]) -> Frame:
    """The block, or what stands in its place: damage.

    Damage has the position that the attributes name, else one of its own, because what has none
    could never be seen to be archived.
    """
    try:
        meta = read_meta(data)
    except BlockError:
        producer, seq = attributes.get("producer", ""), attributes.get("seq", "")
        if not (producer and seq.isascii() and seq.isdigit() and len(seq) <= _LONGEST_SEQ):
            producer, seq = f"message-{message_id}", "0"
        return Frame(producer, int(seq), int(seq), data, damaged=True)
    return Frame(meta.producer, meta.seq, meta.seq, data)


class Inbox:
    """Messages of a subscription, in this process. Thread-safe. Ends with `close`."""

    def __init__(self, source: Source) -> None:
        self._source, self._path = source, source.subscription.path
        self._lock = threading.Lock()
        self._arrived: deque[Taken] = deque()
        self._under_way: dict[tuple[str, int], Waiting] = {}
        self._bytes = self._messages = 0  # in both of them
        self._arrivals = Arrivals(WINDOW_S * 1_000_000, _now())
        self._error: PubSubError | None = None
        self._closed = threading.Event()
        self._client = client()
        self._threads = [
            threading.Thread(target=work, daemon=True, name=f"{source.subscription.name}: {what}")
            for what, work in (
                ("pull", self._pull_on),
                ("renew", self._renew_on),
                ("acknowledge", self._acknowledge_on),
            )
        ]
        for thread in self._threads:
            thread.start()

    def check(self) -> None:
        """Raises PubSubError when somebody has to mend something."""
        if self._error is not None:
            raise self._error

    def take(self, max_bytes: int, held: Positions) -> list[Taken]:
        """What came and was not taken yet, about `max_bytes` of it. Blocks in `held` are done."""
        taken, done, size = [], [], 0
        with self._lock:
            while self._arrived and size < max_bytes:
                one = self._arrived.popleft()
                if held.holds(*one.key):
                    done.append(self._forget(one.waiting))
                    continue
                if (before := self._under_way.get(one.key)) is not None:
                    self._forget(before)  # its lease was lost: only the newest can be acknowledged
                self._under_way[one.key] = one.waiting
                taken.append(one)
                size += one.waiting.size
        self._acknowledge(done)
        return taken

    def waiting(self) -> int:
        """Messages that were taken and are not archived yet."""
        return len(self._under_way)

    def complete_until(self) -> int | None:
        """All that was received before this (us) was taken; None: not known yet."""
        with self._lock:
            until = self._arrivals.complete_until(_now())
            if until is None or not self._arrived:
                return until
            return min(until, min(one.received for one in self._arrived))

    def close(self) -> None:
        """Give back what is under way; a pull still open may get it, which then waits one lease."""
        self._closed.set()
        with self._lock:
            rest = [*(one.waiting for one in self._arrived), *self._under_way.values()]
        with suppress(exceptions.GoogleAPICallError):
            self._lease(rest, 0)
        self._client.transport.close()

    def _forget(self, one: Waiting) -> Waiting:
        self._bytes -= one.size
        self._messages -= 1
        return one

    def _pull_on(self) -> None:
        prepared, missed = False, 0
        while not self._closed.is_set():
            if self._bytes >= MAX_BYTES or self._messages >= MAX_MESSAGES:
                self._closed.wait(_FULL_S)
                continue
            try:
                if not prepared:
                    prepare(self._source.subscription)
                    prepared = True
                self._pull()
                missed = 0
            except exceptions.DeadlineExceeded:
                missed = 0  # nothing came
            except exceptions.NotFound:
                prepared, missed = False, missed + 1  # the emulator forgets what it had
                if missed == _MISSED:  # and we, who may not look, are not told
                    self._error = missing(self._source.subscription)
                    return
                self._closed.wait(_PAUSE_S)
            except (PubSubDown, *TRANSIENT) as error:
                prepared = False
                if not self._closed.is_set():
                    log.warning("%s: %s; again in a moment", self._path, error)
                    self._closed.wait(_PAUSE_S)
            except PubSubError as error:
                self._error = error
                return
            except exceptions.GoogleAPICallError as error:
                self._error = PubSubError(f"cannot read {self._path}: {error.message}")
                return
            except ValueError:  # of gRPC: closed under us
                return

    def _pull(self) -> None:
        answer = self._client.pull(
            subscription=self._path, max_messages=_PULLED, retry=None, timeout=_PULL_S
        )
        now = _now()
        came = [_taken(received, now) for received in answer.received_messages]
        with self._lock:
            self._arrivals.heard(now)
            for one in came:
                self._arrivals.came(one.received, now)
                self._arrived.append(one)
                self._bytes += one.waiting.size
                self._messages += 1

    def _renew_on(self) -> None:
        while not self._closed.wait(_RENEW_S):
            since = time.monotonic() - _LONGEST_S
            with self._lock:
                kept = [*(one.waiting for one in self._arrived), *self._under_way.values()]
            try:
                self._lease([one for one in kept if one.since > since], LEASE_S)
                self._probe()
            except (exceptions.GoogleAPICallError, ValueError) as error:
                if not self._closed.is_set():
                    log.warning("%s: leases not renewed (%s)", self._path, error)

    def _probe(self) -> None:
        """Is the bus there? That nothing comes does not say so."""
        with suppress(exceptions.PermissionDenied):  # an answer
            self._client.get_subscription(subscription=self._path, retry=None, timeout=_RENEW_S)
        with self._lock:
            self._arrivals.heard(_now())

    def _acknowledge_on(self) -> None:
        warehouse = Warehouse(self._source.archive)
        while not self._closed.wait(_SETTLE_S):
            if not self._under_way:
                continue
            try:
                archived = warehouse.positions(self._source.table)
            except Exception as error:  # of many kinds: then nothing is acknowledged yet
                log.warning("%s: archive cannot be asked (%s)", self._path, error)
                continue
            self._acknowledge(self._done(archived))

    def _done(self, archived: Positions) -> list[Waiting]:
        with self._lock:
            done = [key for key, one in self._under_way.items() if archived.holds(*key)]
            return [self._forget(self._under_way.pop(key)) for key in done]

    def _acknowledge(self, done: Sequence[Waiting]) -> None:
        """One that gets lost comes again, and is done again."""
        try:
            for ids in _requests(done):
                self._client.acknowledge(
                    subscription=self._path, ack_ids=ids, retry=None, timeout=LEASE_S
                )
        except (exceptions.GoogleAPICallError, ValueError) as error:
            if not self._closed.is_set():
                log.warning("%s: %s acknowledgements lost (%s)", self._path, len(done), error)

    def _lease(self, waiting: Sequence[Waiting], seconds: int) -> None:
        for ids in _requests(waiting):
            self._client.modify_ack_deadline(
                subscription=self._path,
                ack_ids=ids,
                ack_deadline_seconds=seconds,
                retry=None,
                timeout=_RENEW_S,
            )


def _requests(waiting: Sequence[Waiting]) -> Iterator[list[str]]:
    ids = [one.ack_id for one in waiting]
    yield from (ids[at : at + _IDS] for at in range(0, len(ids), _IDS))


def _taken(received: ReceivedMessage, now: int) -> Taken:
    message = received.message
    frame = frame_of(message.message_id, message.data, message.attributes)
    at = now if frame.damaged else read_meta(frame.payload).first_received
    return Taken(frame, at, Waiting(received.ack_id, len(frame.payload)))


@dataclass
class _Shared:
    inbox: Inbox
    users: int = 0


_INBOXES: dict[Source, _Shared] = {}
_OPENING = threading.Lock()


def shared(source: Source) -> Inbox:
    """The process's inbox of a source; every call needs a `release`."""
    with _OPENING:
        if source not in _INBOXES:
            _INBOXES[source] = _Shared(Inbox(source))
        _INBOXES[source].users += 1
        return _INBOXES[source].inbox


def release(source: Source) -> None:
    """The inbox is closed when nobody uses it any more."""
    with _OPENING:
        entry = _INBOXES[source]
        entry.users -= 1
        if entry.users == 0:
            del _INBOXES[source]
            entry.inbox.close()


@atexit.register
def _close_all() -> None:
    for entry in _INBOXES.values():
        entry.inbox.close()


def _now() -> int:
    return time.time_ns() // 1000
