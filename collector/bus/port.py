"""What a bus must do for the collector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import polars as pl

Standing = Literal["up", "down", "refusing"]


class BusError(Exception):
    """The rows are not durable; the sender should try again after `retry_after_s`."""

    retry_after_s = 5


class BusFull(BusError):
    """No room on the disk."""

    retry_after_s = 30


class BusBusy(BusError):
    """More rows wait than may wait."""

    retry_after_s = 1


@dataclass(frozen=True, slots=True)
class BusState:
    """For /health/bus and metrics.

    bus:            `up`; `down`, events go to the disk queue; `refusing`, somebody must mend it
    error:          what the bus last failed with, while it is not up
    queued_blocks:  waiting on this machine's disk, those of dead workers included
    queued_bytes:   the same, in bytes on the disk
    oldest_queued_s: since the oldest of them was received, in seconds; None when none waits
    spilled_blocks: handed to the disk queue since the start of this process
    drained_blocks: brought from there to the bus since then
    damaged:        places in the queue where bytes were no block, since then; they are set aside
    """

    bus: Standing = "up"
    error: str | None = None
    queued_blocks: int = 0
    queued_bytes: int = 0
    oldest_queued_s: float | None = None
    spilled_blocks: int = 0
    drained_blocks: int = 0
    damaged: int = 0


class Publisher(Protocol):
    """Hands blocks over to a bus."""

    @property
    def lanes(self) -> int:
        """How many threads may call `publish` at the same time."""

    def publish(self, rows: pl.DataFrame, dead: pl.DataFrame) -> int:
        """Return once all rows are durable: the bytes of their blocks.

        rows: columns of event.avsc; dead: of dead_letter.avsc, durable before the rows are. Either
        may be empty. Raises BusError; then none of them may be answered 200.
        """

    def healthy(self) -> bool:
        """Could a row be handed over now?"""

    def state(self) -> BusState:
        """How it stands."""

    def close(self) -> None:
        """Let go of everything; later rows are refused. A second time does nothing."""
