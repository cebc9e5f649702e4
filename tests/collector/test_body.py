"""Bodies as clients send them: compressed or not, said so or not, whole or not, small or huge."""

from __future__ import annotations

import gzip
import io
import random
import zlib
from functools import partial

import pytest
from backports import zstd

from collector.body import read_body
from collector.problems import Problem
from tests.collector.conftest import KEY

gz = partial(gzip.compress, mtime=0)  # the same bytes each time: names of tests are made of them

BODY = b'{"batch":[{"type":"track","event":"x","userId":"u"}]}' * 50
LIMIT = 1 << 20


def read(data: bytes, encoding: str = "", *, length: int | None = -1, **limits: int) -> bytes:
    given = {"max_bytes": LIMIT, "max_decoded": LIMIT, **limits}
    return read_body(io.BytesIO(data), len(data) if length == -1 else length, encoding, **given)


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def zlib_with_window(bits: int) -> bytes:
    packer = zlib.compressobj(wbits=bits)
    return packer.compress(BODY) + packer.flush()


@pytest.mark.parametrize(
    ("sent", "encoding"),
    [
        (BODY, ""),
        (BODY, "identity"),
        (BODY, "gzip"),  # says so and is not
        (gz(BODY), "gzip"),
        (gz(BODY), " GZip "),
        (gz(BODY), ""),  # is and does not say so
        (gz(BODY), "deflate"),  # says something else
        (zlib.compress(BODY), "deflate"),
        (zlib_with_window(9), "deflate"),  # begins with 0x18, not 0x78
        (raw_deflate(BODY), "deflate"),  # without the wrapper that the name stands for
        (zstd.compress(BODY), "zstd"),
        (zstd.compress(BODY), ""),
        (b"\xef\xbb\xbf" + BODY, ""),  # a byte order mark
        (gz(b"\xef\xbb\xbf" + BODY), "gzip"),
        (gz(BODY[:70]) + gz(BODY[70:]), "gzip"),  # two members
        (zstd.compress(BODY[:70]) + zstd.compress(BODY[70:]), "zstd"),
        (b"", ""),
    ],
)
@pytest.mark.parametrize("length_known", [True, False], ids=["length", "chunked"])
def test_the_body_is_what_was_meant(sent: bytes, encoding: str, length_known: bool) -> None:
    length = len(sent) if length_known else None
    assert read(sent, encoding, length=length) == (BODY if sent else b"")


@pytest.mark.parametrize(
    "damaged",
    [
        gz(BODY)[:-1],  # the checksum at the end is cut
        gz(BODY)[:-9],
        gz(BODY)[:20],
        gz(BODY)[:2],
        gz(BODY) + b"garbage",
        gz(BODY) + gz(BODY)[:-1],
        gz(BODY)[:-8] + b"\0\0\0\0" + gz(BODY)[-4:],  # wrong checksum
        zstd.compress(BODY)[:-1],
        zstd.compress(BODY)[:8],
        zstd.compress(BODY) + b"garbage",
        gz(b"") * 101,  # each stream costs a copy of what follows
    ],
)
def test_a_damaged_stream_is_refused_whole(damaged: bytes) -> None:
    with pytest.raises(Problem) as refused:
        read(damaged)
    assert (refused.value.status, refused.value.code) == (400, "bad_encoding")


@pytest.mark.parametrize("damaged", [BODY, zlib.compress(BODY)[:-1], b"\x78", b""])
def test_what_is_called_deflate_and_is_not(damaged: bytes) -> None:
    if damaged == b"":
        assert read(damaged, "deflate") == b""
        return
    with pytest.raises(Problem, match="cannot be decompressed"):
        read(damaged, "deflate")


@pytest.mark.parametrize("length", [101, None], ids=["length", "chunked"])
def test_a_body_above_the_limit_is_refused(length: int | None) -> None:
    assert read(b"x" * 100, max_bytes=100) == b"x" * 100
    with pytest.raises(Problem) as refused:
        read(b"x" * 101, length=length, max_bytes=100)
    assert (refused.value.status, refused.value.code) == (413, "too_large")


def test_a_length_above_the_limit_is_refused_before_anything_is_read() -> None:
    stream = io.BytesIO(b"x" * 10)
    with pytest.raises(Problem):
        read_body(stream, 1 << 40, "", LIMIT, LIMIT)
    assert stream.tell() == 0


def test_a_chunked_body_is_read_no_further_than_the_limit_asks() -> None:
    stream = io.BytesIO(bytes(10 << 20))
    with pytest.raises(Problem):
        read_body(stream, None, "", LIMIT, LIMIT)
    assert stream.tell() <= LIMIT + (64 << 10)


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress, zlib.compress, raw_deflate])
def test_the_decompressed_size_has_its_own_limit_to_the_byte(pack) -> None:
    data = random.Random(3).randbytes(5_000)
    assert read(pack(data), "deflate", max_decoded=5_000) == data
    with pytest.raises(Problem) as refused:
        read(pack(data), "deflate", max_decoded=4_999)
    assert refused.value.status == 413


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress, zlib.compress])
def test_a_bomb_is_refused_and_never_unpacked(pack) -> None:
    bomb = pack(bytes(200 << 20))
    assert len(bomb) < LIMIT
    with pytest.raises(Problem) as refused:
        read(bomb, "deflate")
    assert refused.value.status == 413


def test_a_bomb_of_many_members_is_refused() -> None:
    with pytest.raises(Problem) as refused:
        read(gz(bytes(LIMIT // 2)) * 3)
    assert refused.value.status == 413


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "text/plain", "application/x-www-form-urlencoded", "image/png", ""],
)
def test_the_content_type_does_not_matter(collector, content_type: str) -> None:
    message = b'{"event":"x","userId":"u","messageId":"m"}'
    body = gz(message)
    assert collector.post("/v1/track", body, Content_Type=content_type).status_code == 200
    assert [row["event_id"] for row in collector.rows()] == ["m"]


def test_a_chunked_request_without_a_length(collector) -> None:
    answer = collector.client.post(
        "/v1/track",
        input_stream=io.BytesIO(b'{"event":"x","userId":"u","messageId":"m"}'),
        headers={"Transfer-Encoding": "chunked", "X-Write-Key": KEY},
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert answer.status_code == 200
    assert [row["event_id"] for row in collector.rows()] == ["m"]
