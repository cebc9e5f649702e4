"""Files that people bring: found by a pattern, unpacked by their first bytes."""

from __future__ import annotations

import glob
import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from backports import zstd

from beam_pipelines.connectors.uri import UriError

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
# What a file that is cut off or damaged raises when it is unpacked.
DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, zstd.ZstdError, UnicodeError)


@dataclass(frozen=True, order=True)
class InputFile:
    """A file to read. name: its path below the part of the pattern that has no wildcard."""

    path: str
    name: str


def find(pattern: str, option: str) -> tuple[InputFile, ...]:
    """The files that a pattern with `*`, `?`, `[…]` or `**` stands for, sorted; or the one file.

    A name does not depend on the other files. Raises UriError where there is none, for a
    directory and for a file that cannot be read.
    """
    paths = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern, recursive=True))
    shown = f"--{option}={pattern!r}"
    if [path for path in paths if os.path.isdir(path)] == paths and paths:
        raise UriError(f"{shown} is a directory; name its files: {paths[0].rstrip('/')}/*")
    found = [path for path in paths if not os.path.isdir(path)]
    if not found:
        raise UriError(f"{shown} is no file, and as a pattern fits none")
    for path in found:
        if not os.path.isfile(path):
            raise UriError(f"{shown}: {path} is no ordinary file")
        if not os.access(path, os.R_OK):
            raise UriError(f"{shown}: no permission to read {path}")
    root = os.path.dirname(pattern if found == [pattern] else _fixed(pattern))
    return tuple(InputFile(path, os.path.relpath(path, root or ".")) for path in found)


def _fixed(pattern: str) -> str:
    """The pattern up to its first wildcard."""
    return next((pattern[:at] for at, c in enumerate(pattern) if c in "*?["), pattern)


@contextmanager
def unpacked(path: str) -> Iterator[tuple[IO[bytes], BinaryIO]]:
    """(the file's bytes, unpacked if they are gzip or zstd; the file itself, to ask how far)."""
    with open(path, "rb") as raw:
        head = raw.peek(4)[:4]
        if head[:2] == _GZIP:
            with gzip.GzipFile(fileobj=raw) as plain:
                yield cast(IO[bytes], plain), raw
        elif head == _ZSTD:
            with zstd.ZstdFile(raw) as plain:
                yield cast(IO[bytes], plain), raw
        else:
            yield raw, raw


def size_of(files: tuple[InputFile, ...]) -> int:
    """Bytes of all files as they lie on the disk."""
    return sum(Path(file.path).stat().st_size for file in files)
