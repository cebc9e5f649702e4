"""Is an export whole? Compares a folder's files with the manifest that came with them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
_OURS = {MANIFEST, "SHA256SUMS"}
_CHUNK = 1 << 20


class ManifestError(ValueError):
    """There is no manifest that can be read; the message says what is wrong."""


def read(directory: Path) -> dict[str, Any]:
    """The manifest of a folder. Raises ManifestError."""
    path = directory / MANIFEST
    try:
        found = json.loads(path.read_text())
        for one in found["files"]:
            _ = one["name"], one["bytes"], one["sha256"], one["rows"]
        _ = found["rows"], found["bytes"]
    except FileNotFoundError:
        raise ManifestError(f"{path} is not there: the export is not complete") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ManifestError(f"{path} is no manifest of an export: {error!r}") from None
    return dict(found)


def problems(directory: Path, told: Callable[[int], None] = lambda size: None) -> Iterator[str]:
    """All that does not fit. told: bytes that were just looked at. Raises ManifestError."""
    manifest = read(directory)
    files = manifest["files"]
    for one in files:
        name = one["name"]
        if Path(name).name != name:
            yield f"{name}: no name of a file in this folder"
            continue
        path = directory / name
        if not path.is_file():
            yield f"{name}: missing"
        elif (size := path.stat().st_size) != one["bytes"]:
            yield f"{name}: {size:,} bytes, not {one['bytes']:,}"
        elif sha256(path, told) != one["sha256"]:
            yield f"{name}: its bytes are not those that were exported (SHA-256)"
    for what in ("rows", "bytes"):
        if sum(one[what] for one in files) != manifest[what]:
            yield f"{MANIFEST}: {what} of the files do not add up to {manifest[what]:,}"
    known = {one["name"] for one in files} | _OURS
    for path in sorted(directory.iterdir()):
        if path.name not in known:
            yield f"{path.name}: is not in the manifest"


def sha256(path: Path, told: Callable[[int], None] = lambda size: None) -> str:
    """Of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            told(len(chunk))
    return digest.hexdigest()
