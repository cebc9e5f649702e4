"""The adapters of the Publisher port that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.bus.spool import SpoolPublisher
from tests.collector import blocks
from tests.contracts.publisher import Block, PublisherContract


class TestSpool(PublisherContract):
    @pytest.fixture
    def bus(self, tmp_path: Path) -> Path:
        return tmp_path / "spool"

    def make(self, bus: Path) -> SpoolPublisher:
        # Segments so small that each test writes several.
        return SpoolPublisher(bus, segment_bytes=2_000)

    def blocks(self, bus: Path) -> list[Block]:
        return blocks.blocks(bus / "events")

    def dead_blocks(self, bus: Path) -> list[Block]:
        return blocks.blocks(bus / "dead_letters")
