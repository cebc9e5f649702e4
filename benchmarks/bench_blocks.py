"""Ways of encoding a block, over the whole way: written by the collector, read by the pipeline.

Every way starts from what a request's adapter hands over and ends with the columns that the
archive step needs, context promoted; the columns are compared before a figure is printed.
"""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import fastavro
import msgspec
import polars as pl
from backports import zstd

from benchmarks.load import event
from benchmarks.report import Figure, report
from catalog import settings
from collector.protocols import segment
from schemas_avro import block, derive, load
from transforms.context import promote
from transforms.judge import Origin, judge

BLOCK, BLOCKS, ROUNDS = 1_000, 10, 5
_RECORD = load("event")
_WIRE = derive.wire(_RECORD)
_SCHEMA = fastavro.parse_schema(
    {
        "type": "record",
        "name": "event",
        "fields": [
            {"name": n, "default": None, "type": ["null", {"Int64": "long", "Int32": "int"}.get(
                str(t), "string")]} for n, t in _WIRE.items()
        ],
    }
)  # fmt: skip
_ORIGIN = Origin("shop", "web", 1_800_000_000_000_000)


@dataclass(frozen=True)
class Way:
    """write: (judged rows, original messages) -> bytes; read: bytes -> columns of event.avsc."""

    name: str
    write: Callable[[pl.DataFrame, list[bytes]], bytes]
    read: Callable[[bytes], pl.DataFrame]


class _Body(msgspec.Struct):
    properties: msgspec.Raw
    context: msgspec.Raw


_BODY = msgspec.json.Decoder(_Body)


def whole(rows: pl.DataFrame) -> pl.DataFrame:
    """Every column of the record, as the archive step has them."""
    columns = [
        pl.col(n).cast(t) if n in rows.columns else pl.lit(None, t).alias(n)
        for n, t in _WIRE.items()
    ]
    return promote(rows.select(columns))


def _write_records(codec: str) -> Callable[[pl.DataFrame, list[bytes]], bytes]:
    def write(rows: pl.DataFrame, originals: list[bytes]) -> bytes:
        out = io.BytesIO()
        fastavro.writer(out, _SCHEMA, rows.iter_rows(named=True), codec=codec)
        return out.getvalue()

    return write


def _read_records(data: bytes) -> pl.DataFrame:
    return whole(pl.DataFrame(list(fastavro.reader(io.BytesIO(data))), schema=_WIRE, orient="row"))


def _write_columns(rows: pl.DataFrame, originals: list[bytes]) -> bytes:
    meta = block.new_meta(rows, producer="p", seq=0, first_row=0)
    return block.encode(_RECORD, rows, meta)


def _read_columns(data: bytes) -> pl.DataFrame:
    lineage = [pl.lit(None, _WIRE[n]).alias(n) for n in ("producer", "seq", "row")]
    return promote(block.decode(_RECORD, data)[1]).with_columns(lineage)


def _present(rows: pl.DataFrame) -> pl.DataFrame:
    return rows[[c.name for c in rows if c.null_count() < rows.height]]


def _write_deflate(rows: pl.DataFrame, originals: list[bytes]) -> bytes:
    out = io.BytesIO()
    _present(rows).write_avro(out, compression="deflate", name="event")
    return out.getvalue()


def _read_deflate(data: bytes) -> pl.DataFrame:
    return whole(pl.read_avro(io.BytesIO(data)))


def _write_raw(rows: pl.DataFrame, originals: list[bytes]) -> bytes:
    payload = pl.Series("payload", originals, pl.Binary()).cast(pl.String)
    out = io.BytesIO()
    _present(rows).drop("properties", "context").with_columns(payload).write_avro(out, name="event")
    return zstd.compress(out.getvalue(), 3)


def _read_raw(data: bytes) -> pl.DataFrame:
    rows = pl.read_avro(io.BytesIO(zstd.decompress(data)))
    bodies = [_BODY.decode(text) for text in rows["payload"]]
    texts = [
        pl.Series(name, [bytes(getattr(b, name)) for b in bodies], pl.Binary()).cast(pl.String)
        for name in ("properties", "context")
    ]
    return whole(rows.with_columns(texts))


WAYS = (
    Way("record by record, deflate inside Avro", _write_records("deflate"), _read_records),
    Way("record by record, zstandard inside Avro", _write_records("zstandard"), _read_records),
    Way("from columns, deflate inside Avro", _write_deflate, _read_deflate),
    Way("raw payload beside promoted fields, zstandard", _write_raw, _read_raw),
    Way("from columns, zstandard (as it is)", _write_columns, _read_columns),
)


def blocks() -> list[tuple[pl.DataFrame, list[bytes]]]:
    """(judged rows, their messages)."""
    rng, limits = random.Random(1), settings.read({})
    made = []
    for _ in range(BLOCKS):
        originals = [event(rng)[1] for _ in range(BLOCK)]
        candidates = segment.batch(b'{"batch":[%s]}' % b",".join(originals), limits)
        made.append((judge([(candidates, _ORIGIN)]).rows, originals))
    return made


def _best(work: Callable[[], Any]) -> tuple[float, Any]:
    """Least CPU seconds of some rounds, and what came of it."""
    best, found = float("inf"), None
    for _ in range(ROUNDS):
        started = time.process_time()
        found = work()
        best = min(best, time.process_time() - started)
    return best, found


def main() -> None:
    """Write, read, compare, print."""
    data = blocks()
    json_bytes = sum(len(o) for _, originals in data for o in originals) / (BLOCK * BLOCKS)
    figures: list[Figure] = [("JSON as sent", json_bytes, "bytes/event")]
    expected: list[pl.DataFrame] | None = None
    for way in WAYS:
        writing, encoded = _best(lambda way=way: [way.write(*one) for one in data])
        reading, read = _best(lambda way=way, encoded=encoded: [way.read(one) for one in encoded])
        expected = expected or read
        assert all(a.equals(b) for a, b in zip(expected, read, strict=True)), way.name
        count = BLOCK * BLOCKS
        figures += [
            (f"{way.name}: written", writing / count * 1e6, "µs/event"),
            (f"{way.name}: read and promoted", reading / count * 1e6, "µs/event"),
            (f"{way.name}: both", (writing + reading) / count * 1e6, "µs/event"),
            (f"{way.name}: on the bus", sum(map(len, encoded)) / count, "bytes/event"),
        ]
    note = f"{BLOCKS} blocks of {BLOCK:,} events, CPU time of one process, best of {ROUNDS}"
    report("blocks", "Blocks: ways of encoding", figures, note)


if __name__ == "__main__":
    main()
