"""Group commit: requests hand in candidates and wait; what gathers meanwhile becomes one block.

Judging, encoding, compressing and syncing all happen here, once for many requests, mostly outside
the interpreter's lock. A lone request is written at once; under load a block holds whatever came
since the one before it.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic, perf_counter, sleep

import polars as pl

from collector.bus.port import BusBusy, BusError, BusState, Publisher
from collector.metrics import Metrics
from collector.waiting import signal
from schemas_avro import derive, load
from transforms.candidates import Candidates
from transforms.failures import Rejection
from transforms.judge import Judged, Origin, dead_letter_row, judge

log = logging.getLogger(__name__)

BLOCK_ROWS = 10_000  # the most that one block gathers; requests are never split over blocks
_DEAD_TYPES = derive.wire(load("dead_letter"))
_NO_LETTERS = pl.DataFrame(schema=_DEAD_TYPES)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a request's events, all of it durable.

    candidates: what was judged
    refused:    by place in the request
    judged:     what was judged together; the request's own part begins at `start`
    """

    candidates: Candidates
    refused: Mapping[int, Rejection]
    judged: Judged
    start: int = 0

    @property
    def flags(self) -> list[int]:
        """Of each candidate, bits of transforms.flags."""
        return self.judged.flags.slice(self.start, self.candidates.count).to_list()

    @property
    def event_ids(self) -> Sequence[str]:
        """Of each candidate, made ones included."""
        return self.judged.event_ids[self.start : self.start + self.candidates.count]


_NOTHING = judge([])


class _Waiting:
    """One request. `done` is set when its result is there."""

    __slots__ = ("candidates", "done", "error", "headers", "origin", "receipt")

    def __init__(self, candidates: Candidates, origin: Origin, headers: Callable[[], str]) -> None:
        self.candidates, self.origin, self.headers = candidates, origin, headers
        self.receipt: Receipt | None = None
        self.error: Exception | None = None
        self.done = signal()

    def finish(self, receipt: Receipt | None, error: Exception | None = None) -> None:
        self.receipt, self.error = receipt, error
        self.done.set()


class Gatherer:
    """Takes requests from many threads; works on them in `publisher.lanes` threads of its own.

    max_waiting:  events that may wait; beyond that a request is refused at once, so that the ones
                  that are let in have a bounded wait
    interval_s:   from the start of a lane's block to the next one's, at least. A request that finds
                  nobody before it is written at once; under load fewer and larger blocks cost
                  less of everything
    """

    def __init__(
        self,
        publisher: Publisher,
        max_waiting: int,
        interval_s: float = 0.0,
        metrics: Metrics | None = None,
    ) -> None:
        self._publisher, self._metrics = publisher, metrics
        self._max_waiting, self._interval_s = max_waiting, interval_s
        self._queue: deque[_Waiting] = deque()
        self._waiting = 0
        self._changed = threading.Condition()
        self._closing = False
        self._threads = [
            threading.Thread(target=self._run, name=f"gather-{lane}", daemon=True)
            for lane in range(publisher.lanes)
        ]
        for thread in self._threads:
            thread.start()

    def take(self, candidates: Candidates, origin: Origin, headers: Callable[[], str]) -> Receipt:
        """Returns when every event of the request is durable, as event or as dead letter.

        headers: JSON text kept with dead letters, asked for only where there is one
        Raises BusError; then nothing may be answered 200.
        """
        size = candidates.messages
        if candidates.count + len(candidates.refused) == 0:
            return Receipt(candidates, {}, _NOTHING)
        waiting = _Waiting(candidates, origin, headers)
        with self._changed:
            if self._closing:
                raise BusError("the collector is stopping")
            if self._waiting + size > self._max_waiting:
                raise BusBusy(f"{self._waiting} events wait for the disk")
            self._waiting += size
            self._queue.append(waiting)
            self._changed.notify()
        waiting.done.wait()
        if waiting.receipt is None:
            raise waiting.error or BusError("not stored")
        return waiting.receipt

    def waiting(self) -> int:
        """Events that wait."""
        return self._waiting

    def healthy(self) -> bool:
        """Could an event be handed over now?"""
        alive = all(thread.is_alive() for thread in self._threads)
        has_room = self._waiting < self._max_waiting
        return alive and has_room and not self._closing and self._publisher.healthy()

    def bus(self) -> BusState:
        """How the bus stands."""
        return self._publisher.state()

    def close(self) -> None:
        """Write what waits, then refuse the rest and close the publisher."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._publisher.close()

    def _run(self) -> None:
        begun = 0.0
        while self._something_waits():
            # Asleep and not waiting for more: every request would wake this thread.
            sleep(max(0.0, begun + self._interval_s - monotonic()))
            if batch := self._next():  # unless another lane was quicker
                begun = monotonic()
                self._work(batch)

    def _something_waits(self) -> bool:
        """Returns when it does; False when closing and nothing waits."""
        with self._changed:
            while not self._queue and not self._closing:
                self._changed.wait()
            return bool(self._queue)

    def _next(self) -> list[_Waiting]:
        """Everything that waits, up to a block."""
        with self._changed:
            taken: list[_Waiting] = []
            size = 0
            while self._queue and (
                not taken or size + self._queue[0].candidates.messages <= BLOCK_ROWS
            ):
                waiting = self._queue.popleft()
                size += waiting.candidates.messages
                taken.append(waiting)
            self._waiting -= size
            return taken

    def _work(self, batch: list[_Waiting]) -> None:
        try:
            receipts = self._commit(batch)
        except BusError as error:
            log.error("the bus takes no block: %s", error)
            for waiting in batch:
                waiting.finish(None, error)
        except (Exception, pl.exceptions.PanicException) as error:
            # A request that trips us must not take the others with it, nor this thread, for which
            # all of them wait.
            if len(batch) > 1:
                for waiting in batch:
                    self._work([waiting])
            else:
                known = error if isinstance(error, Exception) else RuntimeError("unencodable rows")
                batch[0].finish(None, known)
        else:
            for waiting, receipt in zip(batch, receipts, strict=True):
                waiting.finish(receipt)

    def _commit(self, batch: list[_Waiting]) -> list[Receipt]:
        judged = judge([(w.candidates, w.origin) for w in batch])
        receipts = list(_split(batch, judged))
        dead = [
            dead_letter_row(receipt.refused[at], waiting.origin, step="intake", headers=headers)
            for waiting, receipt in zip(batch, receipts, strict=True)
            if receipt.refused
            for headers in (waiting.headers(),)
            for at in sorted(receipt.refused)
        ]
        letters = pl.DataFrame(dead, schema=_DEAD_TYPES, orient="row") if dead else _NO_LETTERS
        started = perf_counter()
        size = self._publisher.publish(judged.rows, letters)
        if self._metrics:
            took = perf_counter() - started
            self._metrics.observe("headwater_collector_publish_seconds", took)
            self._metrics.observe("headwater_collector_block_rows", judged.rows.height)
            self._metrics.count("headwater_collector_block_bytes", amount=size)
        return receipts


def _split(batch: list[_Waiting], judged: Judged) -> list[Receipt]:
    """Each request's part of what was judged together."""
    receipts = []
    start = 0
    left = sorted(judged.refused.items(), reverse=True)
    for waiting in batch:
        end = start + waiting.candidates.count
        own = {}
        while left and left[-1][0] < end:
            at, why = left.pop()
            own[at - start] = why
        receipts.append(
            Receipt(waiting.candidates, waiting.candidates.refusals(own), judged, start)
        )
        start = end
    return receipts
