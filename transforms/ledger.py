"""The ledger: what became of every row that a source sent. Counts in, lines and problems out.

The unit is (block, project, source, minute of receipt): the bus says how many rows it carried
under it, the archive how many it has. They agree for each one, or the line says what is wrong
with which block; a row missing here and one doubled there never cancel.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from transforms import dedup
from transforms.grid import minute_of
from transforms.positions import Positions, merge

EVENTS, DEAD_LETTERS = "events", "dead_letters"
UNIT = ("topic", "producer", "seq", "project", "source", "minute")
COUNTS = {
    **dict.fromkeys(UNIT, pl.String()),
    "seq": pl.Int64(),
    "minute": pl.Int64(),
    "rows": pl.Int64(),
    "erased": pl.Int64(),  # of rows: their people are on the list of the suppressed
    "damaged": pl.Int64(),  # of rows: lie in bytes that are no block any more
}
NUMBERS = ("received", "archived", "duplicates", "dead_lettered", "suppressed", "in_flight",
           "missing", "doubled", "imported")  # fmt: skip
LINE = ("minute", "project", "source")
_NOTHING = pl.lit(0, pl.Int64)


def count_rows(topic: str, rows: pl.DataFrame) -> pl.DataFrame:
    """COUNTS of rows with producer, seq, project, source, received_time and, if any, `erased`."""
    erased = pl.col("erased").sum() if "erased" in rows.columns else _NOTHING
    return (
        rows.group_by("producer", "seq", "project", "source", minute_of("received_time").alias("m"))
        .agg(rows=pl.len(), erased=erased)
        .with_columns(topic=pl.lit(topic), damaged=_NOTHING)
        .rename({"m": "minute"})
        .select(pl.col(name).cast(kind) for name, kind in COUNTS.items())
    )


def count_damaged(
    topic: str, producer: str, seq: int, rows: int, received_time: int
) -> pl.DataFrame:
    """COUNTS of rows that are known only by the gap they left; their source is the producer."""
    minute = received_time // 60_000_000 * 60_000_000
    line = (topic, producer, seq, "", producer, minute, rows, 0, rows)
    return pl.DataFrame([line], schema=COUNTS, orient="row")


def total(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """COUNTS added up: in any order, however the rows were cut, the same."""
    together = pl.concat([pl.DataFrame(schema=COUNTS), *parts])
    return together.group_by(UNIT).agg(pl.col("rows", "erased", "damaged").sum()).sort(UNIT)


def later_copies(rows: pl.DataFrame, earlier: pl.Series) -> pl.DataFrame:
    """Of `rows` (`key` and dedup.ORDER) those that are not the first copy of their key.

    earlier: keys of which a copy was received before all of `rows`

    One and the same row twice is no copy that somebody sent: it is doubled.
    """
    ordered = rows.unique(["producer", "seq", "row"]).sort(dedup.ORDER)
    first = pl.col("key").is_first_distinct() & ~pl.col("key").is_in(earlier.implode())
    return ordered.filter(~first)


@dataclass(frozen=True)
class Books:
    """All that one run knows.

    on_bus, in_archive, copies: COUNTS; `copies` of the archived rows that are later copies
    held:     blocks that the archive says it holds, by topic
    from_us:  lines before it are not drawn up
    now_us:   of the run
    patience_us: how long after its receipt a block may be under way
    bus_prefix:  what the names of producers on the bus begin with
    """

    on_bus: pl.DataFrame
    in_archive: pl.DataFrame
    copies: pl.DataFrame
    held: dict[str, Positions]
    from_us: int
    now_us: int
    patience_us: int
    bus_prefix: str

    def lines(self) -> pl.DataFrame:
        """Rows of `ledger`, sorted by their key."""
        units = self._units()
        problems = _problems(units)
        lines = units.group_by(LINE).agg(pl.col(NUMBERS).sum())
        stamp = pl.lit(self.now_us, pl.Int64).alias("computed_at")
        named = lines.join(problems, on=LINE, how="left").with_columns(stamp)
        said = pl.any_horizontal(pl.col(NUMBERS) != 0)
        return named.filter(said).select(*LINE, *NUMBERS, "problems", "computed_at").sort(LINE)

    def _units(self) -> pl.DataFrame:
        """One row for each unit, with its share of every number and what is wrong with it."""
        bus = self.on_bus.filter(pl.col("minute") >= self.from_us)
        archive = self.in_archive.filter(pl.col("minute") >= self.from_us)
        copies = self.copies.select(*UNIT, copies="rows")
        units = (
            bus.with_columns(bus="rows")
            .drop("rows")
            .join(archive.select(*UNIT, there="rows"), on=UNIT, how="full", coalesce=True)
            .join(copies, on=UNIT, how="left")
            .with_columns(pl.col("bus", "there", "copies", "erased", "damaged").fill_null(0))
        )
        return self._with_problem(self._numbers(self._marked(units)))

    def _marked(self, units: pl.DataFrame) -> pl.DataFrame:
        """Which blocks are held; which never were on the bus; which left it."""
        blocks = units.select("topic", "producer", "seq").unique()
        held = [self.held.get(t, Positions()).holds(p, s) for t, p, s in blocks.iter_rows()]
        last_held = [self._last_held(t, p) for t, p in blocks.select("topic", "producer").rows()]
        first = self.on_bus.group_by("topic", "producer").agg(first=pl.col("seq").min())
        return (
            units.join(
                blocks.with_columns(held=pl.Series(held, dtype=pl.Boolean),
                                    last_held=pl.Series(last_held, dtype=pl.Int64)),
                on=["topic", "producer", "seq"],
            )
            .join(first, on=["topic", "producer"], how="left")
            .with_columns(
                # Rows of blocks that lie before what was read of the bus, or of a spool that is
                # no more, cannot be held against anything.
                unknown=(pl.col("bus") == 0)
                & (pl.col("first").is_null() | (pl.col("seq") < pl.col("first"))),
                from_file=~pl.col("producer").str.starts_with(self.bus_prefix)
                & pl.col("first").is_null(),
            )
        )  # fmt: skip

    def _last_held(self, topic: str, producer: str) -> int:
        ranges = self.held.get(topic, Positions()).by_producer.get(producer, ())
        return ranges[-1][1] if ranges else -1

    def _numbers(self, units: pl.DataFrame) -> pl.DataFrame:
        is_event = pl.col("topic") == EVENTS
        known, held = ~pl.col("unknown"), pl.col("held")
        bus, there = pl.col("bus"), pl.col("there")
        kept = pl.min_horizontal(bus, there)
        damaged = pl.when(held).then(pl.col("damaged")).otherwise(0)
        short = pl.when(held).then(bus - kept - damaged).otherwise(0)
        suppressed = pl.min_horizontal(short, "erased")
        copies = pl.min_horizontal(kept, "copies")

        def where(condition: pl.Expr, value: pl.Expr) -> pl.Expr:
            return pl.when(condition & known).then(value).otherwise(0).cast(pl.Int64)

        return units.with_columns(
            received=bus,
            archived=where(is_event, kept - copies),
            duplicates=where(is_event, copies),
            dead_lettered=where(~is_event, kept) + where(known, damaged),
            suppressed=where(known, suppressed),
            in_flight=where(~held, bus - kept),
            missing=where(held, short - suppressed),
            doubled=where(known, there - kept),
            imported=pl.when(is_event & pl.col("from_file")).then(there).otherwise(0),
        )

    def _with_problem(self, units: pl.DataFrame) -> pl.DataFrame:
        age = self.now_us - pl.col("minute")
        late = (pl.col("in_flight") > 0) & (age > self.patience_us)
        return units.with_columns(
            problem=pl.when(pl.col("missing") > 0)
            .then(pl.lit("missing"))
            .when(pl.col("doubled") > 0)
            .then(pl.lit("doubled"))
            .when(late & (pl.col("last_held") > pl.col("seq")))
            .then(pl.lit("passed over"))
            .when(late)
            .then(pl.lit("waiting"))
            .otherwise(None)
        )


def _problems(units: pl.DataFrame) -> pl.DataFrame:
    """(line, text): `missing 3 of events collector-0-1a:17-18; …`."""
    wrong = units.filter(pl.col("problem").is_not_null())
    problem = pl.col("problem")
    size = (
        pl.when(problem == "missing")
        .then("missing")
        .when(problem == "doubled")
        .then("doubled")
        .otherwise("in_flight")
    )
    grouped = wrong.group_by(*LINE, "problem", "topic", "producer").agg("seq", rows=size.sum())
    texts: dict[tuple[int, str, str], list[str]] = {}
    for row in grouped.sort(*LINE, "problem", "topic", "producer").iter_rows(named=True):
        ranges = merge((seq, seq) for seq in row["seq"])
        blocks = ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)
        text = f"{row['rows']} {row['problem']} in {row['topic']} {row['producer']}:{blocks}"
        texts.setdefault((row["minute"], row["project"], row["source"]), []).append(text)
    types = {"minute": pl.Int64, "project": pl.String, "source": pl.String, "problems": pl.String}
    lines = [(*line, "; ".join(found)) for line, found in texts.items()]
    return pl.DataFrame(lines, schema=types, orient="row")


def open_from(lines: pl.DataFrame) -> int | None:
    """First minute of the ledger that may still change; None: the ledger is empty or settled.

    lines: minute, in_flight and problems of the newest lines
    """
    unsettled = lines.filter((pl.col("in_flight") > 0) | pl.col("problems").is_not_null())
    found = unsettled["minute"].min()
    return found if isinstance(found, int) else None
