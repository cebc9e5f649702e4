"""Blocks that wait on this machine's disk until the bus takes them: the spool's segments again.

`<queue>/<topic>/collector-<slot>-<8 hex>/<first number>.blocks`. Each worker appends to a slot of
its own, and one thread takes from the oldest end: a segment goes when the bus has all of it. How
far a segment was read is not kept: after a crash it is sent once more from its start, and readers
drop what they have by (producer, seq). Slots of workers that are gone are drained by the others.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from collector.bus.carrier import TOPICS
from collector.bus.port import BusError, BusFull, BusState
from collector.bus.segments import SegmentLog, refusal, segments, try_lock
from schemas_avro import block
from schemas_avro.segment import (
    MAX_PAYLOAD_BYTES,
    Damaged,
    Whole,
    first_seq,
    frame,
    read_frame,
)

log = logging.getLogger(__name__)
SEGMENT_BYTES = 4 << 20  # at most so much is sent a second time after a crash
_TAKE_BLOCKS = 500  # in one go to the bus
_LOOK_S = 1.0  # between two looks at the directory: for what others left, and for its size
_NAME = "collector"


class _Slot:
    """Reads a slot's frames from the oldest on. Used by the one thread that takes.

    segment: the one in hand; `at`: how much of it is done, in bytes
    """

    def __init__(self, directory: Path, lock: int | None = None) -> None:
        self.directory, self._lock = directory, lock
        self.segment: Path | None = None
        self.at, self._frames_done = 0, 0
        self.damaged = 0

    def take(self, active: Path | None, most_bytes: float) -> tuple[list[bytes], int]:
        """Blocks, and where they end in the segment in hand; none: all is done.

        active: the segment that is still written to; others are removed when they are done
        """
        for path in segments(self.directory):
            if path != self.segment:
                self.segment, self.at, self._frames_done = path, 0, 0
            with path.open("rb") as file:
                blocks, end = self._read(file, most_bytes)
                if blocks:
                    return blocks, end
                if path == active:
                    return [], end
                file.seek(end)
                self._set_aside(file.read(), end)
            path.unlink()
        return [], 0

    def done(self, end: int, blocks: int) -> None:
        """The bus has what lies before `end`."""
        self.at = end
        self._frames_done += blocks

    def waiting(self) -> tuple[int, int, bytes | None]:
        """Blocks, bytes, and the oldest of them. Any thread may ask; a moment old at most."""
        with suppress(FileNotFoundError):
            paths = segments(self.directory)
            sizes = [path.stat().st_size for path in paths]
            done = self.at if paths and paths[0] == self.segment else 0
            if sum(sizes) > done:
                before = self._frames_done if done else 0
                count = first_seq(paths[-1].name) - first_seq(paths[0].name) - before
                with paths[-1].open("rb") as last:
                    count += sum(1 for _ in _frames(last, 0))
                with paths[0].open("rb") as first:
                    oldest = next(filter(None, map(_block_of, _frames(first, done))), None)
                return count, sum(sizes) - done, oldest
        return 0, 0, None

    def close(self) -> None:
        """Let go of a slot that was held for draining."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _read(self, file: BinaryIO, most_bytes: float) -> tuple[list[bytes], int]:
        blocks: list[bytes] = []
        size, end = 0, self.at
        for found in _frames(file, self.at):
            payload = _block_of(found)
            if payload is None:
                self._set_aside(_bytes_of(found), end)
            else:
                blocks.append(payload)
                size += len(payload)
            end = found.end
            if size >= most_bytes or len(blocks) >= _TAKE_BLOCKS:
                break
        if not blocks:
            self.at = end
        return blocks, end

    def _set_aside(self, junk: bytes, at: int) -> None:
        if not junk:
            return
        assert self.segment is not None
        kept = self.segment.with_suffix(f".damaged-{at}")
        if kept.exists():  # met before, and sent again since
            return
        self.damaged += 1
        log.error("%d damaged bytes in the disk queue are set aside as %s", len(junk), kept)
        with suppress(OSError):  # on a full disk the rest goes on all the same
            kept.write_bytes(junk)


@dataclass(frozen=True)
class Taken:
    """Blocks from the oldest end. They stay in the queue until `done`."""

    topic: str
    blocks: list[bytes]
    slot: _Slot
    end: int

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(map(len, self.blocks))


class DiskQueue:
    """A Carrier to the disk; `take` finds the blocks again, also after a restart.

    max_bytes: of the whole directory, all workers' slots included; beyond it BusFull

    Any thread may send; one thread takes.
    """

    max_block_bytes = MAX_PAYLOAD_BYTES

    def __init__(self, root: Path, *, max_bytes: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._root, self._max_bytes = root, max_bytes
        self._locks = {topic: threading.Lock() for topic in TOPICS}
        self._logs = {t: SegmentLog(root / t, _NAME, segment_bytes) for t in TOPICS}
        self._own = {topic: _Slot(made.directory) for topic, made in self._logs.items()}
        self._left: dict[str, list[_Slot]] = {topic: [] for topic in TOPICS}
        self._looked_at = self._measured_at = float("-inf")
        self._used = self._wanted = 0  # bytes: there, and of the newest send if it was refused
        self._damaged_before = 0  # in slots that were let go
        self._closed = False

    def send(self, topic: str, blocks: Sequence[bytes]) -> None:
        """See Carrier. Raises BusFull at the limit or on a full disk; then nothing was written."""
        data = b"".join(map(frame, blocks))
        with self._locks[topic]:
            if self._closed:
                raise BusError("the collector is stopping")
            used = self._used_bytes()
            self._wanted = len(data)
            if used + len(data) > self._max_bytes:
                raise BusFull(
                    f"{used:,} bytes wait in the disk queue; HEADWATER_DISK_QUEUE_BYTES allows "
                    f"{self._max_bytes:,}"
                )
            try:
                self._logs[topic].append(data, len(blocks))
            except OSError as error:
                raise refusal(error, "disk queue") from error
            self._used += len(data)
            self._wanted = 0

    def take(self, most_bytes: float) -> Taken | None:
        """The oldest blocks, what dead workers left first; None: nothing waits.

        most_bytes: at that size it ends, with at least one block
        """
        self._look_for_left()
        for topic in reversed(TOPICS):  # dead letters first, as in `publish`
            for slot in list(self._left[topic]):
                blocks, end = slot.take(None, most_bytes)
                if blocks:
                    return Taken(topic, blocks, slot, end)
                self._damaged_before += slot.damaged
                self._left[topic].remove(slot)
                slot.close()
            blocks, end = self._own[topic].take(self._logs[topic].path, most_bytes)
            if blocks:
                return Taken(topic, blocks, self._own[topic], end)
            self._clear(topic, end)
        return None

    def done(self, taken: Taken) -> None:
        """The bus has them."""
        taken.slot.done(taken.end, len(taken.blocks))

    def healthy(self) -> bool:
        """See Carrier."""
        has_room = self._used_bytes() + max(self._wanted, 1) <= self._max_bytes
        return not self._closed and has_room and self._logs["events"].writable()

    def state(self) -> BusState:
        """See Carrier; what waits in this worker's slots and in those that it took over."""
        slots = [*self._own.values(), *itertools.chain(*self._left.values())]
        counted = [slot.waiting() for slot in slots]
        received = [block.read_meta(oldest).first_received for _, _, oldest in counted if oldest]
        now_us = time.time_ns() // 1000
        return BusState(
            queued_blocks=sum(blocks for blocks, _, _ in counted),
            queued_bytes=sum(size for _, size, _ in counted),
            oldest_queued_s=max(0.0, (now_us - min(received)) / 1e6) if received else None,
            damaged=self._damaged_before + sum(slot.damaged for slot in slots),
        )

    def close(self) -> None:
        """See Carrier. What waits stays for the next start."""
        for topic, held in self._logs.items():
            with self._locks[topic]:
                self._closed = True
                held.close()
        for slot in itertools.chain(*self._left.values()):
            slot.close()

    def _clear(self, topic: str, end: int) -> None:
        """Free what is done, unless a block came meanwhile."""
        with self._locks[topic]:
            held = self._logs[topic]
            own = self._own[topic]
            if not self._closed and held.size and (held.path, held.size) == (own.segment, end):
                held.clear()
                own.segment = None

    def _look_for_left(self) -> None:
        if time.monotonic() - self._looked_at < _LOOK_S:
            return
        self._looked_at = time.monotonic()
        for topic, slots in self._left.items():
            held = {self._own[topic].directory, *(slot.directory for slot in slots)}
            for directory in sorted((self._root / topic).iterdir()):
                if directory in held or not any(p.stat().st_size for p in segments(directory)):
                    continue
                lock = try_lock(directory)
                if lock is not None:
                    log.info("draining %s, which no worker holds any more", directory.name)
                    slots.append(_Slot(directory, lock))

    def _used_bytes(self) -> int:
        """Of the whole directory; other workers' share is up to `_LOOK_S` old."""
        if time.monotonic() - self._measured_at >= _LOOK_S:
            self._measured_at = time.monotonic()
            self._used = sum(map(_size, self._root.glob("*/*/*")))
        return self._used


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _frames(file: BinaryIO, at: int) -> Iterator[Whole | Damaged]:
    while (found := read_frame(file, at)) is not None:
        yield found
        at = found.end


def _block_of(found: Whole | Damaged) -> bytes | None:
    """The frame's block; None for what is no block."""
    if isinstance(found, Damaged):
        return None
    try:
        block.read_meta(found.payload)
    except block.BlockError:
        return None
    return found.payload


def _bytes_of(found: Whole | Damaged) -> bytes:
    return found.junk if isinstance(found, Damaged) else found.payload
