"""Blocks -> live numbers: columns, without repeats, measured per minute."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import apache_beam as beam
import polars as pl
from apache_beam.coders import BytesCoder, VarIntCoder
from apache_beam.pvalue import PCollection
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import (
    BagStateSpec,
    ReadModifyWriteStateSpec,
    TimerSpec,
    on_timer,
)
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from beam_pipelines.connectors.definitions import ALL, NO_OWN, Admitted, OwnMetrics
from beam_pipelines.connectors.frames import Frame
from beam_pipelines.counters import count
from beam_pipelines.steps.columns import pack, unpack
from beam_pipelines.windowing import LivePolicy
from schemas_avro import block, load
from transforms import dedup, own_metrics
from transforms.caps import capped
from transforms.contract import read_rows
from transforms.enrich import DERIVED, enrich
from transforms.grid import minute_of
from transforms.measure import Key, measure
from transforms.metrics import STATISTICS, StatisticSpec
from transforms.remembered import Remembered
from transforms.statistics import DistinctSketch, Statistic

_Key = tuple[str, str, str]  # project, statistic, dimensions: a plain tuple has a stable coder
_GLOBAL = (GlobalWindow(),)
_SEEN: dict[tuple[str, int], Remembered] = {}
LIVE_STATISTICS = tuple(spec for spec in STATISTICS.values() if spec.live)


def _needs(specs: Iterable[StatisticSpec]) -> set[str]:
    return {column for spec in specs for column in spec.needs}


_COLUMNS = sorted({"project", "event_time", "received_time", *_needs(LIVE_STATISTICS)})
_EVENT = load("event")
READ = sorted({*_COLUMNS, *dedup.KEY})  # of a block, the fields that matter here


@dataclass
class MeasureLive(beam.PTransform):
    """Frames -> (key, accumulated value) per minute and pane.

    Unbounded. Events that were received more than the policy's horizon after they happened, or
    that happened before `live_from_us`, take no part: the exact tables have them. Repeats of
    (project, source, type, id) are dropped. Each pane replaces the one before it.
    """

    policy: LivePolicy
    live_from_us: int = 0
    shards: int = 4
    own: OwnMetrics = NO_OWN
    admitted: Admitted = ALL

    def expand(self, frames: PCollection[Frame]) -> PCollection[tuple[Key, Statistic]]:
        horizon_us = self.policy.horizon_s * 1_000_000
        return (
            frames
            | "Columns"
            >> beam.ParDo(
                _ToShards(horizon_us, self.live_from_us, self.shards, self.own)
            ).with_output_types(tuple[int, bytes])
            | "DropRepeats" >> beam.ParDo(_DropRepeats(horizon_us))
            | "Measure"
            >> beam.ParDo(_Measure(self.own, self.admitted)).with_output_types(tuple[_Key, Any])
            | "Minutes" >> self.policy.apply()
            | "Merge" >> beam.CombinePerKey(Merge())
        )


class Merge(beam.CombineFn):
    """Adds statistics of one key, whatever their kind."""

    def create_accumulator(self) -> Statistic | None:
        return None

    def add_input(self, accumulator: Statistic | None, value: Any) -> Statistic:
        return value if accumulator is None else accumulator + value

    def merge_accumulators(self, accumulators: Iterable[Any]) -> Statistic | None:
        parts = [part for part in accumulators if part is not None]
        if parts and isinstance(parts[0], DistinctSketch):
            return DistinctSketch.union(parts)
        return reduce(add, parts) if parts else None

    def extract_output(self, accumulator: Statistic | None) -> Statistic | None:
        return accumulator


class _ToShards(beam.DoFn):
    """Frames -> (shard, columns) split by the hash of the deduplication key.

    A bundle's frames are split together: every column operation costs a fixed 0.1 ms or so, and
    under load a bundle holds many small blocks.
    """

    def __init__(self, horizon_us: int, live_from_us: int, shards: int, own: OwnMetrics) -> None:
        self._horizon_us, self._live_from_us, self._shards = horizon_us, live_from_us, shards
        self._own = own

    def start_bundle(self) -> None:
        self._rows: list[pl.DataFrame] = []
        self._held = MAX_TIMESTAMP
        self._definitions = self._own()
        needed = own_metrics.columns_needed(self._definitions)
        self._derives = not DERIVED.isdisjoint(needed)
        self._read = None if self._derives else sorted({*READ, *needed})

    def process(self, frame: Frame, at: Any = beam.DoFn.TimestampParam) -> None:
        try:
            rows = read_rows(_EVENT, frame.payload, self._read)
        except block.BlockError:  # the archive's step makes a dead letter of it
            return
        self._rows.append(rows)
        self._held = min(self._held, at)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if not self._rows:
            return
        rows = pl.concat(self._rows)
        timely = rows.filter(pl.col("received_time") - pl.col("event_time") <= self._horizon_us)
        count("events_late", rows.height - timely.height)
        live = timely.filter(pl.col("event_time") >= self._live_from_us)
        columns = {*_COLUMNS}
        if self._definitions:
            live = own_metrics.prepare(enrich(live) if self._derives else live, self._definitions)
            columns |= {"type", *_needs(own_metrics.specs(self._definitions))}
        live = live.select(*sorted(columns), key=dedup.key_hash())
        for shard, part in dedup.shards(live, pl.col("key"), self._shards):
            yield WindowedValue((shard, pack(part)), self._held, _GLOBAL)


class _DropRepeats(beam.DoFn):
    """(shard, columns) -> columns without the rows whose key was seen within the horizon.

    State is an append-only bag of new hashes, so a block costs only its own hashes. The set built
    from it is kept in the process, for all instances of this DoFn (a runner makes several and
    hands a shard to any of them), and trusted only while its version equals the state's. Changes
    that a runner took back are left out of it; after a restart or a move to another worker it is
    rebuilt from the bag.

    The watermark decides what is forgotten, never the rows themselves: after an outage producers'
    logs are read at once, and the one that is read faster must not make the others forget.
    """

    BAG = BagStateSpec("seen", BytesCoder())
    VERSION = ReadModifyWriteStateSpec("version", VarIntCoder())
    OLD = TimerSpec("old", TimeDomain.WATERMARK)

    def __init__(self, horizon_us: int) -> None:
        self._keep_us = 2 * horizon_us
        self._run = uuid.uuid4().hex  # pickled: all instances of one pipeline share a cache

    def process(
        self,
        element: tuple[int, bytes],
        bag: Any = beam.DoFn.StateParam(BAG),
        version: Any = beam.DoFn.StateParam(VERSION),
        old: Any = beam.DoFn.TimerParam(OLD),
    ) -> Iterator[bytes]:
        shard, packed = element
        keys = unpack(packed, ("key", "received_time")).with_row_index("at")
        seen = self._seen(shard, bag, version)
        fresh, entry = seen.add(keys)
        bag.add(entry)
        self._remember(seen, version, old)
        count("events_repeated", keys.height - fresh.height)
        count("events_measured", fresh.height)
        if fresh.height == keys.height:  # as nearly always: nothing need be packed anew
            yield packed
        elif fresh.height:
            yield pack(unpack(packed)[fresh["at"]])

    @on_timer(OLD)
    def forget(
        self,
        shard: Any = beam.DoFn.KeyParam,
        due: Any = beam.DoFn.TimestampParam,
        bag: Any = beam.DoFn.StateParam(BAG),
        version: Any = beam.DoFn.StateParam(VERSION),
        old: Any = beam.DoFn.TimerParam(OLD),
    ) -> None:
        """Everything received before `due` has been read: drop what no repeat can come of."""
        seen = self._seen(shard, bag, version)
        left = seen.forget(before=due.micros - self._keep_us)
        if left is not None:
            bag.clear()
            for kept in left:
                bag.add(kept)
        self._remember(seen, version, old)

    def _seen(self, shard: int, bag: Any, version: Any) -> Remembered:
        stored = version.read() or 0
        seen = _SEEN.get((self._run, shard))
        if seen is None or not seen.back_to(stored):
            seen = _SEEN[self._run, shard] = Remembered(bag.read(), stored)
            count("seen_rebuilt", int(stored > 0))
        return seen

    def _remember(self, seen: Remembered, version: Any, old: Any) -> None:
        version.write(seen.version)
        if len(seen):
            old.set(Timestamp(micros=seen.oldest_us + self._keep_us))


class _Measure(beam.DoFn):
    """Columns -> ((project, statistic, dimensions), value) at the minute, a bundle at once."""

    def __init__(self, own: OwnMetrics, admitted: Admitted) -> None:
        self._own, self._admitted = own, admitted

    def start_bundle(self) -> None:
        self._rows: list[pl.DataFrame] = []

    def process(self, packed: bytes) -> None:
        self._rows.append(unpack(packed))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if not self._rows:
            return
        rows = pl.concat(self._rows, how="diagonal")  # a definition may just have come or gone
        known = set(rows.columns)
        own = [spec for spec in own_metrics.specs(self._own()) if known.issuperset(spec.needs)]
        wanted = (*LIVE_STATISTICS, *(own if "type" in known else ()))
        measured = list(measure(rows, wanted, minute_of(), DistinctSketch))
        asked: dict[tuple[str, str], set[str]] = defaultdict(set)
        for key, _, _ in measured:
            if key.dimensions != "{}":
                asked[key.project, key.statistic].add(key.dimensions)
        admitted = {number: self._admitted(*number, values) for number, values in asked.items()}
        for key, minute, value in measured:
            named = capped(key, admitted.get((key.project, key.statistic), ()))
            yield WindowedValue((tuple(named), value), Timestamp(micros=minute), _GLOBAL)
