"""Beam twin of transforms.panes: panes -> rows -> stores of live numbers, each on its own."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
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
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import PaneInfoTiming, WindowedValue

from beam_pipelines.connectors.live import LiveStore, LiveStoreError, open_store
from beam_pipelines.counters import count
from beam_pipelines.steps.columns import pack, unpack
from beam_pipelines.windowing import gather
from schemas_avro import derive, load
from transforms import panes, row_check
from transforms.measure import Key
from transforms.statistics import DistinctSketch, Statistic, Total

log = logging.getLogger(__name__)
_RECORD = load("live_value")
_TIMINGS = {PaneInfoTiming.EARLY: panes.EARLY, PaneInfoTiming.ON_TIME: panes.ON_TIME}
_LONGEST_PAUSE_S = 30.0
HOLD_BYTES = 64 << 20


@dataclass(frozen=True)
class LiveSink:
    """A store and how this run writes to it.

    token:   of this run in this store, from `LiveStore.begin`
    from_us: earlier minutes are final there and are left alone
    held_us: earlier minutes are written only when they are over, see `transforms.panes.wanted`
    """

    uri: str
    token: int
    from_us: int = 0
    held_us: int = 0


@dataclass
class WriteLive(beam.PTransform):
    """(key, value) panes of minutes -> rows of live_value.avsc in every one of `sinks`.

    Unbounded; at least once, and idempotent: newer panes win. `run` is the run's start, us.

    Each sink is a stage of its own: what it is still to get lies in keyed state of the runner, of
    each number only the newest pane, and a timer writes it. A bundle ends when its panes are held
    there, so a sink that is away costs nobody anything, and nothing is lost with a worker where
    state is durable. Once `hold_bytes` are held for one sink its stage waits for the sink, and the
    runner keeps the rest or slows its source.
    """

    sinks: tuple[LiveSink, ...]
    run: int
    hold_bytes: int = HOLD_BYTES

    def expand(self, values: PCollection[tuple[Key, Statistic]]) -> PCollection[Any]:
        rows = (
            values
            | "Rows" >> beam.ParDo(_ToRows(self.run)).with_output_types(bytes)
            | "AnyMinute" >> gather(0)
        )
        written = [
            rows
            # One writer a sink, so that what it has been given is final in the order it came.
            | f"Sink{number}" >> beam.WithKeys(number).with_output_types(tuple[int, bytes])
            # A stage each on every runner. (Timers of two sinks in one stage are mixed up by the
            # pure-Python runner, which tells them apart by their names only.)
            | f"Apart{number}" >> beam.Reshuffle()
            | f"Write{number}" >> beam.ParDo(_Write(sink, self.hold_bytes))
            for number, sink in enumerate(self.sinks)
        ]
        return written[0]


class _ToRows(beam.DoFn):
    """Panes of a bundle -> one batch of rows."""

    def __init__(self, run: int) -> None:
        self._run = run

    def start_bundle(self) -> None:
        self._rows: list[tuple[Any, ...]] = []

    def process(
        self,
        element: tuple[Key, Statistic],
        window: Any = beam.DoFn.WindowParam,
        pane: Any = beam.DoFn.PaneInfoParam,
    ) -> None:
        self._any = window
        key, value = element
        self._rows.append(
            (
                *key,
                window.start.micros,
                value.value if isinstance(value, Total) else None,
                value.sketch if isinstance(value, DistinctSketch) else None,
                _TIMINGS.get(pane.timing, panes.LATE),
                pane.index,
                self._run,
                time.time_ns() // 1000,
            )
        )

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._rows:
            rows = pl.DataFrame(self._rows, schema=derive.wire(_RECORD), orient="row")
            yield WindowedValue(pack(panes.newest(rows)), self._any.start, (self._any,))


class _Write(beam.DoFn):
    """(sink, rows) -> the sink. Holds rows in state, and writes them when the timer fires."""

    HELD = BagStateSpec("held", BytesCoder())
    SIZE = ReadModifyWriteStateSpec("size", VarIntCoder())
    FAILED = ReadModifyWriteStateSpec("failed", VarIntCoder())  # attempts in a row
    SOON = TimerSpec("soon", TimeDomain.REAL_TIME)
    END = TimerSpec("end", TimeDomain.WATERMARK)

    def __init__(self, sink: LiveSink, hold_bytes: int) -> None:
        self._sink, self._hold_bytes = sink, hold_bytes

    def setup(self) -> None:
        self._store: LiveStore | None = None

    def process(
        self,
        element: tuple[int, bytes],
        held: Any = beam.DoFn.StateParam(HELD),
        size: Any = beam.DoFn.StateParam(SIZE),
        failed: Any = beam.DoFn.StateParam(FAILED),
        soon: Any = beam.DoFn.TimerParam(SOON),
        end: Any = beam.DoFn.TimerParam(END),
    ) -> None:
        held.add(element[1])
        size.write((size.read() or 0) + len(element[1]))
        if size.read() > self._hold_bytes:
            self._make_room(held, size, failed)
        if not failed.read():  # else the timer is set, to the end of the pause
            soon.set(Timestamp.now())
        end.set(GlobalWindow().max_timestamp())

    @on_timer(SOON)
    def write(
        self,
        held: Any = beam.DoFn.StateParam(HELD),
        size: Any = beam.DoFn.StateParam(SIZE),
        failed: Any = beam.DoFn.StateParam(FAILED),
        soon: Any = beam.DoFn.TimerParam(SOON),
    ) -> None:
        tries = self._try(_newest(held.read()), failed.read() or 0)
        if tries:
            failed.write(tries)
            soon.set(Timestamp.now() + _pause_s(tries))
        else:
            _forget(held, size, failed)

    @on_timer(END)
    def write_last(
        self,
        held: Any = beam.DoFn.StateParam(HELD),
        size: Any = beam.DoFn.StateParam(SIZE),
        failed: Any = beam.DoFn.StateParam(FAILED),
    ) -> None:
        """The input has ended, or the job is drained: no later timer may come."""
        self._insist(_newest(held.read()), failed.read() or 0)
        _forget(held, size, failed)

    def teardown(self) -> None:
        self._drop()

    def _make_room(self, held: Any, size: Any, failed: Any) -> None:
        """Keep only the newest pane of each number; where that is much still, wait for the sink."""
        rows = _newest(held.read())
        packed = pack(rows)
        held.clear()
        size.clear()
        if len(packed) > self._hold_bytes // 2:
            count("live_holds_full")
            self._insist(rows, failed.read() or 0)
            failed.clear()
        else:
            held.add(packed)
            size.write(len(packed))

    def _insist(self, rows: pl.DataFrame, tries: int) -> None:
        while tries := self._try(rows, tries):
            time.sleep(_pause_s(tries))

    def _try(self, rows: pl.DataFrame, tries: int) -> int:
        """Write; attempts in a row that have failed now, 0: written."""
        wanted = panes.wanted(rows, self._sink.from_us, self._sink.held_us)
        try:
            if self._store is None:
                self._store = open_store(self._sink.uri)
            refused = _put(self._store, wanted, self._sink.token)
        except LiveStoreError as error:
            self._drop()  # a connection that hung is not trusted again
            count("live_writes_failed")
            if not tries:  # once an outage; the counter says how it goes on
                log.error("%s; its live numbers are held and written when it is back", error)
            return tries + 1
        if tries:
            log.warning("live store %s is back after %s attempts", self._sink.uri, tries)
        if refused:
            count("live_rows_refused", len(refused))
            log.error("%s live rows refused, the first: %s", len(refused), refused[0])
        count("live_rows_written", wanted.height - len(refused))
        return 0

    def _drop(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None


def _put(store: LiveStore, rows: pl.DataFrame, token: int) -> list[str]:
    """Write the rows that the store can take; one message for each that it cannot."""
    fit, unfit = row_check.split(rows, _RECORD, store.limits)
    named = unfit.select(pl.concat_str("project", "statistic", row_check.REASON, separator=" "))
    refused = named.to_series().to_list()
    if fit.height:
        refused += store.upsert(fit, token, panes.final_until(fit))
    return refused


def _newest(held: Iterable[bytes]) -> pl.DataFrame:
    batches = [unpack(packed) for packed in held]
    return panes.newest(pl.concat(batches) if batches else pl.DataFrame(schema=_EMPTY))


_EMPTY = derive.wire(_RECORD)


def _forget(*states: Any) -> None:
    for state in states:
        state.clear()


def _pause_s(tries: int) -> float:
    return min(_LONGEST_PAUSE_S, 0.5 * 2.0 ** min(tries, 10))
