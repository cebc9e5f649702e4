"""Which events were seen lately: hashes in generations, so that old ones can be forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl

from transforms.hash_set import Hashes, HashSet

GENERATION_US = 300_000_000  # five minutes: what is forgotten at once


class Seen:
    """Hashes of keys by generation of receipt. Memory: 16 to 32 bytes per key of the horizon."""

    def __init__(self) -> None:
        self._generations: dict[int, HashSet] = {}  # none without any

    @classmethod
    def load(cls, entries: Iterable[bytes]) -> Seen:
        """From what `add` and `dump` returned, in any order."""
        seen = cls()
        seen.take(entries)
        return seen

    def take(self, entries: Iterable[bytes]) -> None:
        """Add what entries remember."""
        parts: dict[int, list[Hashes]] = {}
        for entry in entries:
            numbers = np.frombuffer(entry, np.uint64)
            if numbers.size > 1:
                parts.setdefault(int(numbers[0]), []).append(numbers[1:])
        for generation, hashes in parts.items():
            self._of(generation).add(np.unique(np.concatenate(hashes)))

    def add(self, rows: pl.DataFrame, beside: Seen | None = None) -> tuple[pl.DataFrame, bytes]:
        """(rows whose `key` is new, the entry that remembers them).

        rows:   columns `key` (uint64) and `received_time` (us); of equal keys the first row stays
        beside: what it holds is not new either
        """
        first = rows.unique("key", keep="first", maintain_order=True)
        hashes = first["key"].to_numpy()
        # The newest receipt decides: nothing is forgotten before all of it is old enough.
        generation = int(rows.select(pl.col("received_time").max()).item()) // GENERATION_US
        fresh = np.ones(hashes.size, np.bool_)
        others = [members for older, members in self._generations.items() if older != generation]
        for members in (*others, *(beside._generations.values() if beside else ())):
            fresh &= ~members.holds(hashes)
        if fresh.any():
            fresh[fresh] = self._of(generation).add(hashes[fresh])
        if not fresh.all():
            first = first.filter(pl.Series(fresh))
        return first, _entry(generation, hashes[fresh])

    def forget(self, before: int) -> bool:
        """Drop generations that end before the instant (us); was there any?"""
        old = [g for g in self._generations if (g + 1) * GENERATION_US <= before]
        for generation in old:
            del self._generations[generation]
        return bool(old)

    @property
    def oldest_us(self) -> int:
        """End of the oldest generation (us): what `forget` drops first. 0 when empty."""
        return (min(self._generations, default=-1) + 1) * GENERATION_US

    def dump(self) -> Iterator[bytes]:
        """Entries that make an equal one."""
        for generation, members in self._generations.items():
            yield _entry(generation, members.to_array())

    def __len__(self) -> int:
        return sum(map(len, self._generations.values()))

    @property
    def nbytes(self) -> int:
        """Memory, in bytes."""
        return sum(members.nbytes for members in self._generations.values())

    def _of(self, generation: int) -> HashSet:
        return self._generations.setdefault(generation, HashSet())


def _entry(generation: int, hashes: Hashes) -> bytes:
    return np.array([generation], np.uint64).tobytes() + hashes.tobytes()
