"""Where scheduled exports go: a folder of this machine or a bucket, below what the settings allow.

An export is there whole or not at all: a folder gets its name when everything is in it; in a
bucket, whose objects have no folders, the manifest comes last.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from catalog.settings import Settings
from reports.exports.asked import ExportError
from reports.exports.shelf import MANIFEST

_BUCKET = "gs://"
Make = Callable[[Path], object]  # writes an export into an empty directory


class Target(Protocol):
    """A place for exports."""

    def put(self, name: str, make: Make, says: Mapping[str, Any]) -> str:
        """Have it made and put there under a name; where it is. Done already: nothing happens.

        says: what its manifest says, in JSON's values. Raises ExportError where another is there.
        """
        ...


@dataclass(frozen=True)
class Folder:
    """A directory, which is made where it is not there."""

    path: Path

    def put(self, name: str, make: Make, says: Mapping[str, Any]) -> str:
        """See Target."""
        final = self.path / name
        if final.exists():
            try:
                there = (final / MANIFEST).read_bytes()
            except OSError:
                there = b""
            _check_same(str(final), there, says)
        else:
            self.path.mkdir(parents=True, exist_ok=True)
            for left in self.path.glob(f".{name}.*"):  # by one that was cut off
                shutil.rmtree(left, ignore_errors=True)
            with _draft(self.path / f".{name}.{secrets.token_hex(4)}") as draft:
                make(draft)
                draft.rename(final)
        return str(final)


@dataclass(frozen=True)
class Bucket:
    """A prefix in Google Cloud Storage. work: directory in which files are made before they go."""

    bucket: str
    prefix: str
    work: Path

    def put(self, name: str, make: Make, says: Mapping[str, Any]) -> str:
        """See Target."""
        from google.cloud import storage  # type: ignore[attr-defined,import-untyped,unused-ignore]

        bucket = storage.Client().bucket(self.bucket)
        at = "/".join(filter(None, (self.prefix, name)))
        manifest = bucket.blob(f"{at}/{MANIFEST}")
        if manifest.exists():
            _check_same(f"{_BUCKET}{self.bucket}/{at}", manifest.download_as_bytes(), says)
        else:
            self.work.mkdir(parents=True, exist_ok=True)
            with _draft(self.work / secrets.token_hex(8)) as draft:
                make(draft)
                files = sorted(draft.iterdir(), key=lambda path: path.name == MANIFEST)
                for path in files:  # an object is there when all of it is
                    blob = bucket.blob(f"{at}/{path.name}")
                    blob.upload_from_filename(str(path), checksum="crc32c")
        return f"{_BUCKET}{self.bucket}/{at}"


def _check_same(place: str, manifest: bytes, says: Mapping[str, Any]) -> None:
    """Is what lies there the export that is wanted? Raises ExportError where it is another."""
    try:
        there = json.loads(manifest)
        other = [name for name, value in says.items() if there.get(name) != value]
    except (ValueError, AttributeError):
        other = ["manifest"]
    if other:  # what it is, is perhaps another project's business
        raise ExportError(
            f"{place} is there already and is another export: its {', '.join(other)} differ; "
            "give the schedule another name or another `to`"
        )


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def target(settings: Settings, project: str, to: str) -> Target:
    """The place that `to` names: a folder, alone its name or whole, or gs://BUCKET/PREFIX.

    Each project has its own: PROJECT/TO for a name alone, TO/PROJECT for the others. Raises
    ExportError for one that is not below HEADWATER_EXPORT_TO.
    """
    given = [part.strip() for part in settings.export_to.split(",") if part.strip()]
    allowed = given or [str(settings.path("exported"))]
    if ".." in PurePosixPath(to).parts or not to.strip():
        raise ExportError(f"to={to!r} names no place; write a folder, or gs://BUCKET/PREFIX")
    if to.startswith(_BUCKET):
        if not any(f"{to.rstrip('/')}/".startswith(f"{one.rstrip('/')}/") for one in allowed):
            raise _not_allowed(to, allowed)
        bucket, _, prefix = to.removeprefix(_BUCKET).partition("/")
        below = "/".join(filter(None, (prefix.strip("/"), project)))
        return Bucket(bucket, below, settings.path("exports", ".scheduled"))
    folders = [Path(one).absolute() for one in allowed if not one.startswith(_BUCKET)]
    if not folders:
        raise _not_allowed(to, allowed)
    path = Path(to) / project if Path(to).is_absolute() else folders[0] / project / to
    if not any(path.resolve().is_relative_to(folder.resolve()) for folder in folders):
        raise _not_allowed(to, allowed)
    return Folder(path)


def _not_allowed(to: str, allowed: list[str]) -> ExportError:
    return ExportError(f"to={to!r} is not below {', '.join(allowed)} (HEADWATER_EXPORT_TO)")
