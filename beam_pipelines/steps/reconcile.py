"""Beam twin of transforms.ledger: bus and archive are counted side by side, the books drawn up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import polars as pl
from apache_beam.pvalue import AsList, PBegin, PCollection, TaggedOutput

from beam_pipelines.connectors.spool import ProducerLog
from beam_pipelines.progress import note
from beam_pipelines.steps.columns import pack, unpack
from schemas_avro import block, load
from schemas_avro.tables import BUS_PRODUCERS, DEAD_LETTERS, EVENTS
from transforms import dedup, ledger
from transforms.positions import Positions
from transforms.suppression import digest

_RECORDS = {ledger.EVENTS: EVENTS.record, ledger.DEAD_LETTERS: DEAD_LETTERS.record}
_COUNTED = ("project", "source", "received_time")
_PERSON = ("user_id", "anonymous_id")
_AT_ONCE_ROWS = 200_000
_Topical = tuple[str, str]  # topic, and a producer's directory or the path of a file


@dataclass(frozen=True)
class Scope:
    """What one run reads.

    from_us:   instant of receipt from which on the books are drawn up
    producers: (topic, directory) of the spool
    files:     (topic, path) of the archive that may hold what was received since
    earlier:   paths that may hold a copy that was received before
    held:      blocks of those files, by topic
    erased:    digests of suppressed people, by project
    """

    from_us: int
    now_us: int
    patience_us: int
    producers: tuple[_Topical, ...]
    files: tuple[_Topical, ...]
    earlier: tuple[str, ...]
    held: Mapping[str, Positions]
    erased: Mapping[str, frozenset[bytes]]


@dataclass
class Reconcile(beam.PTransform):
    """Nothing -> packed rows of `ledger`, all in one element. Bounded.

    The same bus and archive give the same lines, however blocks and files are cut.
    """

    scope: Scope
    progress: str = ""
    shards: int = 4

    def expand(self, root: PBegin) -> PCollection[bytes]:
        scope = self.scope
        bus = (
            root
            | "Producers" >> beam.Create(scope.producers)
            | "SpreadBus" >> beam.Reshuffle()
            | "CountBus" >> beam.FlatMap(_count_bus, scope, self.progress)
        )
        read = (
            root
            | "Files" >> beam.Create(scope.files)
            | "SpreadFiles" >> beam.Reshuffle()
            | "CountArchive"
            >> beam.ParDo(_CountArchive(scope.from_us, self.shards, self.progress)).with_outputs(
                _CountArchive.KEYS, main="counts"
            )
        )
        keys = read[_CountArchive.KEYS]
        earlier = (
            root
            | "Earlier" >> beam.Create(scope.earlier)
            | "SpreadEarlier" >> beam.Reshuffle()
            | "SeenBefore"
            >> beam.FlatMap(
                _seen_before,
                AsList(keys | "Hashes" >> beam.MapTuple(lambda _, packed: _hashes(packed))),
                scope.from_us,
                self.shards,
            )
        )
        copies = (
            {"rows": keys, "earlier": earlier}
            | "ByKey" >> beam.CoGroupByKey()
            | "LaterCopies" >> beam.Map(_copies)
        )
        return (
            root
            | "Once" >> beam.Create([0])
            | "Books" >> beam.Map(_books, AsList(bus), AsList(read.counts), AsList(copies), scope)
        )


def _count_bus(element: _Topical, scope: Scope, progress: str) -> Iterator[bytes]:
    """Counts of a producer's blocks, some at a time."""
    topic, directory = element
    columns = (*_COUNTED, *_PERSON) if scope.erased and topic == ledger.EVENTS else _COUNTED
    columns = (*columns, "producer", "seq")
    waiting: list[pl.DataFrame] = []
    read = 0
    for found in _blocks(topic, directory, scope.from_us, columns):
        if isinstance(found, pl.DataFrame) and "rows" not in found.columns:
            waiting.append(found)
            read += found.height
        else:
            yield pack(found)
        if sum(rows.height for rows in waiting) >= _AT_ONCE_ROWS:
            yield pack(ledger.count_rows(topic, _marked(pl.concat(waiting), scope.erased)))
            waiting = []
            note(progress, f"{topic}-{directory.rpartition('/')[2]}", read)
    if waiting:
        yield pack(ledger.count_rows(topic, _marked(pl.concat(waiting), scope.erased)))


def _blocks(
    topic: str, directory: str, from_us: int, columns: tuple[str, ...]
) -> Iterator[pl.DataFrame]:
    """The rows of each block, or the count of what damage took: its neighbours tell how much."""
    record = load(_RECORDS[topic])
    with closing(ProducerLog(directory)) as log:
        lost: tuple[int, int] | None = None  # first damaged block, rows written before it
        rows_before: int | None = None
        for frame in log.read(log.first_received_since(from_us)):
            if frame.damaged:
                lost = lost or (frame.seq, rows_before if rows_before is not None else -1)
                continue
            meta = block.read_meta(frame.payload)
            if lost is not None and lost[1] >= 0 and meta.first_row > lost[1]:
                gap = meta.first_row - lost[1]
                yield ledger.count_damaged(topic, log.producer, lost[0], gap, meta.first_received)
            lost, rows_before = None, meta.first_row + meta.count
            if meta.last_received < from_us:
                continue
            try:
                yield block.decode(record, frame.payload, columns)[1]
            except block.BlockError:
                yield ledger.count_damaged(
                    topic, log.producer, meta.seq, meta.count, meta.first_received
                )


def _marked(rows: pl.DataFrame, erased: Mapping[str, frozenset[bytes]]) -> pl.DataFrame:
    """With `erased`: does the row name somebody who is on the list?"""
    if not erased or not set(_PERSON) <= set(rows.columns):
        return rows
    people = pl.concat(
        [rows.select("project", person=name).drop_nulls() for name in _PERSON]
    ).unique()
    listed = [digest(p, who) in erased.get(p, ()) for p, who in people.iter_rows()]
    known = people.filter(pl.Series(listed, dtype=pl.Boolean))
    return rows.with_columns(
        erased=pl.any_horizontal(
            pl.struct("project", pl.col(name).alias("person")).is_in(
                known.select(pl.struct("project", "person")).to_series().implode()
            )
            for name in _PERSON
        )
    )


class _CountArchive(beam.DoFn):
    """(topic, path) -> packed counts, and (shard, packed keys) of the events."""

    KEYS = "keys"

    def __init__(self, from_us: int, shards: int, progress: str) -> None:
        self._from_us, self._shards, self._progress = from_us, shards, progress

    def process(self, element: _Topical) -> Iterator[Any]:
        topic, path = element
        key = (*dedup.KEY, "row") if topic == ledger.EVENTS else ()
        columns = sorted({*_COUNTED, "producer", "seq", *key})
        rows = _read(path, columns, pl.col("received_time") >= self._from_us)
        yield pack(ledger.count_rows(topic, rows))
        note(self._progress, f"{topic}-{path.rpartition('/')[2]}", rows.height)
        if not key:
            return
        keys = rows.select(*dedup.ORDER, "project", "source", key=dedup.key_hash())
        for shard, part in dedup.shards(keys, pl.col("key"), self._shards):
            yield TaggedOutput(self.KEYS, (shard, pack(part)))


def _read(path: str, columns: list[str], wanted: pl.Expr) -> pl.DataFrame:
    """Wanted rows of a file of the archive, times as longs."""
    times = pl.col("received_time").dt.timestamp("us")
    # Damage has no time of receipt: its letters belong to no minute.
    rows = pl.scan_parquet(path, hive_partitioning=False).select(columns).with_columns(times)
    return rows.filter(wanted & (pl.col("received_time") > 0)).collect()


def _hashes(packed: bytes) -> bytes:
    return unpack(packed)["key"].unique().to_numpy().tobytes()


def _seen_before(
    path: str, wanted: list[bytes], from_us: int, shards: int
) -> Iterator[tuple[int, bytes]]:
    """(shard, hashes) of the wanted keys that have a copy received before."""
    hashes = pl.Series(np.frombuffer(b"".join(wanted), np.uint64), dtype=pl.UInt64).unique()
    rows = _read(path, sorted({*dedup.KEY, "received_time"}), pl.col("received_time") < from_us)
    found = rows.select(key=dedup.key_hash()).unique()
    found = found.filter(pl.col("key").is_in(hashes.implode()))
    for shard, part in dedup.shards(found, pl.col("key"), shards):
        yield shard, part["key"].to_numpy().tobytes()


def _copies(element: tuple[int, dict[str, Iterable[bytes]]]) -> bytes:
    """All keys of a shard -> packed counts of its later copies."""
    found = element[1]
    earlier = pl.Series(np.frombuffer(b"".join(found["earlier"]), np.uint64), dtype=pl.UInt64)
    rows = pl.concat([_NO_KEYS, *(unpack(packed) for packed in found["rows"])])
    return pack(ledger.count_rows(ledger.EVENTS, ledger.later_copies(rows, earlier)))


_NO_KEYS = pl.DataFrame(
    schema={
        "received_time": pl.Int64, "producer": pl.String, "seq": pl.Int64, "row": pl.Int32,
        "project": pl.String, "source": pl.String, "key": pl.UInt64,
    }
)  # fmt: skip


def _books(
    _: int, bus: list[bytes], archive: list[bytes], copies: list[bytes], scope: Scope
) -> bytes:
    books = ledger.Books(
        ledger.total(map(unpack, bus)),
        ledger.total(map(unpack, archive)),
        ledger.total(map(unpack, copies)),
        dict(scope.held),
        scope.from_us,
        scope.now_us,
        scope.patience_us,
        BUS_PRODUCERS,
    )
    return pack(books.lines())
