"""The bus on one machine: blocks appended to segments, synced before anyone is answered."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from collector.bus.port import BusError, BusState
from collector.bus.segments import SegmentWriter, refusal
from schemas_avro import load

PRODUCER = "collector"


class SpoolPublisher:
    """See Publisher. One writer a topic: called from one thread."""

    lanes = 1

    def __init__(self, spool: Path, *, segment_bytes: int) -> None:
        self._events = SegmentWriter(spool / "events", PRODUCER, load("event"), segment_bytes)
        self._dead = SegmentWriter(
            spool / "dead_letters", PRODUCER, load("dead_letter"), segment_bytes
        )
        self._failing = self._closed = False

    def publish(self, rows: pl.DataFrame, dead: pl.DataFrame) -> int:
        """See Publisher."""
        if self._closed:
            raise BusError("the spool is closed")
        # Both are made before either is written: after a row that cannot be encoded nothing is.
        letters = self._dead.seal(dead, 0) if dead.height else None
        events = self._events.seal(rows, dead.height) if rows.height else None
        size = 0
        try:
            for log, sealed in ((self._dead, letters), (self._events, events)):
                if sealed is not None:
                    log.append(sealed)
                    size += len(sealed.data)
        except OSError as error:
            self._failing = True
            raise refusal(error, "spool") from error
        self._failing = False
        return size

    def healthy(self) -> bool:
        """Did the newest write succeed, or would one now?

        The disk is tried, because nobody sends events to a collector that says it is not ready.
        """
        return not self._closed and (not self._failing or self._events.writable())

    def state(self) -> BusState:
        """See Publisher."""
        return BusState("up" if self.healthy() else "down")

    def close(self) -> None:
        """See Publisher."""
        self._closed = True
        self._events.close()
        self._dead.close()
