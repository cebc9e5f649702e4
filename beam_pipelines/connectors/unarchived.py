"""How much of what was read the archive does not hold yet: so far a source runs ahead of it."""

from __future__ import annotations

import time
from collections import deque

from beam_pipelines.connectors.frames import Frame
from beam_pipelines.connectors.warehouse import Warehouse
from schemas_avro.tables import Table
from transforms.positions import Positions

MOST_BYTES = 400 << 20
_ROW_BYTES = 100  # what a row costs on its way besides its share of the block
_LOOK_S = 0.5


class Unarchived:
    """Blocks on their way from a source into `table` of the warehouse at `archive`.

    Prism does not slow a source that is faster than what follows: a backlog of an hour would lie in
    its memory. Two million events of the usual size are about MOST_BYTES. Not thread-safe.

    held: blocks that were archived before
    """

    def __init__(
        self, archive: str, table: Table, held: Positions, most_bytes: int = MOST_BYTES
    ) -> None:
        self._archive, self._table, self._held = archive, table, held
        self._most_bytes = most_bytes
        self._blocks: deque[tuple[str, int, int]] = deque()  # producer, number, bytes
        self._bytes = 0
        self._looked_at = 0.0

    def add(self, frame: Frame, rows: int) -> None:
        """A block was handed on."""
        if not self._held.holds(frame.producer, frame.last):
            size = len(frame.payload) + _ROW_BYTES * rows
            self._blocks.append((frame.producer, frame.last, size))
            self._bytes += size

    def is_full(self) -> bool:
        """Must the source wait? Looks into the archive, when it seems so."""
        if self._bytes < self._most_bytes:
            return False
        if time.monotonic() - self._looked_at > _LOOK_S:
            self._held = Warehouse(self._archive).positions(self._table)
            self._blocks = deque(b for b in self._blocks if not self._held.holds(b[0], b[1]))
            self._bytes = sum(size for _, _, size in self._blocks)
            self._looked_at = time.monotonic()
        return self._bytes >= self._most_bytes
