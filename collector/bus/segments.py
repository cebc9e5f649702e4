"""Appends frames to segments, and repairs those after a crash. Spool and disk queue alike."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from collector.bus.port import BusError, BusFull
from schemas_avro import block
from schemas_avro.record import Record
from schemas_avro.segment import SUFFIX, Damaged, Whole, first_seq, frame, read_frame, segment_name

log = logging.getLogger(__name__)
_PROBE_BYTES = 1 << 16
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class SegmentLog:
    """Frames appended to the segments of one slot; the slot's one writer. Not thread-safe.

    A slot is a directory `<topic>/<name>-<slot>-<8 random hex digits>`, held by a file lock for
    the life of the process. The first free slot is taken again after a restart, so that its
    numbers go on without a gap; the digits keep a wiped directory from reusing old numbers.

    number_of: reads a frame's number out of its payload; None: frames are counted
    last:      payload of the last whole frame found when the log was opened
    next:      number of the next frame; segments are named by that of their first
    """

    def __init__(
        self,
        topic: Path,
        name: str,
        segment_bytes: int,
        number_of: Callable[[bytes], int] | None = None,
    ) -> None:
        self._segment_bytes = segment_bytes
        self.directory, lock = _take_slot(topic, name)
        self._lock: int | None = lock
        self._file: int | None = None
        self.path, self.size = self.directory, 0  # of the segment in hand
        found = _recover(self.directory)
        self.last, self.next = found.last, found.next
        if number_of is not None and found.last is not None:
            self.next = number_of(found.last) + 1
        self._open(found.reusable or self.directory / segment_name(self.next))

    def append(self, data: bytes, frames: int = 1) -> None:
        """Write frames and wait until the disk has them. Raises OSError.

        After an error the file is as before: no half frame is left in front of a later one.
        """
        if self.size >= self._segment_bytes:
            self.roll()
        assert self._file is not None
        try:
            written = 0
            while written < len(data):
                written += os.write(self._file, data[written:])
            os.fdatasync(self._file)
        except OSError:
            self._cut()
            raise
        self.size += len(data)
        self.next += frames

    def roll(self) -> None:
        """Go on in a new segment. Raises OSError."""
        self._open(self.directory / segment_name(self.next))

    def clear(self) -> None:
        """Empty the segment in hand: nobody needs its frames any more. Raises OSError.

        Needs no room, so that a full disk can be freed.
        """
        assert self._file is not None
        os.ftruncate(self._file, 0)
        self.size = 0
        named = self.directory / segment_name(self.next)
        os.rename(self.path, named)
        self.path = named

    def writable(self) -> bool:
        """Would the disk take bytes now? Tried beside the segments; any thread may ask."""
        try:
            with tempfile.TemporaryFile(dir=self.directory) as probe:
                probe.write(bytes(_PROBE_BYTES))
                probe.flush()
                os.fsync(probe.fileno())
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Give the slot back. A second time does nothing."""
        for handle in (self._file, self._lock):
            if handle is not None:
                os.close(handle)
        self._file = self._lock = None

    def _open(self, path: Path) -> None:
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        if self._file is not None:
            os.close(self._file)
        self._file, self.path, self.size = opened, path, os.fstat(opened).st_size
        _sync_directory(self.directory)  # else a crash could lose the name of a synced file

    def _cut(self) -> None:
        """Back to the last whole frame."""
        assert self._file is not None
        try:
            os.ftruncate(self._file, self.size)
        except OSError as error:
            # Half a frame stays. The next block lies behind it, and a reader passes over it; a
            # later cut must not reach into that block.
            self.size = os.fstat(self._file).st_size
            log.error("half a frame stays in %s: %s", self.path.name, error.strerror)


@dataclass
class _End:
    """Where a producer's log ends: the next block's number, and rows written before it."""

    seq: int = 0
    first_row: int = 0


@dataclass(frozen=True)
class Sealed:
    """A frame ready to be appended, and where the log ends after it."""

    data: bytes
    end: _End


class SegmentWriter:
    """Numbers rows as the blocks of one producer, which is its slot. Not thread-safe."""

    def __init__(self, topic: Path, name: str, record: Record, segment_bytes: int) -> None:
        self._record = record
        self._log = SegmentLog(topic, name, segment_bytes, lambda data: block.read_meta(data).seq)
        self.directory = self._log.directory
        self.producer = self.directory.name
        self._end = _End(self._log.next)
        if self._log.last is not None:
            meta = block.read_meta(self._log.last)
            self._end = _End(meta.seq + 1, meta.first_row + meta.count)

    def seal(self, rows: pl.DataFrame, rejected: int) -> Sealed:
        """The rows as the next block. Nothing is written yet, and the number is not used up.

        Raises ValueError for more than a block may hold.
        """
        meta = block.new_meta(
            rows,
            producer=self.producer,
            seq=self._end.seq,
            first_row=self._end.first_row,
            rejected=rejected,
        )
        end = _End(meta.seq + 1, meta.first_row + meta.count)
        return Sealed(frame(block.encode(self._record, rows, meta)), end)

    def append(self, sealed: Sealed) -> None:
        """Write the newest sealed block and wait until the disk has it. Raises OSError."""
        self._log.append(sealed.data)
        self._end = sealed.end

    def writable(self) -> bool:
        """Would the disk take bytes now? Any thread may ask."""
        return self._log.writable()

    def close(self) -> None:
        """Give the slot back. A second time does nothing."""
        self._log.close()


def refusal(error: OSError, where: str) -> BusError:
    """What to tell a sender after `append` failed."""
    refused = BusFull if error.errno in _FULL else BusError
    return refused(f"{where}: {error.strerror or 'write failed'}")


def segments(directory: Path) -> list[Path]:
    """Segment files of a slot, in order."""
    return sorted(path for path in directory.iterdir() if path.name.endswith(SUFFIX))


def _take_slot(topic: Path, name: str) -> tuple[Path, int]:
    topic.mkdir(parents=True, exist_ok=True)
    there = sorted(p for p in topic.iterdir() if p.is_dir() and p.name.startswith(f"{name}-"))
    for directory in there:
        lock = try_lock(directory)
        if lock is not None:
            return directory, lock
    while True:
        made = topic / f"{name}-{len(there)}-{secrets.token_hex(4)}"
        made.mkdir()
        lock = try_lock(made)
        if lock is not None:
            _sync_directory(topic)
            return made, lock


def try_lock(directory: Path) -> int | None:
    """A handle that holds the slot until it is closed; None while somebody else holds it."""
    handle = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


@dataclass(frozen=True)
class _Found:
    """What `_recover` found: where the log goes on, and the segment to append to, if one may be."""

    next: int
    last: bytes | None = None
    reusable: Path | None = None


def _recover(directory: Path) -> _Found:
    """Cuts torn tails. Nothing is appended behind damage, nor to a segment with a successor."""
    paths = segments(directory)
    next_frame = first_seq(paths[-1].name) if paths else 0
    for path in reversed(paths):
        last, frames, whole_bytes, damaged = _scan(path)
        if path.stat().st_size > whole_bytes:
            _cut_torn_tail(path, whole_bytes)
        if last is not None:
            if path is not paths[-1]:
                return _Found(next_frame, last)
            return _Found(next_frame + frames, last, None if damaged else path)
    return _Found(next_frame)


def _scan(path: Path) -> tuple[bytes | None, int, int, bool]:
    """Last whole frame's payload, frames, bytes up to its end, and whether damage lies before."""
    last, frames, at, damaged = None, 0, 0, False
    with path.open("rb") as file:
        while (found := read_frame(file, at)) is not None:
            frames += 1
            match found:
                case Whole(payload, _):
                    last = payload
                case Damaged():
                    damaged = True
            at = found.end
    return last, frames, at, damaged


def _cut_torn_tail(path: Path, at: int) -> None:
    """The machine died while appending: nobody was answered for these bytes. They are set aside."""
    with path.open("r+b") as file:
        file.seek(at)
        tail = file.read()
        path.with_suffix(f".torn-{at}").write_bytes(tail)
        file.truncate(at)
        os.fsync(file.fileno())
    log.warning("cut a torn tail of %d bytes off %s", len(tail), path.name)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
