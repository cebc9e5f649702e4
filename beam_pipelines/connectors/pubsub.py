"""Reads Google Cloud Pub/Sub: blocks in no order, acknowledged when the archive has them."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
from apache_beam.coders import StrUtf8Coder
from apache_beam.io.restriction_trackers import OffsetRange
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp

from beam_pipelines.connectors.endless import Endless, EndlessTracker
from beam_pipelines.connectors.frames import Frame
from beam_pipelines.connectors.pubsub_inbox import Inbox, Source, frame_of, release, shared
from beam_pipelines.connectors.pubsub_names import Subscription
from beam_pipelines.counters import count
from schemas_avro.tables import Table
from transforms.positions import Positions

_POLL_S = 0.1
_BUNDLE_BYTES = 16 << 20  # a bundle ends here, so that what follows sees a backlog in pieces


@dataclass
class ReadPubSub(beam.PTransform):
    """Frames of a subscription, each block once. Unbounded; no order.

    A message is acknowledged once `table` of the warehouse at `archive` holds its block, so
    whatever ends a run, the next one gets every block again that is not archived. Blocks in `held`
    are acknowledged and not handed on. Timestamps are the block's first received_time; the
    watermark follows `transforms.arrivals`.

    The same on Prism and Flink: no bundle finalizer, and no state of the runner is relied upon. A
    run that a runner took back to an older state of its own would miss in its live numbers what
    was acknowledged since; none does (docs/adr/0011).

    readers: bundles that read at once, on as many workers as the runner has
    """

    subscription: Subscription
    archive: str
    table: Table
    held: Positions
    readers: int = 2
    _run: str = field(default_factory=lambda: uuid.uuid4().hex)

    def expand(self, root: PBegin) -> PCollection[Frame]:
        source = Source(self.subscription, self.archive, self.table, self._run)
        return (
            root
            | "Readers" >> beam.Create(range(self.readers))
            | "Spread" >> beam.Reshuffle()
            | "Pull" >> beam.ParDo(_Pull(source, self.held)).with_output_types(Frame)
            | "Once" >> Once()
        )


@dataclass
class ReadPubSubOnDataflow(beam.PTransform):
    """Frames of a subscription, each block once, by Dataflow's own source.

    Dataflow acknowledges a message when its own state has it: end such a job by draining it, since
    a cancelled one takes with it what was not archived.
    """

    subscription: Subscription
    held: Positions

    def expand(self, root: PBegin) -> PCollection[Frame]:
        return (
            root
            | "Messages"
            >> beam.io.ReadFromPubSub(
                subscription=self.subscription.path, with_attributes=True, id_label="block_id"
            )
            | "Frames" >> beam.Map(_native_frame).with_output_types(Frame)
            | "New" >> beam.Filter(_not_held, self.held)
            | "Once" >> Once()
        )


def _native_frame(message: Any) -> Frame:
    return frame_of(message.message_id, message.data, message.attributes)


def _not_held(frame: Frame, held: Positions) -> bool:
    return not held.holds(frame.producer, frame.seq)


@dataclass
class Once(beam.PTransform):
    """Frames -> frames, the first of each (producer, seq).

    State is one short text a producer: numbers come without gaps, so however many blocks came,
    they are a few ranges.
    """

    def expand(self, frames: PCollection[Frame]) -> PCollection[Frame]:
        return (
            frames
            | "ByProducer"
            >> beam.Map(lambda frame: (frame.producer, frame)).with_output_types(tuple[str, Frame])
            | "DropRepeated" >> beam.ParDo(_DropRepeated()).with_output_types(Frame)
        )


class _DropRepeated(beam.DoFn):
    CAME = ReadModifyWriteStateSpec("came", StrUtf8Coder())

    def process(
        self, element: tuple[str, Frame], came: Any = beam.DoFn.StateParam(CAME)
    ) -> Iterator[Frame]:
        producer, frame = element
        known = Positions.from_json(came.read() or "{}")
        if known.holds(producer, frame.seq):
            count("blocks_redelivered")
            return
        came.write((known + Positions.of([(producer, frame.seq, frame.seq)])).to_json())
        yield frame


class _OneReader(EndlessTracker):
    """Counts the looks of a reader. A reader is never made into two."""

    def try_split(self, fraction_of_remainder: float) -> Any:
        return super().try_split(0) if fraction_of_remainder == 0 else None


class _Looks(Endless):
    """Element: a reader's number. Restriction: the looks that it will take."""

    tracker = _OneReader

    def initial_restriction(self, element: int) -> OffsetRange:
        return OffsetRange(0, sys.maxsize)


class _Pull(beam.DoFn):
    """Takes what the process's inbox has. All readers of a process share one."""

    def __init__(self, source: Source, held: Positions) -> None:
        self._source, self._held = source, held

    def setup(self) -> None:
        self._inbox: Inbox = shared(self._source)

    def teardown(self) -> None:
        release(self._source)

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(
        self,
        element: int,
        tracker: Any = beam.DoFn.RestrictionParam(_Looks()),
        watermark: Any = beam.DoFn.WatermarkEstimatorParam(
            ManualWatermarkEstimator.default_provider()
        ),
    ) -> Iterator[TimestampedValue]:
        """One look: hand on, move the watermark, come back later."""
        if not tracker.try_claim(tracker.current_restriction().start):
            return
        self._inbox.check()
        taken = self._inbox.take(_BUNDLE_BYTES, self._held)
        for one in taken:
            yield TimestampedValue(one.frame, Timestamp(micros=one.received))
        complete = self._inbox.complete_until()
        if complete is not None:
            reached, before = Timestamp(micros=complete), watermark.current_watermark()
            if before is None or reached > before:
                watermark.set_watermark(reached)
        tracker.defer_remainder(Duration(seconds=0 if taken else _POLL_S))
