"""The layer below `Publisher`: what moves finished blocks to where they are durable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from collector.bus.port import BusError, BusState

# Topic -> record of its rows.
TOPICS = {"events": "event", "dead_letters": "dead_letter"}


class BusDown(BusError):
    """Transient: not acknowledged in time. The blocks may have arrived, or may arrive yet."""


class BusRefused(Exception):
    """The bus answers, and says no: a missing topic, a missing permission, a bug of ours.

    No `BusError`, because waiting mends nothing: 500, never the disk queue. The message names the
    remedy.
    """


class Carrier(Protocol):
    """Moves blocks. Any number of threads may send at once.

    max_block_bytes: the largest block that it can take, in bytes
    """

    max_block_bytes: int

    def send(self, topic: str, blocks: Sequence[bytes]) -> None:
        """Return once all of them are durable; topic: one of TOPICS.

        Raises BusError: some of them, or all, may have arrived all the same. Raises BusRefused.
        """

    def healthy(self) -> bool:
        """Could a block be sent now?"""

    def state(self) -> BusState:
        """How it stands."""

    def close(self) -> None:
        """Let go of everything; nothing is sent any more. A second time does nothing."""
