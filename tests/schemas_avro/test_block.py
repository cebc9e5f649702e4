"""Blocks: what goes in comes out, any Avro library reads them, and damage is an error of ours."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import fastavro
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas_avro import block, derive, load
from tests.schemas_avro.strategies import LINEAGE, frames

EVENT = load("event")
DEAD_LETTER = load("dead_letter")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
quick = settings(max_examples=60, deadline=None)


def written(record, rows: pl.DataFrame, seq: int = 7) -> tuple[block.BlockMeta, bytes]:
    meta = block.new_meta(rows, producer="web-0-ab", seq=seq, first_row=100, rejected=2)
    return meta, block.encode(record, rows, meta)


def small() -> pl.DataFrame:
    return pl.DataFrame({"event_id": ["a", "b"], "received_time": [5, 3]})


@pytest.mark.parametrize("record", [EVENT, DEAD_LETTER], ids=lambda r: r.name)
@quick
@given(data=st.data())
def test_any_rows_come_back(record, data):
    rows = data.draw(frames(record))
    meta, encoded = written(record, rows)
    read_meta, read = block.decode(record, encoded)
    assert read_meta == block.read_meta(encoded) == meta
    assert dict(read.schema) == derive.wire(record)
    for name in record.field_names:
        if name in LINEAGE:
            continue
        wanted = rows[name].to_list() if name in rows.columns else [None] * rows.height
        assert read[name].to_list() == wanted, name
    assert read["producer"].to_list() == ["web-0-ab"] * rows.height
    assert read["seq"].to_list() == [7] * rows.height
    assert read["row"].to_list() == list(range(rows.height))


def as_fastavro_gives(kind: str, value: object) -> object:
    """Our value as that library has it: it turns times into datetimes where they fit one."""
    if kind != "timestamp" or value is None:
        return value
    return EPOCH + timedelta(microseconds=value)


@pytest.mark.parametrize("record", [EVENT, DEAD_LETTER], ids=lambda r: r.name)
@quick
@given(data=st.data())
def test_another_avro_library_reads_the_same(record, data):
    rows = data.draw(frames(record))
    times = [n for n in rows.columns if record[n].kind == "timestamp"]
    rows = rows.with_columns(pl.col(times) % 10**15)  # what a datetime can hold
    _, encoded = written(record, rows)
    read = list(fastavro.reader(io.BytesIO(encoded), reader_schema=record.avro))
    wanted = [
        {name: as_fastavro_gives(record[name].kind, row.get(name)) for name in record.field_names}
        for row in rows.to_dicts()
    ]
    assert read == wanted


def test_the_header_is_plain_json():
    meta, encoded = written(EVENT, small())
    found = fastavro.reader(io.BytesIO(encoded)).metadata
    assert json.loads(found["headwater.block"]) == asdict(meta)
    assert set(asdict(meta)) == set(load("block").field_names)
    assert found["avro.codec"] == "zstandard"


def test_metadata_is_of_the_rows():
    meta, _ = written(EVENT, small())
    assert (meta.count, meta.first_received, meta.last_received) == (2, 3, 5)
    assert (meta.first_row, meta.rejected, meta.seq) == (100, 2, 7)
    other, _ = written(EVENT, small())
    assert other.block_id != meta.block_id


@pytest.mark.parametrize(
    "rows",
    [
        pl.DataFrame({"received_time": []}, schema={"received_time": pl.Int64}),
        pl.DataFrame({"received_time": [None]}, schema={"received_time": pl.Int64}),
    ],
)
def test_no_rows_are_no_block(rows):
    with pytest.raises(block.BlockError, match="at least one row"):
        block.new_meta(rows, producer="p", seq=0, first_row=0)


def test_a_block_of_many_rows():
    rows = pl.DataFrame({"event_id": [f"e{i}" for i in range(50_000)], "received_time": 1})
    _, read = block.decode(EVENT, written(EVENT, rows)[1])
    assert read["event_id"].to_list() == rows["event_id"].to_list()


# -- Damage


def only_block_errors(data: bytes) -> None:
    for read in (block.read_meta, lambda b: block.decode(EVENT, b)):
        with contextlib.suppress(block.BlockError):
            read(data)


@quick
@given(st.data())
def test_a_cut_block_is_an_error(data):
    _, whole = written(EVENT, data.draw(frames(EVENT)))
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(block.BlockError):
        block.decode(EVENT, cut)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_flipped_bit_raises_nothing_else(data):
    _, whole = written(EVENT, data.draw(frames(EVENT)))
    damaged = bytearray(whole)
    damaged[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    only_block_errors(bytes(damaged))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_raise_nothing_else(junk):
    only_block_errors(junk)
    only_block_errors(b"Obj\x01" + junk)


def test_more_behind_the_last_row_is_an_error():
    _, whole = written(EVENT, small())
    with pytest.raises(block.BlockError):
        block.decode(EVENT, whole + b"\x02")


def test_a_wrong_count_is_an_error():
    meta, _ = written(EVENT, small())
    lies = block.encode(EVENT, small(), replace(meta, count=3))
    with pytest.raises(block.BlockError, match="2 rows where the metadata says 3"):
        block.decode(EVENT, lies)


def test_another_codec_is_named():
    out = io.BytesIO()
    meta = {"headwater.block": json.dumps(asdict(written(EVENT, small())[0]))}
    fastavro.writer(out, EVENT.avro, [{"event_id": "a"}], codec="deflate", metadata=meta)
    with pytest.raises(block.BlockError, match="deflate"):
        block.decode(EVENT, out.getvalue())


def test_a_container_that_is_no_block_is_named():
    out = io.BytesIO()
    fastavro.writer(out, EVENT.avro, [{"event_id": "a"}], codec="zstandard")
    with pytest.raises(block.BlockError, match=r"headwater\.block"):
        block.decode(EVENT, out.getvalue())


@pytest.mark.parametrize(
    "schema",
    [
        b"{}",
        b"[1]",
        b"not json",
        b'{"type":"record","name":"event","fields":[{"name":"event_id","type":"string"}]}',
        b'{"type":"record","name":"event","fields":[{"name":"flags","type":["null","string"]}]}',
    ],
)
def test_a_foreign_schema_is_an_error_of_ours(schema):
    _, whole = written(EVENT, small())
    header, sync, body = block._open(whole)
    data = b"Obj\x01" + block._map(header | {"avro.schema": schema}) + sync + bytes(body)
    with pytest.raises(block.BlockError):
        block.decode(EVENT, data)


def test_a_bomb_is_refused(monkeypatch):
    _, whole = written(EVENT, small())
    header, sync, _ = block._open(whole)
    packed = block.zstd.compress(bytes(10_000_000))
    assert len(packed) < 1000
    body = block._long(2) + block._long(len(packed)) + packed + sync
    monkeypatch.setattr(block, "MAX_PLAIN_BYTES", 1_000_000)
    with pytest.raises(block.BlockError, match="larger than 1,000,000 bytes"):
        block.decode(EVENT, b"Obj\x01" + block._map(header) + sync + body)


def test_more_than_a_reader_takes_is_not_written(monkeypatch):
    monkeypatch.setattr(block, "MAX_PLAIN_BYTES", 20)
    with pytest.raises(block.BlockError, match="split it"):
        written(EVENT, pl.DataFrame({"event_id": ["a" * 30], "received_time": [1]}))


@pytest.mark.parametrize(
    ("field", "value"),
    [("seq", "7"), ("seq", 2**63), ("producer", 7), ("count", 2.0), ("count", None), ("more", 1)],
)
def test_metadata_of_the_wrong_kind_is_an_error(field, value):
    meta, whole = written(EVENT, small())
    header, sync, body = block._open(whole)
    header["headwater.block"] = json.dumps(asdict(meta) | {field: value}).encode()
    with pytest.raises(block.BlockError, match=field):
        block.read_meta(b"Obj\x01" + block._map(header) + sync + bytes(body))
