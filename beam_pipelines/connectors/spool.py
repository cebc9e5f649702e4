"""Reads the spool: producers' directories of segments, block by block, for ever."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import apache_beam as beam
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp

from beam_pipelines.connectors.frames import Frame
from beam_pipelines.connectors.unarchived import MOST_BYTES, Unarchived
from schemas_avro.block import BlockError, read_meta
from schemas_avro.segment import SUFFIX, Damaged, Whole, first_seq, read_frame
from schemas_avro.tables import Table
from transforms.positions import Positions

GRACE_S = 2.0  # how long after its receipt an event may still be on the way to the disk
END = sys.maxsize  # the number after the last block of a log, which has none
_POLL_S = 0.1
# A bundle ends here, so that what follows sees a backlog in pieces.
_BUNDLE_BYTES, _BUNDLE_ROWS = 16 << 20, 100_000
# What is read once more waits for what is new, here and in the queues of the stages that follow:
# so many rows at a look (100,000 a second), and fewer while what is new is behind.
_AGAIN_ROWS, _AGAIN_ROWS_BEHIND = 10_000, 1_000


class ProducerLog:
    """The blocks of one producer, in order. Remembers where it stopped; not thread-safe."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.producer = os.path.basename(directory)
        self._file: BinaryIO | None = None
        self._segment = -1
        self._offset = 0
        self._next = -1

    def close(self) -> None:
        """Let go of the segment in hand; reading again opens it anew."""
        if self._file is not None:
            self._file.close()
        self._file, self._next = None, -1

    def read(self, seq: int) -> Iterator[Frame]:
        """Frames from block `seq` on, up to the present end of the log."""
        if seq != self._next:
            self._seek(seq)
        expected = self._next
        while (found := self._advance()) is not None:
            payload, damaged = found
            try:
                at = read_meta(payload).seq if not damaged else -1
            except BlockError:
                at = -1
            if at < expected:  # also a number that was there before: it cannot come twice
                self._next = max(expected, self._following_seq(expected))
                if max(expected, self._next - 1) >= seq:
                    yield Frame(self.producer, expected, self._next - 1, payload, damaged=True)
            else:
                self._next = at + 1
                if at >= seq:
                    yield Frame(self.producer, at, at, payload)
            expected = self._next

    def first_received_since(self, instant_us: int) -> int:
        """Number of the first block that holds anything received at `instant_us` or later."""
        starts = self._segments()
        at = 0  # later segments start later: only the last that starts before it can hold it
        for start in starts:
            meta = next((read_meta(f.payload) for f in self.read(start) if not f.damaged), None)
            if meta is not None and meta.first_received < instant_us:
                at = start
        for frame in self.read(at):
            if frame.damaged or read_meta(frame.payload).last_received >= instant_us:
                return frame.seq
        return max(self._next, 0)

    def _segments(self) -> list[int]:
        try:
            found = os.listdir(self.directory)
        except FileNotFoundError:
            return []
        return sorted(first_seq(name) for name in found if name.endswith(SUFFIX))

    def _seek(self, seq: int) -> None:
        starts = [start for start in self._segments() if start <= seq] or self._segments()[:1]
        self._open(starts[-1] if starts else 0)

    def _open(self, segment: int) -> None:
        self.close()
        self._segment, self._offset, self._next = segment, 0, segment

    def _advance(self) -> tuple[bytes, bool] | None:
        """The next frame's bytes and whether they are damaged; None at the end of the log."""
        if self._file is None:
            try:
                path = Path(self.directory, f"{self._segment:020d}{SUFFIX}")
                self._file = path.open("rb")
            except FileNotFoundError:
                return None
        found = read_frame(self._file, self._offset)
        later: list[int] = []
        if found is None:
            later = [start for start in self._segments() if start > self._segment]
            if not later:
                return None
            # The writer may have finished this segment and begun the next while we looked.
            found = read_frame(self._file, self._offset)
        match found:
            case Whole(payload, end):
                self._offset = end
                return payload, False
            case Damaged(junk, end):
                self._offset = end
                return junk, True
        self._file.seek(self._offset)
        junk = self._file.read()
        is_gap = later[0] > self._next  # blocks were in what is missing here
        self._open(later[0])
        return (junk, True) if junk or is_gap else self._advance()

    def _following_seq(self, expected: int) -> int:
        """Number of the block after damage: the segment's own, or that of the next frame."""
        if self._offset == 0:
            return self._segment
        assert self._file is not None
        following = read_frame(self._file, self._offset)
        with suppress(BlockError):
            if isinstance(following, Whole):
                return read_meta(following.payload).seq
        return expected + 1


@dataclass(frozen=True)
class Start:
    """Where reading begins: at the first block not archived, or received since `live_from_us`.

    newest_us: what was received since is read first, so that it is seen soon
    """

    archived: Positions
    live_from_us: int | None = None
    newest_us: int | None = None

    def of(self, directory: str) -> list[tuple[int, int]]:
        """Of the producer in `directory`, the blocks to read, newest first: (first, after last)."""
        with closing(ProducerLog(directory)) as log:
            first = self.archived.first_missing(log.producer)
            if self.live_from_us is not None:
                first = min(first, log.first_received_since(self.live_from_us))
            if self.newest_us is None:
                return [(first, END)]
            newest = max(first, log.first_received_since(self.newest_us))
        return [(newest, END), (first, newest)] if first < newest else [(first, END)]


class Span(NamedTuple):
    """Blocks of a producer that are still to be read.

    first, stop: number of the next block, and the one after the last
    read_us:     everything received before is read; 0 before the first block
    """

    directory: str
    first: int
    stop: int
    read_us: int = 0


class OneReader(RestrictionTracker):
    """What is still to be read of a topic. Claimed are spans, as they are after what comes next.

    One reader for all producers, which is never made into two: Prism takes the watermark of the
    element that it ran last for that of the whole source.
    """

    def __init__(self, spans: tuple[Span, ...]) -> None:
        self._spans = {(span.directory, span.stop): span for span in spans}
        self._ended = False

    def current_restriction(self) -> tuple[Span, ...]:
        return tuple(self._spans.values())

    def try_claim(self, spans: tuple[Span, ...]) -> bool:
        if self._ended:
            return False
        for span in spans:
            self._spans[span.directory, span.stop] = span
            if span.first >= span.stop:
                del self._spans[span.directory, span.stop]
        return True

    def try_split(self, fraction_of_remainder: float) -> Any:
        if fraction_of_remainder > 0:
            return None
        self._ended = True
        return (), self.current_restriction()

    def check_done(self) -> bool:
        return True

    def current_progress(self) -> RestrictionProgress:
        return RestrictionProgress(fraction=0.5)  # of what has no end

    def is_bounded(self) -> bool:
        return False


class _Topic(RestrictionProvider):
    """Element: a topic's directory. Restriction: spans of the producers found so far."""

    def initial_restriction(self, element: str) -> tuple[Span, ...]:
        return ()

    def create_tracker(self, restriction: tuple[Span, ...]) -> OneReader:
        return OneReader(restriction)

    def restriction_size(self, element: str, restriction: tuple[Span, ...]) -> int:
        return 1

    def truncate(self, element: str, restriction: tuple[Span, ...]) -> None:
        return None  # a drain ends the reading


class Tail(beam.DoFn):
    """Topic directory -> frames of every producer. The watermark follows receipt or the clock.

    Reads no further ahead of `table` of the warehouse at `archive` than `most_bytes`.
    """

    def __init__(
        self, start: Start, archive: str, table: Table, most_bytes: int = MOST_BYTES
    ) -> None:
        self._start = start
        self._sink = archive, table, start.archived, most_bytes

    def setup(self) -> None:
        self._logs: dict[tuple[str, int], ProducerLog] = {}
        self._unarchived = Unarchived(*self._sink)

    def teardown(self) -> None:
        for log in self._logs.values():
            log.close()

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(
        self,
        element: str,
        tracker: Any = beam.DoFn.RestrictionParam(_Topic()),
        watermark: Any = beam.DoFn.WatermarkEstimatorParam(
            ManualWatermarkEstimator.default_provider()
        ),
    ) -> Iterator[TimestampedValue]:
        """One look: new producers, what is new of each, then some of what is read again."""
        if self._unarchived.is_full():
            tracker.defer_remainder(Duration(seconds=_POLL_S))
            return
        looked_at = time.time()
        read_us = [now_us := int((looked_at - GRACE_S) * 1e6)]
        known = {span.directory for span in tracker.current_restriction()}
        for directory in _producers(element):
            if directory not in known:
                # At once: a producer of which one span is known counts as found.
                found = tuple(Span(directory, *span) for span in self._start.of(directory))
                if not tracker.try_claim(found):
                    return
        spans = tracker.current_restriction()
        newest = [span for span in spans if span.stop == END]
        is_behind = False
        for span in newest:
            bound = _Bound(_BUNDLE_BYTES // len(newest), _BUNDLE_ROWS // len(newest))
            end = yield from self._read(span, bound, tracker, looked_at)
            if end is None:
                return
            is_behind |= bound.is_reached
            read_us.append(end.read_us if bound.is_reached else now_us)
        again = [span for span in spans if span.stop != END]
        for span in again:
            rows = _AGAIN_ROWS_BEHIND if is_behind else _AGAIN_ROWS
            bound = _Bound(max_rows=rows // len(again))
            end = yield from self._read(span, bound, tracker, looked_at)
            if end is None:
                return
            read_us.append(end.read_us if end.first < end.stop else now_us)
        _advance(watermark, Timestamp(micros=min(read_us)))
        tracker.defer_remainder(Duration(seconds=0 if is_behind else _POLL_S))

    def _read(
        self, span: Span, bound: _Bound, tracker: Any, looked_at: float
    ) -> Generator[TimestampedValue, None, Span | None]:
        """Some of a span; what is left of it, None where a claim was refused."""
        key = span.directory, span.stop
        log = self._logs.setdefault(key, ProducerLog(span.directory))
        received: Timestamp | None = None
        for frame in log.read(span.first):
            if frame.seq >= span.stop:  # the numbers before it were never written
                span = span._replace(first=span.stop)
                return span if tracker.try_claim((span,)) else None
            meta = None if frame.damaged else read_meta(frame.payload)
            # When damage was received nobody knows: the blocks behind it must not be late.
            read_us = meta.first_received - int(GRACE_S * 1e6) if meta else 0
            span = span._replace(
                first=max(span.first, frame.last + 1), read_us=max(span.read_us, read_us)
            )
            if not tracker.try_claim((span,)):
                return None
            rows = meta.count if meta else 0
            self._unarchived.add(frame, rows)
            received = Timestamp(micros=meta.first_received) if meta else received
            yield TimestampedValue(frame, received or Timestamp.of(looked_at))
            if span.first >= span.stop or bound.after(frame, rows):
                return span
        return span


@dataclass
class _Bound:
    """How much of a span is read at one look."""

    max_bytes: int = sys.maxsize
    max_rows: int = sys.maxsize
    is_reached: bool = False

    def after(self, frame: Frame, rows: int) -> bool:
        """Is this frame the last of the look?"""
        self.max_bytes -= len(frame.payload)
        self.max_rows -= rows
        self.is_reached = self.max_bytes < 0 or self.max_rows < 0
        return self.is_reached


def _producers(topic: str) -> list[str]:
    if not os.path.isdir(topic):
        return []
    return sorted(entry.path for entry in os.scandir(topic) if entry.is_dir())


def _advance(watermark: ManualWatermarkEstimator, to: Timestamp) -> None:
    held = watermark.current_watermark()
    if held is None or to > held:
        watermark.set_watermark(to)


@dataclass
class ReadSpool(beam.PTransform):
    """Frames of every producer of a topic. Unbounded; at least once; in order within a span.

    Timestamps are the block's first received_time. The watermark trails receipt by GRACE_S and
    follows the clock when a producer is idle, so an idle producer holds nothing back.

    archive, table: the warehouse and its table that blocks go to: they are not read far ahead of it
    """

    directory: str
    start: Start
    archive: str
    table: Table

    def expand(self, root: PBegin) -> PCollection[Frame]:
        tail = Tail(self.start, self.archive, self.table)
        return (
            root
            | "Topic" >> beam.Create([self.directory])
            | "Tail" >> beam.ParDo(tail).with_output_types(Frame)
        )
