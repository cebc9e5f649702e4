"""Segments: how blocks lie one behind the other in a file of the spool.

`<spool>/<producer>/<first seq, 20 digits>.blocks`, each a run of frames, appended by one writer.
Frame: magic `HWB1` | payload length, uint32 | CRC-32 of the payload, uint32 | payload = one block.
Little endian. Length and checksum tell a torn tail (the machine died while appending) from a
whole block; the magic finds the next frame after damage.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

MAGIC = b"HWB1"
SUFFIX = ".blocks"
MAX_PAYLOAD_BYTES = 64 << 20
_HEAD = struct.Struct("<4sII")
_SCAN_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole frame: its payload, and where the next one starts."""

    payload: bytes
    end: int


@dataclass(frozen=True, slots=True)
class Damaged:
    """Bytes that are no frame, up to the next whole one: `end` is where that starts."""

    junk: bytes
    end: int


def segment_name(first_seq: int) -> str:
    """File name of the segment whose first block has this sequence number."""
    return f"{first_seq:020d}{SUFFIX}"


def first_seq(name: str) -> int:
    """The inverse of `segment_name`."""
    return int(name.removesuffix(SUFFIX))


def frame(payload: bytes) -> bytes:
    """The bytes to append for one block. Raises ValueError for more than MAX_PAYLOAD_BYTES."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(
            f"a block of {len(payload):,} bytes is larger than {MAX_PAYLOAD_BYTES:,}; split it"
        )
    return _HEAD.pack(MAGIC, len(payload), zlib.crc32(payload)) + payload


def read_frame(file: BinaryIO, at: int) -> Whole | Damaged | None:
    """The frame at offset `at`; None where the file ends or ends in an unfinished frame.

    Bytes that are no frame are `Damaged` only if a whole frame follows them: before that they
    may be a tail still being written, and the reader waits.
    """
    whole = _frame_at(file, at)
    if whole is not None:
        return whole
    resume = _next_whole(file, at + 1)
    if resume is None:
        return None
    file.seek(at)
    return Damaged(file.read(resume - at), resume)


def _frame_at(file: BinaryIO, at: int) -> Whole | None:
    file.seek(at)
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    magic, size, checksum = _HEAD.unpack(head)
    if magic != MAGIC or size > MAX_PAYLOAD_BYTES:
        return None
    payload = file.read(size)
    if len(payload) < size or zlib.crc32(payload) != checksum:
        return None
    return Whole(payload, at + _HEAD.size + size)


def _next_whole(file: BinaryIO, start: int) -> int | None:
    """Offset of the first whole frame at or after `start`."""
    at = start
    while True:
        file.seek(at)
        chunk = file.read(_SCAN_BYTES)
        if len(chunk) < len(MAGIC):
            return None
        found = chunk.find(MAGIC)
        while found >= 0:
            if _frame_at(file, at + found) is not None:
                return at + found
            found = chunk.find(MAGIC, found + 1)
        at += len(chunk) - len(MAGIC) + 1  # a magic may lie across two chunks
