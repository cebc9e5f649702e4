"""The block: many rows in one Avro object container, the unit of everything on the bus.

A block is one fsync, one bus message, one Beam element and one idempotency key. It is a standard
Avro container file (codec `zstandard`), readable by any Avro library; its metadata lies in the
header under `headwater.block`. Columns without any value are left out of the writer's schema,
as Avro's schema resolution allows: every field of the record has the default null.

Written and read as columns: polars (de)serialises the rows, this module frames and compresses.
"""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import polars as pl
from backports import zstd

from schemas_avro import derive
from schemas_avro.record import Record, load

_MAGIC = b"Obj\x01"
_SYNC_BYTES = 16
MAX_PLAIN_BYTES = 512 << 20  # rows of one block before compression: more is a bomb, not a block
_OPTIONS: dict[int, int] = {
    # Measured: level 1 is 5 % larger at the same speed, level 9 takes 4x the time.
    zstd.CompressionParameter.compression_level: 3,
    # A flipped bit must not become another number, nor reach a parser that trusts its input.
    zstd.CompressionParameter.checksum_flag: 1,
}
_META_TYPES = {f.name: str if f.kind == "string" else int for f in load("block").fields}


class BlockError(ValueError):
    """The bytes are not a whole block; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class BlockMeta:
    """Metadata of a block; the fields are those of `block.avsc`."""

    block_id: str
    producer: str
    seq: int
    first_row: int
    count: int
    rejected: int
    first_received: int
    last_received: int


def new_meta(
    rows: pl.DataFrame, *, producer: str, seq: int, first_row: int, rejected: int = 0
) -> BlockMeta:
    """Metadata of a block about to be written; `rows` must have a received_time column."""
    received = rows["received_time"]
    first, last = received.min(), received.max()
    if not isinstance(first, int) or not isinstance(last, int):
        raise BlockError("a block needs at least one row with a received_time")
    return BlockMeta(
        block_id=uuid.uuid4().hex,
        producer=producer,
        seq=seq,
        first_row=first_row,
        count=rows.height,
        rejected=rejected,
        first_received=first,
        last_received=last,
    )


def encode(record: Record, rows: pl.DataFrame, meta: BlockMeta) -> bytes:
    """One Avro object container. `rows` holds any subset of the record's fields as columns.

    Raises BlockError for more than MAX_PLAIN_BYTES.
    """
    nulls = zip(rows.columns, rows.null_count().row(0), strict=True)
    present = [name for name, count in nulls if count < rows.height]
    out = io.BytesIO()
    rows[present].write_avro(out, name=record.name)
    _, sync, body = _open(out.getvalue())
    if len(body) > MAX_PLAIN_BYTES:
        raise BlockError(f"{len(body):,} bytes in one block; at most {MAX_PLAIN_BYTES:,}: split it")
    blocks = b"".join(
        _long(count) + _long(len(packed)) + packed + sync
        for count, payload in _data_blocks(body, sync)
        for packed in (zstd.compress(payload, options=_OPTIONS),)
    )
    header = {
        "avro.schema": _writer_schema(record.name, tuple(present)),
        "avro.codec": b"zstandard",
        "headwater.block": json.dumps(
            {name: getattr(meta, name) for name in _META_TYPES}, separators=(",", ":")
        ).encode(),
    }
    return _MAGIC + _map(header) + sync + blocks


def read_meta(data: bytes) -> BlockMeta:
    """Only the metadata: nothing is decompressed. Raises BlockError."""
    header, _, _ = _open(data)
    return _meta(header)


def decode(
    record: Record, data: bytes, columns: Sequence[str] | None = None
) -> tuple[BlockMeta, pl.DataFrame]:
    """Metadata and rows, with every field of the record as a column, producer/seq/row filled.

    columns: only these fields, which costs less. Raises BlockError for bytes that are not a whole
    block of this record.
    """
    header, sync, body = _open(data)
    meta = _meta(header)
    if header.get("avro.codec") != b"zstandard":
        raise BlockError(f"codec {header.get('avro.codec')!r} is not zstandard")
    packed = _data_blocks(body, sync)
    counted = sum(count for count, _ in packed)
    if counted != meta.count:
        raise BlockError(f"{counted} rows where the metadata says {meta.count}")
    schema, present = _plain_schema(header.get("avro.schema", b""), record.name)
    parts = [_MAGIC, _map({"avro.schema": schema, "avro.codec": b"null"}), sync]
    for count, payload in _decompressed(packed):
        parts += (_long(count), _long(len(payload)), payload, sync)
    wanted = record.field_names if columns is None else columns
    read = [name for name in present if name in wanted] or present[:1]  # one, to count the rows
    try:
        rows = pl.read_avro(io.BytesIO(b"".join(parts)), columns=read)
    except (Exception, pl.exceptions.PanicException) as error:  # many kinds for damaged bytes
        raise BlockError(f"unreadable rows: {error}") from error
    if rows.height != meta.count:
        raise BlockError(f"{rows.height} rows where the metadata says {meta.count}")
    return meta, _filled(record, rows, meta, wanted)


def _filled(
    record: Record, rows: pl.DataFrame, meta: BlockMeta, wanted: Sequence[str]
) -> pl.DataFrame:
    """The wanted fields, nulls where the block has no column; lineage from `meta`."""
    types = derive.wire(record)
    known = rows.schema
    lineage = {
        "producer": pl.lit(meta.producer),
        "seq": pl.lit(meta.seq, pl.Int64),
        "row": pl.int_range(pl.len(), dtype=pl.Int32),
    }
    columns = [
        lineage[name]
        if name in lineage
        else pl.lit(None, types[name])
        if name not in known
        else pl.col(name)
        if known[name] == types[name]
        else pl.col(name).cast(types[name])
        for name in wanted
    ]
    named = zip(columns, wanted, strict=True)
    return rows.select(column.alias(name) for column, name in named)


# -- Avro's container format: https://avro.apache.org/docs/1.11.1/specification/#object-container-files


def _meta(header: dict[str, bytes]) -> BlockMeta:
    try:
        found = json.loads(header["headwater.block"])
        meta = BlockMeta(**found)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise BlockError(f"no metadata under headwater.block: {error}") from error
    for name, value in found.items():
        if type(value) is not _META_TYPES[name] or _too_large(value):
            raise BlockError(f"metadata {name}={value!r} is no {_META_TYPES[name].__name__}")
    return meta


def _too_large(value: int | str) -> bool:
    return isinstance(value, int) and not -(1 << 63) <= value < 1 << 63


@cache
def _writer_schema(record_name: str, present: tuple[str, ...]) -> bytes:
    """The record's own Avro schema cut down to the columns present, without the prose."""
    record = load(record_name)
    by_name = {spec["name"]: spec for spec in record.avro["fields"]}
    fields = [{"name": name, "type": by_name[name]["type"], "default": None} for name in present]
    schema = {"type": "record", "name": record.name, "namespace": "headwater", "fields": fields}
    return json.dumps(schema, separators=(",", ":")).encode()


@cache
def _plain_schema(writer_schema: bytes, record_name: str) -> tuple[bytes, list[str]]:
    """The same layout without logical types, so that times are read as longs; its fields' names.

    Raises BlockError unless every field has the type that the record gives it.
    """
    known = {spec["name"]: spec["type"] for spec in load(record_name).avro["fields"]}
    try:
        schema = json.loads(writer_schema)
        foreign = [f["name"] for f in schema["fields"] if known.get(f["name"]) != f["type"]]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise BlockError(f"unreadable schema: {error}") from error
    if foreign or schema.get("name") != record_name:
        raise BlockError(f"not a block of {record_name!r}: fields {foreign} are not its own")
    for field in schema["fields"]:
        value_type = field["type"][1]
        if isinstance(value_type, dict):
            field["type"] = ["null", value_type["type"]]
    return json.dumps(schema).encode(), [field["name"] for field in schema["fields"]]


def _decompressed(packed: list[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    room = MAX_PLAIN_BYTES
    for count, payload in packed:
        unpacking = zstd.ZstdDecompressor()
        try:
            plain = unpacking.decompress(payload, room + 1)
        except zstd.ZstdError as error:
            raise BlockError(f"unreadable rows: {error}") from error
        room -= len(plain)
        if room < 0:
            raise BlockError(f"rows are larger than {MAX_PLAIN_BYTES:,} bytes")
        if not unpacking.eof or unpacking.unused_data:
            raise BlockError("truncated rows")
        yield count, plain


def _open(data: bytes) -> tuple[dict[str, bytes], bytes, memoryview]:
    """Header map, sync marker, and the rest."""
    if data[:4] != _MAGIC:
        raise BlockError(f"not an Avro container: starts with {data[:4]!r}")
    view = memoryview(data)
    header: dict[str, bytes] = {}
    try:
        count, at = _read_long(view, 4)
        while count:
            if count < 0:  # a negative count is followed by the size of the map block in bytes
                count = -count
                _, at = _read_long(view, at)
            for _ in range(count):
                key, at = _read_bytes(view, at)
                value, at = _read_bytes(view, at)
                header[key.decode()] = value
            count, at = _read_long(view, at)
    except (IndexError, UnicodeDecodeError) as error:
        raise BlockError("truncated header") from error
    sync = bytes(view[at : at + _SYNC_BYTES])
    if len(sync) < _SYNC_BYTES:
        raise BlockError("truncated header")
    return header, sync, view[at + _SYNC_BYTES :]


def _data_blocks(body: memoryview, sync: bytes) -> list[tuple[int, bytes]]:
    """(row count, payload) of each Avro data block."""
    found, at = [], 0
    try:
        while at < len(body):
            count, at = _read_long(body, at)
            payload, at = _read_bytes(body, at)
            if bytes(body[at : at + _SYNC_BYTES]) != sync:
                raise BlockError("sync marker missing after a data block")
            at += _SYNC_BYTES
            found.append((count, payload))
    except IndexError as error:
        raise BlockError("truncated data block") from error
    return found


def _long(value: int) -> bytes:
    """Avro's zig-zag variable-length integer."""
    zigzag = (value << 1) ^ (value >> 63)
    out = bytearray()
    while zigzag > 0x7F:
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    out.append(zigzag)
    return bytes(out)


def _read_long(view: memoryview, at: int) -> tuple[int, int]:
    shift = zigzag = 0
    while True:
        byte = view[at]
        at += 1
        zigzag |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (zigzag >> 1) ^ -(zigzag & 1), at
        shift += 7


def _read_bytes(view: memoryview, at: int) -> tuple[bytes, int]:
    size, at = _read_long(view, at)
    if size < 0 or at + size > len(view):
        raise IndexError(size)
    return bytes(view[at : at + size]), at + size


def _map(entries: dict[str, bytes]) -> bytes:
    out = _long(len(entries))
    for key, value in entries.items():
        out += _long(len(key.encode())) + key.encode() + _long(len(value)) + value
    return out + b"\x00"
