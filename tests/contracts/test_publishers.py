"""The Publisher contract on Pub/Sub, on the disk queue, and on both behind one another."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from collector.bus.carrier import Carrier
from collector.bus.disk_queue import DiskQueue
from collector.bus.fallback import FallbackCarrier
from collector.bus.numbered import NumberedPublisher
from collector.bus.pubsub import PubSubCarrier
from tests.collector import blocks
from tests.contracts.publisher import Block, PublisherContract
from tests.pubsub_emulator import PROJECT, VARIABLE, Emulator, Inbox, emulator_in_environment
from tests.system import free_port


def on(carrier: Carrier) -> NumberedPublisher:
    # Blocks so small that some of the suite's rows are split over several.
    return NumberedPublisher(carrier, lanes=4, block_bytes=2_000)


def queue(root: Path) -> DiskQueue:
    return DiskQueue(root, max_bytes=1 << 30, segment_bytes=4_000)


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with emulator_in_environment() as running:
        yield running


@dataclass
class Topics:
    """Topics of its own on the emulator, and a directory."""

    host: str
    directory: Path
    prefix: str = field(default_factory=lambda: f"test-{secrets.token_hex(4)}")

    def __post_init__(self) -> None:
        self.inbox = Inbox(self.host, self.prefix)

    def carrier(self) -> PubSubCarrier:
        return PubSubCarrier(PROJECT, prefix=self.prefix, publish_timeout_s=10)

    def blocks(self, topic: str) -> list[Block]:
        return [(message.meta, message.rows) for message in self.inbox.read(topic)]


class OnPubSub(PublisherContract):
    @pytest.fixture
    def bus(self, emulator: Emulator, tmp_path: Path) -> Iterator[Topics]:
        topics = Topics(emulator.host, tmp_path)
        yield topics
        topics.inbox.close()

    def blocks(self, bus: Topics) -> list[Block]:
        return bus.blocks("events")

    def dead_blocks(self, bus: Topics) -> list[Block]:
        return bus.blocks("dead_letters")


class TestPubSub(OnPubSub):
    def make(self, bus: Topics) -> NumberedPublisher:
        return on(bus.carrier())


class TestPubSubBeforeDiskQueue(OnPubSub):
    def make(self, bus: Topics) -> NumberedPublisher:
        spare = queue(bus.directory / "queue")
        return on(FallbackCarrier(bus.carrier(), spare, drain_bytes_per_s=1e9))


class OnQueue(PublisherContract):
    @pytest.fixture
    def bus(self, tmp_path: Path) -> Path:
        return tmp_path / "queue"

    def blocks(self, bus: Path) -> list[Block]:
        return blocks.blocks(bus / "events")

    def dead_blocks(self, bus: Path) -> list[Block]:
        return blocks.blocks(bus / "dead_letters")


class TestDiskQueue(OnQueue):
    def make(self, bus: Path) -> NumberedPublisher:
        return on(queue(bus))


class TestDiskQueueBehindAPubSubThatIsAway(OnQueue):
    def make(self, bus: Path) -> NumberedPublisher:
        with ExitStack() as stack:
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            patch.setenv(VARIABLE, f"127.0.0.1:{free_port()}")  # nobody listens there
            away = PubSubCarrier(PROJECT, prefix="headwater", publish_timeout_s=0.2)
        return on(FallbackCarrier(away, queue(bus), drain_bytes_per_s=1e9))
