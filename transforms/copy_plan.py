"""What a copy of a partitioned table must load, from the files of then and the files of now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Change:
    """What makes one day (ISO) of the copy right: files of the original, in loads.

    replaces: their rows take the place of all that are there, at once; else they are added
    """

    day: str
    parts: tuple[tuple[str, ...], ...]
    replaces: bool

    @property
    def files(self) -> list[str]:
        """All files, sorted."""
        return sorted(file for part in self.parts for file in part)


def changes(
    copied: Mapping[str, Sequence[str]],
    current: Mapping[str, Sequence[str]],
    sizes: Mapping[str, int],
    most_bytes: int,
) -> list[Change]:
    """What makes a copy of `copied` one of `current`: day -> files. Oldest day first.

    A day that has only gained files gets those; one that has lost any - compacted, erased from,
    cut by retention - or of which nobody knows what is there, is replaced whole. `sizes` are those
    of the files, in bytes; a part holds up to `most_bytes`, and at least one file.
    """
    found: list[Change] = []
    for day in sorted(copied.keys() | current.keys()):
        old, new = set(copied.get(day, ())), set(current.get(day, ()))
        replaces = day not in copied or not old <= new
        wanted = sorted(new if replaces else new - old)
        if wanted or replaces:
            found.append(Change(day, _parts(wanted, sizes, most_bytes), replaces))
    return found


def _parts(
    files: Sequence[str], sizes: Mapping[str, int], most_bytes: int
) -> tuple[tuple[str, ...], ...]:
    parts: list[list[str]] = []
    size = 0
    for file in files:
        if not parts or size + sizes[file] > most_bytes:
            parts.append([])
            size = 0
        parts[-1].append(file)
        size += sizes[file]
    return tuple(map(tuple, parts))
