"""What was seen, with the last changes apart, so that a runner can take them back."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from transforms.seen import Seen

KEPT = 64  # changes, at least, that can be taken back


class Remembered:
    """`Seen` as it is after so many changes, its version.

    Under load Prism does some bundles again, and then its state is that of some changes before. To
    read millions of hashes out of it takes seconds, in which live numbers stand still; to leave out
    the last few blocks takes none. Not thread-safe.
    """

    def __init__(self, entries: Iterable[bytes], version: int) -> None:
        """From the entries that the state holds."""
        self.version = version
        self._settled, self._recent = Seen.load(entries), Seen()
        self._last: list[bytes] = []  # entries of the last changes, all of them in _recent

    def back_to(self, version: int) -> bool:
        """Take back what came after a version; False where that is too long ago, or never was."""
        left = len(self._last) - (self.version - version)
        if not 0 <= left <= len(self._last):
            return False
        if left < len(self._last):
            self._last, self.version = self._last[:left], version
            self._recent = Seen.load(self._last)
        return True

    def add(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, bytes]:
        """One change: as `Seen.add`."""
        fresh, entry = self._recent.add(rows, beside=self._settled)
        self._last.append(entry)
        self.version += 1
        if len(self._last) >= 2 * KEPT:
            self._settled.take(self._last[:-KEPT])
            self._last = self._last[-KEPT:]
            self._recent = Seen.load(self._last)
        return fresh, entry

    def forget(self, before: int) -> list[bytes] | None:
        """One change: drop what is older, us; the entries that are left, None where none went."""
        self._settled.take(self._last)
        self._last, self._recent = [], Seen()
        self.version += 1
        return list(self._settled.dump()) if self._settled.forget(before) else None

    @property
    def oldest_us(self) -> int:
        """As of `Seen`; 0 when empty."""
        found = [seen.oldest_us for seen in (self._settled, self._recent) if len(seen)]
        return min(found, default=0)

    def __len__(self) -> int:
        return len(self._settled) + len(self._recent)
