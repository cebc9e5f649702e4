"""Reads a request body by its shape: Content-Type and even Content-Encoding may be wrong."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import IO, Protocol

from backports import zstd

from collector.problems import Problem, too_large

_CHUNK = 64 << 10
_GZIP_MAGIC, _ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_UTF8_MARK = b"\xef\xbb\xbf"  # some senders begin with it; RFC 8259 lets a reader pass over it
_MOST_STREAMS = 100  # compressed streams in one body; each costs a copy of what follows it


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def read_body(
    stream: IO[bytes], length: int | None, encoding: str, max_bytes: int, max_decoded: int
) -> bytes:
    """The body, decompressed. Raises Problem 413 beyond either limit, 400 for damaged bytes.

    length:   Content-Length; None for a chunked body
    encoding: Content-Encoding; gzip and zstd are also known by their first bytes
    """
    if length is not None and length > max_bytes:
        raise too_large(max_bytes)
    # A known length takes one call: each may wait for the interpreter's lock.
    data = stream.read(length) if length is not None else _read_capped(stream, max_bytes)
    return _plain(data, encoding.strip().lower(), max_decoded).removeprefix(_UTF8_MARK)


def is_compressed(data: bytes) -> bool:
    """By its first bytes, whatever the headers say."""
    return data.startswith((_GZIP_MAGIC, _ZSTD_MAGIC))


def _plain(data: bytes, encoding: str, limit: int) -> bytes:
    if data[:2] == _GZIP_MAGIC:
        return _inflate(data, lambda: zlib.decompressobj(zlib.MAX_WBITS | 16), limit)
    if data[:4] == _ZSTD_MAGIC:
        return _inflate(data, zstd.ZstdDecompressor, limit)
    if encoding == "deflate":
        # Some senders leave out the zlib wrapper that the name stands for.
        bits = zlib.MAX_WBITS if _is_zlib(data) else -zlib.MAX_WBITS
        return _inflate(data, lambda: zlib.decompressobj(bits), limit)
    return data


def _is_zlib(data: bytes) -> bool:
    """RFC 1950: method 8 in the first byte, and the first two are a multiple of 31."""
    return data[:1] != b"" and data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0


def _read_capped(stream: IO[bytes], limit: int) -> bytes:
    parts, size = [], 0
    while part := stream.read(_CHUNK):
        size += len(part)
        if size > limit:
            raise too_large(limit)
        parts.append(part)
    return b"".join(parts)


def _inflate(data: bytes, begin: Callable[[], _Decompressor], limit: int) -> bytes:
    """All streams of the body, one behind the other, as gzip and zstd allow.

    Never more than `limit` + 1 bytes come into being, however small the body is.
    """
    parts: list[bytes] = []
    room = limit + 1
    while data:
        stream = begin()
        try:
            part = stream.decompress(data, room)
        except (zlib.error, zstd.ZstdError) as error:
            raise _undecodable(str(error)) from error
        room -= len(part)
        if room <= 0:
            raise too_large(limit)
        if not stream.eof:
            raise _undecodable("it ends too early")
        parts.append(part)
        if len(parts) > _MOST_STREAMS:
            raise _undecodable(f"more than {_MOST_STREAMS} streams")
        data = stream.unused_data
    return b"".join(parts)


def _undecodable(why: str) -> Problem:
    return Problem(400, "bad_encoding", f"the body cannot be decompressed: {why}")
