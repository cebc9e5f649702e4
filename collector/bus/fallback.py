"""The bus, and this machine's disk while the bus is down or slow.

A block goes to the bus. If the bus does not acknowledge it in time, it goes to the disk queue
under the same number, and the request is answered once the disk has it: the copy that may have
arrived after all is a repeat that readers drop. From then on blocks go to the queue at once,
until one from the queue's oldest end gets through: draining is also the probe. Fresh blocks then
go to the bus directly, beside the drain, which is bounded in rate so that it does not crowd them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from collector.bus.carrier import BusDown, BusRefused, Carrier
from collector.bus.disk_queue import DiskQueue
from collector.bus.port import BusState, Standing

log = logging.getLogger(__name__)
_IDLE_S = 1.0  # between two looks for what dead workers left
_AGAIN_S = 0.2  # after a failed try, which itself took the bus's own timeout
_TAKE_BYTES, _TAKE_S = 1 << 20, 0.25  # in one go: a message's worth, or a moment of the rate
_LONGEST_S = 60.0  # that the drain waits for one answer
_REFUSED_S = 5.0  # between two looks whether somebody has mended it


class Bus(Carrier, Protocol):
    """A carrier that can be away.

    timeout_s: after it a send is given up, in seconds
    """

    timeout_s: float

    def send(self, topic: str, blocks: Sequence[bytes], timeout_s: float | None = None) -> None:
        """See Carrier; timeout_s: of this send alone."""

    def check(self) -> None:
        """Raises BusDown or BusRefused."""


class FallbackCarrier:
    """Sends to the bus, else to the disk queue, and drains that in a thread of its own.

    drain_bytes_per_s: at most so much is brought from the queue to the bus
    """

    def __init__(self, bus: Bus, queue: DiskQueue, *, drain_bytes_per_s: float) -> None:
        self._bus, self._queue, self._rate = bus, queue, drain_bytes_per_s
        self.max_block_bytes = min(bus.max_block_bytes, queue.max_block_bytes)
        self._standing: Standing = "up"
        self._patience_s = bus.timeout_s
        self._error: str | None = None
        self._spilled = self._drained = 0
        self._lock = threading.Lock()
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._drain, name="drain", daemon=True)
        self._thread.start()

    def send(self, topic: str, blocks: Sequence[bytes]) -> None:
        """See Carrier. Raises BusFull or BusError when the disk fails too."""
        if self._standing != "down":
            try:
                self._bus.send(topic, blocks)
            except BusDown as error:
                self._turn("down", error)
            except BusRefused as error:
                self._turn("refusing", error)
                raise
            else:
                self._turn("up")
                return
        self._queue.send(topic, blocks)
        with self._lock:
            self._spilled += len(blocks)
        self._wake.set()

    def healthy(self) -> bool:
        """See Carrier: bus or queue."""
        match self._standing:
            case "up":
                return self._bus.healthy()
            case "down":
                return self._queue.healthy()
            case "refusing":
                return False

    def state(self) -> BusState:
        """See Carrier."""
        with self._lock:
            standing, error = self._standing, self._error
            spilled, drained = self._spilled, self._drained
        return replace(
            self._queue.state(),
            bus=standing,
            error=error,
            spilled_blocks=spilled,
            drained_blocks=drained,
        )

    def close(self) -> None:
        """See Carrier. What is queued stays on the disk for the next start."""
        self._stop.set()
        self._wake.set()
        self._thread.join()
        self._queue.close()
        self._bus.close()

    def _turn(self, standing: Standing, error: Exception | None = None) -> None:
        with self._lock:
            before, self._standing = self._standing, standing
            self._error = None if error is None else str(error)
        if before != standing:
            log.log(
                logging.INFO if standing == "up" else logging.ERROR,
                "the bus was %s and is %s%s",
                before,
                standing,
                f": {error}" if error else "",
            )
        if standing == "down":
            self._wake.set()

    def _drain(self) -> None:
        while not self._stop.is_set():
            try:
                pause_s = self._drain_some()
            except BusDown as error:
                self._turn("down", error)
                # Nobody waits for the drain, and over a slow line what timed out once would do so
                # for ever. Doubled, one try is never longer than the outage was before it.
                self._patience_s = min(2 * self._patience_s, _LONGEST_S)
                pause_s = _AGAIN_S
            except OSError as error:  # the queue's disk, not the bus
                log.error("the disk queue cannot be read: %s", error)
                pause_s = _REFUSED_S
            except Exception as error:  # whatever it is, the next try may do better
                self._turn("refusing", error)
                pause_s = _REFUSED_S
            self._stop.wait(pause_s)

    def _drain_some(self) -> float:
        """One go; how long to wait after it, in seconds."""
        self._wake.clear()
        taken = self._queue.take(min(_TAKE_BYTES, self._rate * _TAKE_S))
        if taken is None:
            if self._standing != "up":  # nothing to try it with: a full disk took no block
                self._bus.check()
                self._turn("up")
            self._wake.wait(_IDLE_S)
            return 0
        began = time.monotonic()
        self._bus.send(taken.topic, taken.blocks, self._patience_s)
        self._patience_s = self._bus.timeout_s
        self._turn("up")
        self._queue.done(taken)
        with self._lock:
            self._drained += len(taken.blocks)
        return max(0.0, taken.size / self._rate - (time.monotonic() - began))
