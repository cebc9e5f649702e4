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
from dataclasses import asdict, dataclass
from functools import cache

import polars as pl
from backports import zstd

from schemas_avro.derive import wire
from schemas_avro.record import Record, load

_MAGIC = b"Obj\x01"
_SYNC_BYTES = 16
_LEVEL = 3  # measured: level 1 is 5 % larger at the same speed, level 9 takes 4x the time


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
    """One Avro object container. `rows` holds any subset of the record's fields as columns."""
    present = [name for name in rows.columns if rows[name].null_count() < rows.height]
    out = io.BytesIO()
    rows.select(present).write_avro(out, name=record.name)
    _, sync, body = _open(out.getvalue())
    blocks = b"".join(
        _long(count) + _long(len(packed)) + packed + sync
        for count, payload in _data_blocks(body, sync)
        for packed in (zstd.compress(payload, _LEVEL),)
    )
    header = {
        "avro.schema": _writer_schema(record.name, tuple(present)),
        "avro.codec": b"zstandard",
        "headwater.block": json.dumps(asdict(meta), separators=(",", ":")).encode(),
    }
    return _MAGIC + _map(header) + sync + blocks


def read_meta(data: bytes) -> BlockMeta:
    """Only the metadata: nothing is decompressed. Raises BlockError."""
    header, _, _ = _open(data)
    return _meta(header)


def decode(record: Record, data: bytes) -> tuple[BlockMeta, pl.DataFrame]:
    """Metadata and rows, with every field of the record as a column, producer/seq/row filled.

    Raises BlockError for bytes that are not a whole block of this record.
    """
    header, sync, body = _open(data)
    meta = _meta(header)
    if header.get("avro.codec") != b"zstandard":
        raise BlockError(f"codec {header.get('avro.codec')!r} is not zstandard")
    try:
        plain = b"".join(
            _long(count) + _long(len(payload)) + payload + sync
            for count, packed in _data_blocks(body, sync)
            for payload in (zstd.decompress(packed),)
        )
        schema = _plain_schema(header["avro.schema"])
        container = _MAGIC + _map({"avro.schema": schema, "avro.codec": b"null"}) + sync + plain
        rows = pl.read_avro(io.BytesIO(container))
    except BlockError:
        raise
    except Exception as error:  # polars and zstd raise many kinds for damaged bytes
        raise BlockError(f"unreadable rows: {error}") from error
    if rows.height != meta.count:
        raise BlockError(f"{rows.height} rows where the metadata says {meta.count}")
    types = wire(record)
    present = [name for name in rows.columns if name in types]
    filled = {
        "producer": pl.lit(meta.producer),
        "seq": pl.lit(meta.seq, pl.Int64),
        "row": pl.int_range(pl.len(), dtype=pl.Int32),
    }
    columns = [
        filled[name]
        if name in filled
        else pl.col(name).cast(dtype)
        if name in present
        else pl.lit(None, dtype)
        for name, dtype in types.items()
    ]
    named = [column.alias(name) for column, name in zip(columns, types, strict=True)]
    return meta, rows.select(named)


# -- Avro's container format: https://avro.apache.org/docs/1.11.1/specification/#object-container-files


def _meta(header: dict[str, bytes]) -> BlockMeta:
    try:
        return BlockMeta(**json.loads(header["headwater.block"]))
    except (KeyError, TypeError, ValueError) as error:
        raise BlockError(f"no metadata under headwater.block: {error}") from error


@cache
def _writer_schema(record_name: str, present: tuple[str, ...]) -> bytes:
    """The record's own Avro schema cut down to the columns present, without the prose."""
    record = load(record_name)
    by_name = {spec["name"]: spec for spec in record.avro["fields"]}
    fields = [{"name": name, "type": by_name[name]["type"], "default": None} for name in present]
    schema = {"type": "record", "name": record.name, "namespace": "headwater", "fields": fields}
    return json.dumps(schema, separators=(",", ":")).encode()


@cache
def _plain_schema(writer_schema: bytes) -> bytes:
    """The same layout without logical types, so that times are read as the longs they are."""
    schema = json.loads(writer_schema)
    for field in schema["fields"]:
        value_type = field["type"][1]
        if isinstance(value_type, dict):
            field["type"] = ["null", value_type["type"]]
    return json.dumps(schema).encode()


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
