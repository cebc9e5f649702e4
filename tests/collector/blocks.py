"""Reads a spool another way than the product does: struct for frames, fastavro for rows.

Only whole frames are expected; anything else fails the test that asked.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def segments(topic: Path) -> list[Path]:
    """Segment files of all producers, each producer's in order."""
    return sorted(topic.glob("*/*.blocks"))


def frames(data: bytes) -> list[bytes]:
    """Payloads of a segment that holds whole frames only."""
    found, at = [], 0
    while at < len(data):
        magic, size, checksum = struct.unpack_from("<4sII", data, at)
        payload = data[at + 12 : at + 12 + size]
        assert (magic, len(payload), zlib.crc32(payload)) == (b"HWB1", size, checksum), at
        found.append(payload)
        at += 12 + size
    return found


def blocks(topic: Path) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """(metadata, rows) of every block; times as microseconds, fields without a value left out."""
    found: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    for path in segments(topic):
        found += map(decoded, frames(path.read_bytes()))
    return found


def decoded(payload: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(metadata, rows) of one block."""
    reader = fastavro.reader(io.BytesIO(payload))
    read = [{k: _plain(v) for k, v in row.items() if v is not None} for row in reader]
    return json.loads(reader.metadata["headwater.block"]), read


def rows(topic: Path) -> list[dict[str, Any]]:
    """Rows of every block, in order."""
    return [row for _, read in blocks(topic) for row in read]


def metas(topic: Path) -> list[dict[str, Any]]:
    """Metadata of every block, in order."""
    return [meta for meta, _ in blocks(topic)]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return (value - _EPOCH) // timedelta(microseconds=1)
    return value
