"""The bus on one machine: group commit into segments. A request waits for the disk, not alone."""

from __future__ import annotations

import errno
import logging
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from collector.bus.port import BusBusy, BusError, BusFull, Row
from collector.bus.segments import SegmentWriter
from schemas_avro import derive, load
from transforms.intake import to_frame

log = logging.getLogger(__name__)

BLOCK_ROWS = 10_000  # the most that one block gathers; requests are never split over blocks
_PRODUCER = "collector"
_DEAD_TYPES = derive.wire(load("dead_letter"))
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(slots=True)
class _Waiting:
    rows: Sequence[Row]
    dead: Sequence[Row]
    done: Future[None] = field(default_factory=Future)


class SpoolPublisher:
    """Writes blocks from one thread. While the disk syncs one, the next gathers by itself.

    So there is no artificial wait: a lone request is written at once, and under load a block
    holds whatever came during the sync before it.
    """

    def __init__(self, spool: Path, *, segment_bytes: int, max_waiting: int) -> None:
        self._events = SegmentWriter(spool / "events", _PRODUCER, load("event"), segment_bytes)
        self._dead = SegmentWriter(
            spool / "dead_letters", _PRODUCER, load("dead_letter"), segment_bytes
        )
        self._max_waiting = max_waiting
        self._queue: deque[_Waiting] = deque()
        self._waiting_rows = 0
        self._changed = threading.Condition()
        self._closing = False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        self._thread.start()

    def publish(self, rows: Sequence[Row], dead: Sequence[Row]) -> None:
        """See Publisher."""
        if not rows and not dead:
            return
        waiting = _Waiting(rows, dead)
        with self._changed:
            if self._closing:
                raise BusError("the collector is stopping")
            if self._waiting_rows + len(rows) > self._max_waiting:
                raise BusBusy(f"{self._waiting_rows} events wait for the disk")
            self._waiting_rows += len(rows)
            self._queue.append(waiting)
            self._changed.notify()
        waiting.done.result()

    def healthy(self) -> bool:
        """Did the newest write succeed, and is there room to wait?"""
        return not (self._failing or self._closing) and self._waiting_rows < self._max_waiting

    def close(self) -> None:
        """See Publisher."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        self._events.close()
        self._dead.close()

    def _run(self) -> None:
        while batch := self._take():
            self._commit(batch)

    def _take(self) -> list[_Waiting]:
        """Everything that waits, up to a block; empty when closing and nothing waits."""
        with self._changed:
            while not self._queue and not self._closing:
                self._changed.wait()
            taken: list[_Waiting] = []
            size = 0
            while self._queue and (not taken or size + len(self._queue[0].rows) <= BLOCK_ROWS):
                waiting = self._queue.popleft()
                size += len(waiting.rows)
                taken.append(waiting)
            self._waiting_rows -= size
            return taken

    def _commit(self, batch: list[_Waiting]) -> None:
        try:
            self._write(batch)
        except OSError as error:
            self._failing = True
            log.error("the spool takes no block: %s", error.strerror)
            refused = BusFull if error.errno in _FULL else BusError
            for waiting in batch:
                waiting.done.set_exception(refused(error.strerror or "write failed"))
        except Exception as error:
            # A row that cannot be encoded must not take the others' requests with it.
            if len(batch) == 1:
                batch[0].done.set_exception(error)
            else:
                for waiting in batch:
                    self._commit([waiting])
        else:
            self._failing = False
            for waiting in batch:
                waiting.done.set_result(None)

    def _write(self, batch: list[_Waiting]) -> None:
        dead = [row for waiting in batch for row in waiting.dead]
        rows = [row for waiting in batch for row in waiting.rows]
        if dead:
            self._dead.append(pl.DataFrame(dead, schema=_DEAD_TYPES, orient="row"), 0)
        if rows:
            self._events.append(to_frame(rows), len(dead))
