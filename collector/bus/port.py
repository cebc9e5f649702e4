"""What a bus must do for the collector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Row = Mapping[str, Any]


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
    """Hands rows over to a bus."""

    def publish(self, rows: Sequence[Row], dead: Sequence[Row]) -> None:
        """Return once all rows are durable. Raises BusError; then none of them may be answered 200.

        rows: of event.avsc; dead: of dead_letter.avsc, durable before the rows are
        """

    def healthy(self) -> bool:
        """Could a row be handed over now?"""

    def close(self) -> None:
        """Write what waits, then refuse the rest."""
