"""Reads a request body by its shape: Content-Type and even Content-Encoding may be wrong."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import IO

from backports import zstd

from collector.problems import Problem

_CHUNK = 64 << 10
_GZIP_MAGIC, _ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


def read_body(
    stream: IO[bytes], length: int | None, encoding: str, max_bytes: int, max_decoded: int
) -> bytes:
    """The body, decompressed. Raises Problem 413 beyond either limit, 400 for damaged bytes.

    length:   Content-Length; None for a chunked body
    encoding: Content-Encoding; gzip and zstd are also known by their first bytes
    """
    if length is not None and length > max_bytes:
        raise _too_large(max_bytes)
    data = _read_capped(stream, max_bytes)
    kind = encoding.strip().lower()
    if data[:2] == _GZIP_MAGIC:
        return _inflate(data, zlib.decompressobj(zlib.MAX_WBITS | 16).decompress, max_decoded)
    if data[:4] == _ZSTD_MAGIC:
        return _inflate(data, zstd.ZstdDecompressor().decompress, max_decoded)
    if kind == "deflate":
        # Some senders leave out the zlib wrapper that the name stands for.
        bits = zlib.MAX_WBITS if data[:1] == b"\x78" else -zlib.MAX_WBITS
        return _inflate(data, zlib.decompressobj(bits).decompress, max_decoded)
    return data


def _read_capped(stream: IO[bytes], limit: int) -> bytes:
    parts, size = [], 0
    while part := stream.read(_CHUNK):
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
    return b"".join(parts)


def _inflate(data: bytes, decompress: Callable[[bytes, int], bytes], limit: int) -> bytes:
    """Never more than `limit` + 1 bytes come into being, however small the body is."""
    try:
        decoded = decompress(data, limit + 1)
    except (zlib.error, zstd.ZstdError) as error:
        raise Problem(400, "bad_encoding", f"the body cannot be decompressed: {error}") from error
    if len(decoded) > limit:
        raise _too_large(limit)
    return decoded


def _too_large(limit: int) -> Problem:
    return Problem(413, "too_large", f"the body is larger than {limit:,} bytes; send it in parts")
