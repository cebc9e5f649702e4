"""A set of 64-bit hashes in one numpy array: 16 to 32 bytes a member where a Python set takes 90.

Open addressing with linear probing (Knuth, The Art of Computer Programming, vol. 3, 6.4), whole
batches at a time: each pass looks at one slot for every hash that has not found its place yet.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
_EMPTY = np.uint64(0)
_SMALLEST = 1 << 10
# Fibonacci hashing: members of one shard agree in their low bits.
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


class HashSet:
    """Hashes other than each other; 0 is a member like any."""

    def __init__(self) -> None:
        self._count = 0
        self._has_zero = False
        self._allocate(_SMALLEST)

    def __len__(self) -> int:
        return self._count + self._has_zero

    @property
    def nbytes(self) -> int:
        """Memory, in bytes."""
        return self._slots.nbytes

    def holds(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        """Of each hash: is it a member?"""
        found: npt.NDArray[np.bool_] = (hashes == _EMPTY) & self._has_zero
        left = np.flatnonzero(hashes != _EMPTY)
        at = self._home(hashes[left])
        while left.size:
            there = self._slots[at]
            same = there == hashes[left]
            found[left[same]] = True
            on = ~same & (there != _EMPTY)
            left, at = left[on], (at[on] + 1) & self._mask
        return found

    def add(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        """Make members of hashes that differ from each other; of each: was it none before?"""
        fresh = ~self.holds(hashes)
        new = hashes[fresh]
        if (new == _EMPTY).any():
            self._has_zero = True
            new = new[new != _EMPTY]
        size = self._slots.size
        while (self._count + new.size) * 2 > size:  # half full at most: probes stay short
            size *= 2
        if size != self._slots.size:
            members = self._slots[self._slots != _EMPTY]
            self._allocate(size)
            self._place(members)
        self._place(new)
        self._count += new.size
        return fresh

    def to_array(self) -> Hashes:
        """All members, in no order."""
        members = self._slots[self._slots != _EMPTY]
        return np.append(members, _EMPTY) if self._has_zero else members

    def _allocate(self, size: int) -> None:
        self._slots: Hashes = np.zeros(size, np.uint64)
        self._mask = size - 1
        self._shift = np.uint64(64 - size.bit_length() + 1)

    def _home(self, hashes: Hashes) -> npt.NDArray[np.int64]:
        return ((hashes * _SPREAD) >> self._shift).astype(np.int64)

    def _place(self, new: Hashes) -> None:
        """Put in what is no member and different from each other."""
        at = self._home(new)
        while new.size:
            free = self._slots[at] == _EMPTY
            self._slots[at[free]] = new[free]  # of several for one slot the last one gets it
            on = self._slots[at] != new
            new, at = new[on], (at[on] + 1) & self._mask
