"""What a bus must do for the collector."""

from __future__ import annotations

from typing import Protocol

import polars as pl


class BusError(Exception):
    """The rows are not durable; the sender should try again after `retry_after_s`."""

    retry_after_s = 5


class BusFull(BusError):
    """No room on the disk."""

    retry_after_s = 30


class BusBusy(BusError):
    """More rows wait than may wait."""

    retry_after_s = 1


class Publisher(Protocol):
    """Hands blocks over to a bus."""

    @property
    def lanes(self) -> int:
        """How many threads may call `publish` at the same time."""

    def publish(self, rows: pl.DataFrame, dead: pl.DataFrame) -> None:
        """Return once all rows are durable. Raises BusError; then none of them may be answered 200.

        rows: columns of event.avsc; dead: of dead_letter.avsc, durable before the rows are. Either
        may be empty.
        """

    def healthy(self) -> bool:
        """Could a row be handed over now?"""

    def close(self) -> None:
        """Let go of everything; later rows are refused. A second time does nothing."""
