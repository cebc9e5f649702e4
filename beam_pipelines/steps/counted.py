"""Archive files -> the events that count, by person: repeated ids out, each order once.

Beam carries paths and a few numbers; the rows lie in files of the job's working directory, so
memory holds one row group or one shard at a time, however many events there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import polars as pl
import pyarrow.parquet as pq
from apache_beam.pvalue import PCollection, TaggedOutput

from beam_pipelines.steps.columns import pack, unpack
from beam_pipelines.work import spill, taken_back, tell_done
from schemas_avro import derive, load
from transforms import dedup
from transforms.metrics import PERSON
from transforms.repeats import (
    EVENT_REACH_US,
    ORDER_OF_ORDERS,
    ORDER_REACH_US,
    REPEAT_KINDS,
    key_columns,
    later_copies,
    orders_of,
)

Spans = Mapping[str, tuple[tuple[int, int], ...]]  # by project, [start, end) in us
BY_PERSON, REPEATS = "by_person", "repeats"
SHARD_ROWS = 400_000
_WIRE = derive.wire(load("event"))
_TIMES = {f.name for f in load("event").fields if f.kind == "timestamp"}
_MONEY = ("order_id", "revenue_minor", "currency")
_EVENT, _ORDER = REPEAT_KINDS
_RULES = {_EVENT: (dedup.ORDER, EVENT_REACH_US), _ORDER: (ORDER_OF_ORDERS, ORDER_REACH_US)}
_At = tuple[int, int]  # number of the file, row group: where a piece is


class File(NamedTuple):
    """A file to read. whole: its events are wanted, else only what it says about orders."""

    number: int
    path: str
    whole: bool


class Piece(NamedTuple):
    """A row group of a file: so much is in memory at once."""

    file: File
    group: int
    rows: int


@dataclass
class CountedEvents(beam.PTransform):
    """Files of the archive -> two outputs. Bounded; in any order of files and rows the same.

    by_person: (shard, path) of rows with `columns`; all rows of a person are in one shard. Events
               that repeat an order have no order, revenue and currency any more
    repeats:   paths of rows that do not count, or whose order does not: project, event_time, kind
               and the place in the archive, as in `repeat.avsc`

    columns:     wanted of each event
    spans:       events to read
    order_spans: events to look at for orders that were counted already
    work:        the job's working directory
    """

    columns: tuple[str, ...]
    spans: Spans
    order_spans: Spans
    work: str
    shards: int = 1

    def expand(self, files: PCollection[File]) -> dict[str, PCollection[Any]]:
        spread = files | "Pieces" >> beam.FlatMap(pieces) | "Spread" >> beam.Reshuffle()
        later = (
            spread
            | "ReadKeys"
            >> beam.ParDo(_ReadKeys(self.spans, self.order_spans, self.work, self.shards))
            | "ByKey" >> beam.GroupByKey()
            | "Later" >> beam.ParDo(_Later(self.work))
        )
        read = (
            {"pieces": spread | "At" >> beam.WithKeys(_at), "later": later}
            | "WithLater" >> beam.CoGroupByKey()
            | "ReadCounted"
            >> beam.ParDo(
                _ReadCounted(self.columns, self.spans, self.work, self.shards)
            ).with_outputs(REPEATS, main=BY_PERSON)
        )
        return {BY_PERSON: read[BY_PERSON], REPEATS: read[REPEATS]}


def shards_for(rows: int) -> int:
    """How many shards keep each small enough for memory."""
    return max(1, -(-rows // SHARD_ROWS))


def pieces(file: File) -> list[Piece]:
    """The row groups of a file: what one worker reads at once."""
    with pq.ParquetFile(file.path) as opened:
        known = opened.metadata
        groups = range(known.num_row_groups)
        return [Piece(file, group, known.row_group(group).num_rows) for group in groups]


def _at(piece: Piece) -> _At:
    return piece.file.number, piece.group


def read_piece(piece: Piece, columns: Iterable[str]) -> pl.DataFrame:
    """Rows of a row group, in wire types, with `at`: the place in it.

    A file that is older than a column has null there.
    """
    with pq.ParquetFile(piece.file.path) as opened:
        there = set(opened.schema_arrow.names)
        wanted = sorted(columns)
        table = opened.read_row_group(piece.group, [c for c in wanted if c in there])
    rows = pl.DataFrame(table)
    return rows.select(
        *(pl.col(c).dt.timestamp("us") if c in _TIMES else pl.col(c) for c in rows.columns),
        *(pl.lit(None, _WIRE[c]).alias(c) for c in wanted if c not in there),
        at=pl.int_range(pl.len(), dtype=pl.UInt32),
    )


def within(spans: Spans) -> pl.Expr:
    """Events of the spans."""
    wanted = pl.lit(False)
    for project, ranges in spans.items():
        for start, end in ranges:
            between = pl.col("event_time").is_between(start, end, closed="left")
            wanted |= (pl.col("project") == project) & between
    return wanted


class _ReadKeys(beam.DoFn):
    """Piece -> ((rule, shard), path) of hashed keys, with what decides who goes first."""

    def __init__(self, spans: Spans, order_spans: Spans, work: str, shards: int) -> None:
        self._spans, self._order_spans = spans, order_spans
        self._work, self._shards = work, shards

    def process(self, piece: Piece) -> Iterator[tuple[tuple[str, int], str]]:
        number, group = _at(piece)
        place = {"file": pl.lit(number, pl.Int32), "group": pl.lit(group, pl.Int32)}
        shared = {"event_time", "project", "name", "order_id", "revenue_minor", *dedup.ORDER}
        columns = {*shared, *dedup.KEY} if piece.file.whole else shared
        rows = read_piece(piece, columns).with_columns(**place)
        if piece.file.whole:
            yield from self._keys(_EVENT, rows.filter(within(self._spans)), dedup.KEY)
        orders = orders_of(rows.filter(within(self._order_spans)))
        yield from self._keys(_ORDER, orders, ("project", "order_id"))
        tell_done(self._work, rows.height)

    def _keys(
        self, rule: str, rows: pl.DataFrame, key: tuple[str, ...]
    ) -> Iterator[tuple[tuple[str, int], str]]:
        order, _ = _RULES[rule]
        keys = rows.select(*key_columns(key), "event_time", *order, "file", "group", "at")
        for shard, part in dedup.shards(keys, pl.col("key"), self._shards):
            yield (rule, shard), spill(self._work, part)


class _Later(beam.DoFn):
    """All keys of a shard -> (place of the piece, (rule, its rows that do not count))."""

    def __init__(self, work: str) -> None:
        self._work = work

    def process(
        self, element: tuple[tuple[str, int], Iterable[str]]
    ) -> Iterator[tuple[_At, tuple[str, bytes]]]:
        (rule, _), paths = element
        order, reach_us = _RULES[rule]
        later = later_copies(taken_back(list(paths)), order, reach_us)
        for (number, group), part in later.partition_by("file", "group", as_dict=True).items():
            yield (int(number), int(group)), (rule, pack(part.select("at")))


class _ReadCounted(beam.DoFn):
    """Piece and its rows that do not count -> the rows that do, spilled by person."""

    def __init__(self, columns: tuple[str, ...], spans: Spans, work: str, shards: int) -> None:
        self._columns, self._spans, self._work, self._shards = columns, spans, work, shards

    def process(self, element: tuple[_At, dict[str, Iterable[Any]]]) -> Iterator[Any]:
        found = element[1]
        piece = next(iter(found["pieces"]))
        if piece.file.whole:
            later = {_EVENT: _NONE, _ORDER: _NONE}
            for rule, packed in found["later"]:
                later[rule] = pl.concat([later[rule], unpack(packed)])
            yield from self._repeats(piece, later)
            yield from self._counted(read_piece(piece, {*self._columns, *_ALWAYS}), later)
        tell_done(self._work, piece.rows)

    def _repeats(self, piece: Piece, later: dict[str, pl.DataFrame]) -> Iterator[TaggedOutput]:
        """What most pieces have none of, so that only the others read these columns."""
        if all(found.is_empty() for found in later.values()):
            return
        rows = read_piece(piece, _PLACE).filter(within(self._spans))
        copies = rows.join(later[_EVENT], on="at", how="semi").with_columns(kind=pl.lit(_EVENT))
        counted = rows.join(later[_EVENT], on="at", how="anti")
        orders = counted.join(later[_ORDER], on="at", how="semi").with_columns(kind=pl.lit(_ORDER))
        found = pl.concat([copies, orders]).drop("at")
        if found.height:
            yield TaggedOutput(REPEATS, spill(self._work, found))

    def _counted(self, rows: pl.DataFrame, later: dict[str, pl.DataFrame]) -> Iterator[Any]:
        rows = rows.filter(within(self._spans))
        counted = rows.join(later[_EVENT], on="at", how="anti")
        again = pl.col("at").is_in(later[_ORDER]["at"].implode())
        settled = counted.with_columns(
            pl.when(again).then(None).otherwise(pl.col(c)).alias(c) for c in _MONEY
        )
        person = pl.concat_str("project", pl.coalesce(PERSON, "event_id"), separator="\x1f")
        wanted = settled.select(*self._columns, _person=person.hash(7))
        for shard, part in dedup.shards(wanted, pl.col("_person"), self._shards):
            yield shard, spill(self._work, part.drop("_person"))


_NONE = pl.DataFrame(schema={"at": pl.UInt32})
_PLACE = ("project", "event_time", "producer", "seq", "row")
_ALWAYS = ("project", "event_time", "event_id", "user_id", "anonymous_id", *_MONEY)
