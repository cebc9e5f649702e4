"""Appends blocks to the segments of one producer, and repairs them after a crash."""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from schemas_avro import block
from schemas_avro.record import Record
from schemas_avro.segment import SUFFIX, Damaged, Whole, first_seq, frame, read_frame, segment_name

log = logging.getLogger(__name__)
_PROBE_BYTES = 1 << 16


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
    """The one writer of a producer's directory. Not thread-safe.

    A producer is a slot: `<topic>/<name>-<slot>-<8 random hex digits>`, held by a file lock for
    the life of the process. The first free slot is taken again after a restart, so that its
    block numbers go on without a gap; the digits keep a wiped spool from reusing old numbers.
    """

    def __init__(self, topic: Path, name: str, record: Record, segment_bytes: int) -> None:
        self._record = record
        self._segment_bytes = segment_bytes
        self.directory, lock = _take_slot(topic, name)
        self._lock: int | None = lock
        self.producer = self.directory.name
        self._file: int | None = None
        self._end, reusable = _recover(self.directory)
        self._open(reusable or self.directory / segment_name(self._end.seq))

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
        """Write the newest sealed block and wait until the disk has it. Raises OSError.

        After an error the file is as before: no half frame is left in front of a later one.
        """
        if self._size >= self._segment_bytes:
            self._open(self.directory / segment_name(self._end.seq))
        assert self._file is not None
        try:
            written = 0
            while written < len(sealed.data):
                written += os.write(self._file, sealed.data[written:])
            os.fdatasync(self._file)
        except OSError:
            self._cut()
            raise
        self._size += len(sealed.data)
        self._end = sealed.end

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
        self._file, self._size = opened, os.fstat(opened).st_size
        _sync_directory(self.directory)  # else a crash could lose the name of a synced file

    def _cut(self) -> None:
        """Back to the last whole frame."""
        assert self._file is not None
        try:
            os.ftruncate(self._file, self._size)
        except OSError as error:
            # Half a frame stays. The next block lies behind it, and a reader passes over it; a
            # later cut must not reach into that block.
            self._size = os.fstat(self._file).st_size
            log.error("half a frame stays in the spool: %s", error.strerror)


def _take_slot(topic: Path, name: str) -> tuple[Path, int]:
    topic.mkdir(parents=True, exist_ok=True)
    there = sorted(p for p in topic.iterdir() if p.is_dir() and p.name.startswith(f"{name}-"))
    for directory in there:
        lock = _try_lock(directory)
        if lock is not None:
            return directory, lock
    while True:
        made = topic / f"{name}-{len(there)}-{secrets.token_hex(4)}"
        made.mkdir()
        lock = _try_lock(made)
        if lock is not None:
            _sync_directory(topic)
            return made, lock


def _try_lock(directory: Path) -> int | None:
    handle = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _recover(directory: Path) -> tuple[_End, Path | None]:
    """Where the log goes on, and the segment to append to; None: a new one is needed."""
    segments = sorted(p for p in directory.iterdir() if p.name.endswith(SUFFIX))
    for path in reversed(segments):
        end, whole_bytes, damaged = _scan(path)
        if path.stat().st_size > whole_bytes:
            _cut_torn_tail(path, whole_bytes)
        if end is not None:
            # Nothing is appended behind damage, nor to a segment that has a successor.
            last = path is segments[-1] and not damaged
            return end, path if last else None
    return _End(first_seq(segments[-1].name) if segments else 0), None


def _scan(path: Path) -> tuple[_End | None, int, bool]:
    """End after the last whole block, bytes up to there, and whether damage lies before it."""
    end, at, damaged = None, 0, False
    with path.open("rb") as file:
        while (found := read_frame(file, at)) is not None:
            match found:
                case Whole(payload, _):
                    meta = block.read_meta(payload)
                    end = _End(meta.seq + 1, meta.first_row + meta.count)
                case Damaged():
                    damaged = True
            at = found.end
    return end, at, damaged


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
