"""Segments: whatever was cut or damaged, whole frames come out and nothing else."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas_avro import segment
from schemas_avro.segment import MAGIC, Damaged, Whole, frame, read_frame

PAYLOADS = st.lists(st.binary(max_size=60) | st.just(MAGIC * 3), max_size=6)
quick = settings(max_examples=150, deadline=None)


def read_all(data: bytes) -> tuple[list[bytes], list[bytes], int]:
    """Payloads, junk in between, and where reading stopped."""
    payloads, junk, at = [], [], 0
    file = io.BytesIO(data)
    while (found := read_frame(file, at)) is not None:
        match found:
            case Whole(payload, _):
                payloads.append(payload)
            case Damaged(bytes_, _):
                junk.append(bytes_)
        assert found.end > at
        at = found.end
    return payloads, junk, at


@quick
@given(PAYLOADS)
def test_frames_come_back(payloads):
    data = b"".join(map(frame, payloads))
    assert read_all(data) == (payloads, [], len(data))


@quick
@given(PAYLOADS, st.data())
def test_any_cut_leaves_only_whole_frames(payloads, data):
    ends = [0]
    for payload in payloads:
        ends.append(ends[-1] + len(frame(payload)))
    whole = b"".join(map(frame, payloads))
    cut = data.draw(st.integers(0, len(whole)))
    complete = [end for end in ends if end <= cut]
    read, junk, stopped = read_all(whole[:cut])
    assert read == payloads[: len(complete) - 1]
    assert junk == []
    assert stopped == complete[-1]


@quick
@given(PAYLOADS, st.binary(min_size=1, max_size=80), PAYLOADS.filter(bool))
def test_damage_between_frames_is_said_and_skipped(before, junk, after):
    data = b"".join(map(frame, before)) + junk + b"".join(map(frame, after))
    read, found, stopped = read_all(data)
    assert read == before + after
    assert found == [junk]
    assert stopped == len(data)


@quick
@given(PAYLOADS.filter(lambda p: len(p) > 1), st.data())
def test_a_flipped_bit_costs_one_frame_at_most(payloads, data):
    whole = bytearray(b"".join(map(frame, payloads)))
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[bit // 8] ^= 1 << bit % 8
    hit, end = 0, len(frame(payloads[0]))
    while bit // 8 >= end:
        hit += 1
        end += len(frame(payloads[hit]))
    read, junk, _ = read_all(bytes(whole))
    assert read == payloads[:hit] + payloads[hit + 1 :]
    assert len(junk) == (0 if hit == len(payloads) - 1 else 1)


def test_damage_longer_than_a_look_is_skipped():
    size = segment._SCAN_BYTES
    for length in (size - 3, size - 1, size, size + 1, 2 * size + 5):
        junk = b"\x00" * length
        read, found, _ = read_all(frame(b"a") + junk + frame(b"b"))
        assert (read, found) == ([b"a", b"b"], [junk])


def test_a_length_beyond_all_reason_is_damage():
    head = segment._HEAD.pack(MAGIC, segment.MAX_PAYLOAD_BYTES + 1, 0)
    assert read_all(head + frame(b"b")) == ([b"b"], [head], len(head) + len(frame(b"b")))


@given(st.integers(0, 10**19))
def test_names_sort_as_numbers_do(seq):
    assert segment.first_seq(segment.segment_name(seq)) == seq
    assert segment.segment_name(seq) < segment.segment_name(seq + 1)


def test_a_writer_cannot_frame_what_no_reader_takes():
    with pytest.raises(ValueError, match="larger than"):
        frame(bytes(segment.MAX_PAYLOAD_BYTES + 1))
