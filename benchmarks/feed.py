"""Blocks straight into the spool: where the pipeline is measured and not the collector."""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path

import polars as pl

from tests.streams import SpoolWriter

_BLOCKS_S = 20
_TEXT = "some words such as an event of five hundred bytes carries along " * 3


class Feed(threading.Thread):
    """A producer that has written `events_s` for `before_s` seconds, and goes on when started.

    Of as few bytes as an event can have, or, `wide`, of the usual 500.
    """

    def __init__(self, topic: Path, events_s: int, before_s: int, *, wide: bool = False) -> None:
        super().__init__(daemon=True)
        self._writer = SpoolWriter(topic, "collector-0", 1000)
        self._size, self._wide = events_s // _BLOCKS_S, wide
        self._ended = threading.Event()
        before = before_s * _BLOCKS_S
        now = time.time_ns() // 1000
        for number in range(before):
            at = now - (before - number) * 1_000_000 // _BLOCKS_S
            self._writer.append(self._block(number, at))
        self._first = before
        self.written: list[tuple[float, int]] = [(time.monotonic(), before * self._size)]

    def run(self) -> None:
        """Write on at the rate, until closed."""
        due = time.monotonic()
        for number in itertools.count(self._first):
            self._writer.append(self._block(number, time.time_ns() // 1000))
            self.written.append((time.monotonic(), self.written[-1][1] + self._size))
            due += 1 / _BLOCKS_S
            if self._ended.wait(max(0.0, due - time.monotonic())):
                return

    def _block(self, number: int, at: int) -> pl.DataFrame:
        row = pl.int_range(self._size, eager=True)
        made = pl.DataFrame({"event_time": at - row, "received_time": at}).with_columns(
            pl.lit("bench").alias("project"),
            pl.lit("web").alias("source"),
            pl.lit("track").alias("type"),
            pl.lit("Product Viewed").alias("name"),
            pl.format("{}-{}", pl.lit(number), row).alias("event_id"),
            pl.format("u{}", row * number % 50_000).alias("user_id"),
            pl.lit(0, pl.Int32).alias("flags"),
        )
        if not self._wide:
            return made
        chance = pl.lit(row.hash(number))
        page = pl.format("https://shop.example/item/{}", chance % 5_000)
        text = pl.lit(f'","text":"{_TEXT}"}}')
        properties = pl.concat_str(pl.lit('{"product":"sku-'), chance, text)
        return made.with_columns(page.alias("page_url"), properties.alias("properties"))

    def written_before(self, seconds: float) -> int:
        """Events written at least so long ago."""
        until = time.monotonic() - seconds
        return max((total for at, total in self.written if at <= until), default=self.written[0][1])

    def close(self) -> None:
        """Write no more."""
        self._ended.set()
        self.join()
