"""Reads the spool: producers' directories of segments, block by block, for ever."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import apache_beam as beam
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker
from apache_beam.io.restriction_trackers import OffsetRange
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp

from beam_pipelines.connectors.endless import Endless
from beam_pipelines.connectors.frames import Frame
from schemas_avro.block import BlockError, read_meta
from schemas_avro.segment import SUFFIX, Damaged, Whole, first_seq, read_frame
from transforms.positions import Positions

GRACE_S = 2.0  # how long after its receipt an event may still be on the way to the disk
_POLL_S = 0.1
_DISCOVER_S = 1.0
_BUNDLE_BYTES = 16 << 20  # a bundle ends here, so that what follows sees a backlog in pieces


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


class _FromStart(Endless):
    """Element (directory, first number): everything from that block on."""

    def initial_restriction(self, element: tuple[str, int]) -> OffsetRange:
        return OffsetRange(element[1], sys.maxsize)


@dataclass(frozen=True)
class Start:
    """Where reading begins: at the first block not archived, or received since `live_from_us`."""

    archived: Positions
    live_from_us: int | None = None

    def of(self, directory: str) -> int:
        """Number of the first block to read of the producer in `directory`."""
        with closing(ProducerLog(directory)) as log:
            missing = self.archived.first_missing(log.producer)
            if self.live_from_us is None:
                return missing
            return min(missing, log.first_received_since(self.live_from_us))


class _KnownTracker(RestrictionTracker):
    """Names seen so far: the residual of a split knows them all, so none comes twice."""

    def __init__(self, known: frozenset[str]) -> None:
        self._known = known
        self._split = False

    def current_restriction(self) -> frozenset[str]:
        return self._known

    def try_claim(self, name: str) -> bool:
        if self._split or name in self._known:
            return False
        self._known |= {name}
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[frozenset[str], frozenset[str]]:
        self._split = True
        return self._known, self._known

    def check_done(self) -> bool:
        return True

    def current_progress(self) -> RestrictionProgress:
        return RestrictionProgress(completed=len(self._known), remaining=1)

    def is_bounded(self) -> bool:
        return False


class _Appearing(RestrictionProvider):
    """Element: a topic's directory. Restriction: the producers already handed on."""

    def initial_restriction(self, element: str) -> frozenset[str]:
        return frozenset()

    def create_tracker(self, restriction: frozenset[str]) -> _KnownTracker:
        return _KnownTracker(restriction)

    def restriction_size(self, element: str, restriction: frozenset[str]) -> int:
        return 1

    def truncate(self, element: str, restriction: frozenset[str]) -> None:
        return None


class _Discover(beam.DoFn):
    """Topic directory -> (producer directory, first block to read), each once, as they appear."""

    def __init__(self, start: Start) -> None:
        self._start = start

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(
        self,
        element: str,
        tracker: Any = beam.DoFn.RestrictionParam(_Appearing()),
        watermark: Any = beam.DoFn.WatermarkEstimatorParam(
            ManualWatermarkEstimator.default_provider()
        ),
    ) -> Iterator[tuple[str, int]]:
        looked_at = time.time()
        for directory in _producers(element):
            if tracker.try_claim(directory):
                yield directory, self._start.of(directory)
        watermark.set_watermark(Timestamp.of(looked_at - GRACE_S - _DISCOVER_S))
        tracker.defer_remainder(Duration(seconds=_DISCOVER_S))


def _producers(topic: str) -> list[str]:
    if not os.path.isdir(topic):
        return []
    return sorted(entry.path for entry in os.scandir(topic) if entry.is_dir())


class _Tail(beam.DoFn):
    """(producer directory, first block) -> frames. The watermark follows receipt or the clock."""

    def setup(self) -> None:
        self._logs: dict[str, ProducerLog] = {}

    def teardown(self) -> None:
        for log in self._logs.values():
            log.close()

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(
        self,
        element: tuple[str, int],
        tracker: Any = beam.DoFn.RestrictionParam(_FromStart()),
        watermark: Any = beam.DoFn.WatermarkEstimatorParam(
            ManualWatermarkEstimator.default_provider()
        ),
    ) -> Iterator[TimestampedValue]:
        directory = element[0]
        log = self._logs.setdefault(directory, ProducerLog(directory))
        looked_at = time.time()
        received: Timestamp | None = None
        size = 0
        for frame in log.read(tracker.current_restriction().start):
            if frame.last >= frame.seq and not tracker.try_claim(frame.last):
                return
            if not frame.damaged:
                received = Timestamp(micros=read_meta(frame.payload).first_received)
            yield TimestampedValue(frame, received or Timestamp.of(looked_at))
            size += len(frame.payload)
            if size > _BUNDLE_BYTES:
                # When damage was received nobody knows: the blocks behind it must not be late.
                if received is not None:
                    _advance(watermark, received - Duration(seconds=GRACE_S))
                tracker.defer_remainder(Duration(seconds=0))
                return
        _advance(watermark, Timestamp.of(looked_at - GRACE_S))
        tracker.defer_remainder(Duration(seconds=_POLL_S))


def _advance(watermark: ManualWatermarkEstimator, to: Timestamp) -> None:
    held = watermark.current_watermark()
    if held is None or to > held:
        watermark.set_watermark(to)


@dataclass
class ReadSpool(beam.PTransform):
    """Frames of every producer of a topic. Unbounded; at least once; in order per producer.

    Timestamps are the block's first received_time. The watermark trails receipt by GRACE_S and
    follows the clock when a producer is idle, so an idle producer holds nothing back.
    """

    directory: str
    start: Start

    def expand(self, root: PBegin) -> PCollection[Frame]:
        return (
            root
            | "Topic" >> beam.Create([self.directory])
            | "Discover" >> beam.ParDo(_Discover(self.start))
            | "Tail" >> beam.ParDo(_Tail()).with_output_types(Frame)
        )
