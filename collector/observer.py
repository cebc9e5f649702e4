"""Who wants to know what became of a request's events."""

from __future__ import annotations

from typing import Protocol

from catalog.store import KeyOwner
from collector.gather import Receipt
from transforms.judge import Origin


class Observer(Protocol):
    """Told of every request after its events are durable, in the thread that answers it."""

    def seen(self, owner: KeyOwner, origin: Origin, receipt: Receipt) -> None:
        """What was taken in. Must be quick and must not raise: the sender waits."""
