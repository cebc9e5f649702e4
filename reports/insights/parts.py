"""Everybody's events so many people at a time, so that memory stays bounded."""

from __future__ import annotations

AT_ONCE = 20_000_000  # events: with a few columns each about 2 GB


def parts(events: int) -> list[str]:
    """For so many events: conditions on `e.person`, each of some of the people, together of all."""
    count = max(1, -(-events // AT_ONCE))
    return [f"hash(e.person) % {count} = {part}" if count > 1 else "true" for part in range(count)]
