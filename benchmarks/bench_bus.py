"""Pub/Sub and the disk queue without HTTP: blocks of 1,000 events, eight lanes, on the emulator.

The emulator is no measure of Google's service; beside the disk queue, on the same machine, it
shows what the collector's own side costs.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from benchmarks.report import Figure, percentile, report
from collector.bus.carrier import BusDown
from collector.bus.disk_queue import DiskQueue
from collector.bus.fallback import FallbackCarrier
from collector.bus.numbered import NumberedPublisher
from collector.bus.pubsub import PubSubCarrier
from tests.contracts.publisher import event, frame_of
from tests.pubsub_emulator import PREFIX, PROJECT, Inbox, emulator_in_environment

LANES, BLOCKS, ROWS = 8, 60, 1_000


class _Switch(PubSubCarrier):
    """Pub/Sub that can be away."""

    away = False

    def send(self, topic: str, blocks: Sequence[bytes], timeout_s: float | None = None) -> None:
        if self.away:
            raise BusDown("switched off")
        super().send(topic, blocks, timeout_s)


def _publish(publisher: NumberedPublisher, rows: pl.DataFrame) -> tuple[float, list[float]]:
    """Events a second over all lanes, and how long each block took, in ms."""
    none = pl.DataFrame()
    took: list[float] = []

    def lane() -> None:
        for _ in range(BLOCKS):
            began = time.perf_counter()
            publisher.publish(rows, none)
            took.append((time.perf_counter() - began) * 1000)

    began = time.perf_counter()
    threads = [threading.Thread(target=lane) for _ in range(LANES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return LANES * BLOCKS * ROWS / (time.perf_counter() - began), took


def _rows() -> pl.DataFrame:
    return frame_of(
        "event",
        [
            event(f"{n:032x}") | {"properties": f'{{"path":"/p/{n * 7919 % 997}","n":{n}}}'}
            for n in range(ROWS)
        ],
    )


def main() -> None:
    """Publish with the bus up, then away, then drain; print."""
    rows = _rows()
    with emulator_in_environment() as emulator, tempfile.TemporaryDirectory() as directory:
        Inbox(emulator.host)
        bus = _Switch(PROJECT, prefix=PREFIX, publish_timeout_s=10)
        queue = DiskQueue(Path(directory), max_bytes=10 << 30)
        carrier = FallbackCarrier(bus, queue, drain_bytes_per_s=1e9)
        publisher = NumberedPublisher(carrier, lanes=LANES, block_bytes=1_000_000)
        _publish(publisher, rows)  # warm
        up, up_ms = _publish(publisher, rows)
        bus.away = True
        away, away_ms = _publish(publisher, rows)
        queued = carrier.state()
        bus.away = False
        began = time.perf_counter()
        while carrier.state().drained_blocks < queued.queued_blocks:
            time.sleep(0.01)
        drained_s = time.perf_counter() - began
        publisher.close()
    figures: list[Figure] = [
        ("to Pub/Sub, acknowledged", up, "events/s"),
        ("a block to Pub/Sub, p50", percentile(up_ms, 0.5), "ms"),
        ("a block to Pub/Sub, p99", percentile(up_ms, 0.99), "ms"),
        ("to the disk queue, synced", away, "events/s"),
        ("a block to the disk queue, p50", percentile(away_ms, 0.5), "ms"),
        ("a block to the disk queue, p99", percentile(away_ms, 0.99), "ms"),
        ("drained, no limit", queued.queued_blocks * ROWS / drained_s, "events/s"),
        ("drained, no limit", queued.queued_bytes / drained_s / 1e6, "MB/s"),
    ]
    report("bus", "Pub/Sub's emulator and the disk queue", figures, __doc__ or "")


if __name__ == "__main__":
    main()
