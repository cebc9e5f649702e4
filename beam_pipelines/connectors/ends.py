"""What lies at the ends of a job, looked at without touching anything.

An end is an address among a job's options: `spool:`, `sqlite:`, `iceberg:`, a catalogue's
`sqlite:///`, or the path of a file. Anything else is not looked at.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from pyiceberg.catalog.sql import SqlCatalog

from catalog.store import Catalog
from schemas_avro.segment import SUFFIX, first_seq
from schemas_avro.tables import CATALOG_FILE, LIVE_PROGRESS, NAMESPACE, POSITIONS
from transforms.positions import Positions

T = TypeVar("T")
_CATALOGUE = "sqlite:///"


def state(value: str) -> list[str]:
    """Lines on what is at an address now; none for what is no address."""
    if value.startswith(_CATALOGUE):
        return [] if os.path.exists(value.removeprefix(_CATALOGUE)) else ["not there yet"]
    lines: list[str] = []
    for scheme, path in map(_split, value.split(",")):
        if scheme not in _LOOKS:
            continue
        lines += _LOOKS[scheme](path) if _is_there(scheme, path) else ["not there yet"]
    if os.path.isfile(value):
        lines.append(f"{os.path.getsize(value):,} bytes")
    return lines


def on_this_machine(options: Any) -> list[str]:
    """The options whose address only this machine can reach, as `--name='value'`."""
    return [
        f"--{name}={value!r}"
        for name, value in _texts(options).items()
        if any(_split(part)[0] in _LOOKS for part in value.split(","))
    ]


@contextmanager
def standing_in(options: T) -> Iterator[T]:
    """The options with an empty directory in place of every store that is not there yet.

    A catalogue that is there is copied: a job may register in it what it is about to write.
    """
    with tempfile.TemporaryDirectory(prefix="headwater-dry-run-") as scratch:
        names = _texts(options).items()
        changed = {name: _stand_in(value, os.path.join(scratch, name)) for name, value in names}
        yield replace(options, **changed)  # type: ignore[type-var]


def _texts(options: Any) -> dict[str, str]:
    values = {spec.name: getattr(options, spec.name) for spec in fields(options)}
    return {name: value for name, value in values.items() if isinstance(value, str)}


def _stand_in(value: str, scratch: str) -> str:
    if value.startswith(_CATALOGUE):
        path = value.removeprefix(_CATALOGUE)
        if os.path.exists(path):
            with closing(sqlite3.connect(path)) as there, closing(sqlite3.connect(scratch)) as copy:
                there.backup(copy)
        Catalog(f"{_CATALOGUE}{scratch}").migrate()
        return f"{_CATALOGUE}{scratch}"
    parts = []
    for number, part in enumerate(value.split(",")):
        scheme, path = _split(part)
        made = scheme in _LOOKS and path and scheme != "spool" and not _is_there(scheme, path)
        parts.append(f"{scheme}:{scratch}-{number}" if made else part)
    return ",".join(parts)


def _split(address: str) -> tuple[str, str]:
    scheme, _, path = address.partition(":")
    return scheme, path


def _is_there(scheme: str, path: str) -> bool:
    return os.path.exists(os.path.join(path, CATALOG_FILE) if scheme == "iceberg" else path)


def _spool(topic: str) -> list[str]:
    return [_producer(Path(entry.path)) for entry in _directories(topic)]


def _directories(topic: str) -> list[os.DirEntry[str]]:
    return sorted((e for e in os.scandir(topic) if e.is_dir()), key=lambda e: e.name)


def _producer(directory: Path) -> str:
    segments = [path for path in directory.iterdir() if path.suffix == SUFFIX]
    first = min((first_seq(path.name) for path in segments), default=0)
    size = sum(path.stat().st_size for path in segments)
    return f"{directory.name}: blocks from {first:,} on, {len(segments)} segments, {size:,} bytes"


def _live(path: str) -> list[str]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
        try:
            row = store.execute(f"SELECT complete_until FROM {LIVE_PROGRESS}").fetchone()
        except sqlite3.DatabaseError as error:
            return [f"no live store: {error}"]
    if row is None:
        return ["no minute is final yet"]
    until = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=row[0])
    return [f"minutes final until {until.isoformat(timespec='seconds')}"]


def _warehouse(directory: str) -> list[str]:
    address = f"sqlite:///{directory}/{CATALOG_FILE}"
    catalog = SqlCatalog(NAMESPACE, uri=address, warehouse=f"file://{directory}")
    return [_table(catalog, name) for name in sorted(catalog.list_tables(NAMESPACE))]


def _table(catalog: SqlCatalog, name: tuple[str, ...]) -> str:
    snapshot = catalog.load_table(name).current_snapshot()
    if snapshot is None or snapshot.summary is None:
        return f"{name[-1]}: empty"
    summary = snapshot.summary.additional_properties
    line = f"{name[-1]}: {int(summary.get('total-records', 0)):,} rows"
    held = Positions.from_json(summary.get(POSITIONS, "{}"))
    upto = (f"{producer} to {held.first_missing(producer):,}" for producer in held.by_producer)
    listed = ", ".join(sorted(upto))
    return f"{line}; without a gap before block: {listed}" if listed else line


_LOOKS: dict[str, Callable[[str], list[str]]] = {
    "spool": _spool,
    "sqlite": _live,
    "iceberg": _warehouse,
}
