"""The Publisher for buses that take finished blocks: makes them, numbers them, sends them.

Numbers have no gaps, though several blocks are in flight and any of them may fail:

- A **lane** has producers of its own, and starts a block only when the fate of its last one is
  known. So a kill loses at most each producer's newest number, which is no gap.
- A producer whose newest block has an unknown fate (sent, not acknowledged, not queued either) is
  never used again: its number must not come a second time with other rows, because the reader
  would drop them as a repeat. The lane goes on under a new name, from 0.
- Names are random and new in each process. A number kept on the disk would have to be synced
  before each block, and a container that starts without its old disk would use numbers again,
  which loses events; a new name costs one entry in the positions that readers keep.
"""

from __future__ import annotations

import math
import queue
import secrets
import threading
from dataclasses import dataclass

import polars as pl

from collector.bus.carrier import TOPICS, Carrier
from collector.bus.port import BusError, BusState
from schemas_avro import block, load

_NAME = "collector"
_HEADER_ROOM = 64 << 10  # for all of a dead letter but its original, and for the block's header


@dataclass(frozen=True)
class _Sealed:
    """Blocks in order, and where their producer stands after them."""

    blocks: list[bytes]
    seq: int
    first_row: int


class _Producer:
    """One topic's part of a lane."""

    def __init__(self, topic: str, carrier: Carrier, block_bytes: int) -> None:
        self._topic, self._carrier, self._block_bytes = topic, carrier, block_bytes
        self._record = load(TOPICS[topic])
        self._rename()

    def seal(self, rows: pl.DataFrame, rejected: int) -> _Sealed:
        """The rows as the next blocks, split until each has at most `block_bytes`.

        No number is used up. Raises ValueError for a row that alone is more than the bus takes.
        """
        blocks: list[bytes] = []
        seq, first_row = self._seq, self._first_row
        parts = [rows] if rows.height else []
        while parts:
            part = parts.pop()
            meta = block.new_meta(
                part,
                producer=self._name,
                seq=seq,
                first_row=first_row,
                rejected=0 if blocks else rejected,
            )
            data = block.encode(self._record, part, meta)
            if len(data) > self._block_bytes and part.height > 1:
                pieces = math.ceil(len(data) / self._block_bytes)
                parts += reversed([*part.iter_slices(math.ceil(part.height / pieces))])
                continue
            if len(data) > self._carrier.max_block_bytes:
                raise ValueError(
                    f"one row of {len(data):,} bytes, and the bus takes at most "
                    f"{self._carrier.max_block_bytes:,}: lower HEADWATER_MAX_EVENT_BYTES"
                )
            blocks.append(data)
            seq, first_row = seq + 1, first_row + part.height
        return _Sealed(blocks, seq, first_row)

    def send(self, sealed: _Sealed) -> None:
        """Send what was sealed last."""
        if not sealed.blocks:
            return
        try:
            self._carrier.send(self._topic, sealed.blocks)
        except BaseException:
            self._rename()
            raise
        self._seq, self._first_row = sealed.seq, sealed.first_row

    def _rename(self) -> None:
        self._name, self._seq, self._first_row = f"{_NAME}-{secrets.token_hex(6)}", 0, 0


class NumberedPublisher:
    """Publisher on a carrier, with `lanes` blocks in flight.

    block_bytes: a block aims to be no larger, in bytes; a row that alone is larger goes alone
    """

    def __init__(self, carrier: Carrier, *, lanes: int, block_bytes: int) -> None:
        self.lanes = lanes
        self._carrier = carrier
        block_bytes = min(block_bytes, carrier.max_block_bytes)
        # Last in, first out: little traffic means few producers.
        self._free: queue.LifoQueue[tuple[_Producer, _Producer]] = queue.LifoQueue()
        for _ in range(lanes):
            letters, events = (
                _Producer(t, carrier, block_bytes) for t in ("dead_letters", "events")
            )
            self._free.put((letters, events))
        self._closing = threading.Lock()
        self._closed = False

    def publish(self, rows: pl.DataFrame, dead: pl.DataFrame) -> int:
        """See Publisher."""
        if rows.is_empty() and dead.is_empty():
            return 0
        letters, events = lane = self._free.get()
        try:
            if self._closed:
                raise BusError("the collector is stopping")
            # All is made before anything is sent: after a row that cannot be encoded nothing is.
            sealed_letters = letters.seal(self._fitting(dead), 0)
            sealed_events = events.seal(rows, dead.height)
            letters.send(sealed_letters)
            events.send(sealed_events)
            return sum(map(len, (*sealed_letters.blocks, *sealed_events.blocks)))
        finally:
            self._free.put(lane)

    def healthy(self) -> bool:
        """See Publisher."""
        return not self._closed and self._carrier.healthy()

    def state(self) -> BusState:
        """How bus and queue stand."""
        return self._carrier.state()

    def close(self) -> None:
        """See Publisher: waits for what is in flight."""
        with self._closing:
            if self._closed:
                return
            lanes = [self._free.get() for _ in range(self.lanes)]
            self._closed = True
            for lane in lanes:
                self._free.put(lane)
            self._carrier.close()

    def _fitting(self, dead: pl.DataFrame) -> pl.DataFrame:
        """An original so large that the bus takes no message with it is cut, and says so."""
        room = self._carrier.max_block_bytes - _HEADER_ROOM
        original = pl.col("original")
        too_large = original.bin.size() > room
        if dead.is_empty() or not dead.select(too_large.any()).item():
            return dead
        said = pl.format("{} (cut to {} of {} bytes)", "message", pl.lit(room), original.bin.size())
        return dead.with_columns(
            pl.when(too_large).then(said).otherwise("message").alias("message"),
            pl.when(too_large).then(original.bin.head(room)).otherwise(original).alias("original"),
        )
