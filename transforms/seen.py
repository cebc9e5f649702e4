"""Which events were seen lately: hashes in generations, so that old ones can be forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl

GENERATION_US = 300_000_000  # five minutes: what is forgotten at once


class Seen:
    """Hashes of keys by generation of receipt. Memory: about 60 bytes per key of the horizon."""

    def __init__(self) -> None:
        self._generations: dict[int, set[int]] = {}

    @classmethod
    def load(cls, entries: Iterable[bytes]) -> Seen:
        """From what `add` and `dump` returned, in any order."""
        seen = cls()
        for entry in entries:
            generation, *hashes = np.frombuffer(entry, np.uint64).tolist()
            seen._generations.setdefault(generation, set()).update(hashes)
        return seen

    def add(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, bytes]:
        """(rows whose `key` is new, the entry that remembers them).

        rows: columns `key` (uint64) and `received_time` (us); of equal keys the first row stays.
        """
        first = rows.unique("key", keep="first", maintain_order=True)
        hashes = first["key"].to_list()
        known: set[int] = set().union(*(g.intersection(hashes) for g in self._generations.values()))
        if known:
            first = first.filter(~pl.col("key").is_in(list(known)))
            hashes = first["key"].to_list()
        # The newest receipt decides: nothing is forgotten before all of it is old enough.
        newest = rows.select(pl.col("received_time").max()).item()
        generation = int(newest) // GENERATION_US
        self._generations.setdefault(generation, set()).update(hashes)
        return first, _entry(generation, hashes)

    def forget(self, before: int) -> bool:
        """Drop generations that end before the instant (us); was there any?"""
        old = [g for g in self._generations if (g + 1) * GENERATION_US <= before]
        for generation in old:
            del self._generations[generation]
        return bool(old)

    def dump(self) -> Iterator[bytes]:
        """Entries that make an equal one."""
        for generation, hashes in self._generations.items():
            yield _entry(generation, hashes)

    def __len__(self) -> int:
        return sum(map(len, self._generations.values()))


def _entry(generation: int, hashes: Iterable[int]) -> bytes:
    return np.array([generation, *hashes], np.uint64).tobytes()
