"""Where scheduled exports go: a folder of this machine or a bucket, below what the settings allow.

An export is there whole or not at all: a folder gets its name when everything is in it; in a
bucket, whose objects have no folders, the manifest comes last.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from catalog.settings import Settings
from reports.exports.asked import ExportError
from reports.exports.shelf import MANIFEST

_BUCKET = "gs://"
Make = Callable[[Path], object]  # writes an export into an empty directory


class Target(Protocol):
    """A place for exports."""

    def put(self, name: str, make: Make) -> str:
        """Have it made and put there under a name; where it is. Done already: nothing happens."""
        ...


@dataclass(frozen=True)
class Folder:
    """A directory, which is made where it is not there."""

    path: Path

    def put(self, name: str, make: Make) -> str:
        """See Target."""
        final = self.path / name
        if not final.exists():
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

    def put(self, name: str, make: Make) -> str:
        """See Target."""
        from google.cloud import storage  # type: ignore[attr-defined,import-untyped,unused-ignore]

        bucket = storage.Client().bucket(self.bucket)
        at = "/".join(filter(None, (self.prefix, name)))
        if not bucket.blob(f"{at}/{MANIFEST}").exists():
            self.work.mkdir(parents=True, exist_ok=True)
            with _draft(self.work / secrets.token_hex(8)) as draft:
                make(draft)
                files = sorted(draft.iterdir(), key=lambda path: path.name == MANIFEST)
                for path in files:  # an object is there when all of it is
                    blob = bucket.blob(f"{at}/{path.name}")
                    blob.upload_from_filename(str(path), checksum="crc32c")
        return f"{_BUCKET}{self.bucket}/{at}"


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def target(settings: Settings, project: str, to: str) -> Target:
    """The place that `to` names: a folder, alone its name or whole, or gs://BUCKET/PREFIX.

    Raises ExportError for one that is not below HEADWATER_EXPORT_TO.
    """
    given = [part.strip() for part in settings.export_to.split(",") if part.strip()]
    allowed = given or [str(settings.path("exported"))]
    if ".." in PurePosixPath(to).parts or not to.strip():
        raise ExportError(f"to={to!r} names no place; write a folder, or gs://BUCKET/PREFIX")
    if to.startswith(_BUCKET):
        if not any(f"{to.rstrip('/')}/".startswith(f"{one.rstrip('/')}/") for one in allowed):
            raise _not_allowed(to, allowed)
        bucket, _, prefix = to.removeprefix(_BUCKET).partition("/")
        return Bucket(bucket, prefix.strip("/"), settings.path("exports", ".scheduled"))
    folders = [Path(one).absolute() for one in allowed if not one.startswith(_BUCKET)]
    if not folders:
        raise _not_allowed(to, allowed)
    path = Path(to) if Path(to).is_absolute() else folders[0] / project / to
    if not any(path.resolve().is_relative_to(folder.resolve()) for folder in folders):
        raise _not_allowed(to, allowed)
    return Folder(path)


def _not_allowed(to: str, allowed: list[str]) -> ExportError:
    return ExportError(f"to={to!r} is not below {', '.join(allowed)} (HEADWATER_EXPORT_TO)")
