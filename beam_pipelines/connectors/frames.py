"""What travels from a bus into a job: one block, or the place where blocks were lost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Frame:
    """Accounts for the blocks `seq` to `last` of `producer`.

    A whole block: `last == seq`, `payload` is its Avro container. Damage: `payload` is the junk
    found in place of those blocks; `last < seq` where no block was lost, only bytes in between.
    """

    producer: str
    seq: int
    last: int
    payload: bytes
    damaged: bool = False
