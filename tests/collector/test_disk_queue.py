"""The disk queue: everything once at least, in order, through restarts, damage and full disks."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.bus import disk_queue as module
from collector.bus.disk_queue import DiskQueue
from collector.bus.port import BusError, BusFull
from schemas_avro import block, load
from tests.collector import blocks
from tests.contracts.publisher import NOW, event, frame_of

ALL = 1 << 30


def made(number: int, topic_record: str = "event", received: int = NOW) -> bytes:
    """A block whose number tells it from all others."""
    rows = frame_of("event", [event(f"{number}", received)])
    meta = block.new_meta(rows, producer="p", seq=number, first_row=number)
    return block.encode(load(topic_record), rows, meta)


def number(data: bytes) -> int:
    return block.read_meta(data).seq


def opened(root: Path, *, max_bytes: int = ALL, segment_bytes: int = 2_000) -> DiskQueue:
    return DiskQueue(root, max_bytes=max_bytes, segment_bytes=segment_bytes)


def drained(queue: DiskQueue, most_bytes: float = 1 << 20) -> list[int]:
    found = []
    while (taken := queue.take(most_bytes)) is not None:
        found += map(number, taken.blocks)
        queue.done(taken)
    return found


@pytest.fixture(autouse=True)
def looks_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_S", 0)


def test_in_order_byte_for_byte_and_gone_when_done(tmp_path) -> None:
    queue = opened(tmp_path)
    sent = [made(n) for n in range(30)]
    for data in sent[:10]:
        queue.send("events", [data])
    queue.send("events", sent[10:])
    found = []
    while (taken := queue.take(1)) is not None:
        found += taken.blocks
        queue.done(taken)
    assert found == sent
    assert sum(p.stat().st_size for p in blocks.segments(tmp_path / "events")) == 0
    queue.close()


def test_what_is_not_done_comes_again(tmp_path) -> None:
    queue = opened(tmp_path)
    queue.send("events", [made(0), made(1)])
    first, second = queue.take(1), queue.take(1)
    assert first is not None
    assert second is not None
    assert first.blocks == second.blocks
    queue.done(first)
    assert drained(queue) == [1]
    queue.close()


def test_dead_letters_go_first(tmp_path) -> None:
    queue = opened(tmp_path)
    queue.send("events", [made(0)])
    queue.send("dead_letters", [made(1)])
    assert drained(queue) == [1, 0]
    queue.close()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(1, 5)),
        st.tuples(st.sampled_from(["done", "taken", "restart"]), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_any_order_of_sends_takes_and_restarts(tmp_path_factory, steps) -> None:
    """First occurrences come in the order sent, none is missing."""
    root = tmp_path_factory.mktemp("queue")
    queue, sent, seen = opened(root), 0, []
    for step, count in steps:
        match step:
            case "send":
                queue.send("events", [made(sent + n) for n in range(count)])
                sent += count
            case "restart":
                queue.close()
                queue = opened(root)
            case _:
                taken = queue.take(1_000)
                seen += map(number, taken.blocks) if taken else []
                if taken and step == "done":
                    queue.done(taken)
    queue.close()
    queue = opened(root)
    state = queue.state()
    left = drained(queue)
    assert state.queued_blocks == len(left)
    assert list(dict.fromkeys(seen + left)) == list(range(sent))
    assert queue.state().queued_bytes == 0
    queue.close()


def test_threads_send_while_one_takes(tmp_path) -> None:
    queue = opened(tmp_path)

    def send(thread: int) -> None:
        for n in range(50):
            queue.send("events", [made(thread * 1000 + n)])

    threads = [threading.Thread(target=send, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    found: list[int] = []
    while any(thread.is_alive() for thread in threads):
        found += drained(queue, 500)
    found += drained(queue)
    assert sorted(found) == [thread * 1000 + n for thread in range(4) for n in range(50)]
    for thread in range(4):
        own = [n for n in found if n // 1000 == thread]
        assert own == sorted(own)
    queue.close()


class TestSlots:
    def test_a_slot_in_use_is_left_alone_and_one_left_behind_is_drained(self, tmp_path) -> None:
        one, other = opened(tmp_path), opened(tmp_path)
        one.send("events", [made(1)])
        other.send("events", [made(2)])
        assert drained(other) == [2]
        one.send("events", [made(3)])
        one.close()
        other.send("events", [made(4)])
        assert drained(other) == [1, 3, 4], "what is older first"
        other.close()

    def test_a_slot_is_held_while_it_is_drained_and_then_free(self, tmp_path) -> None:
        gone, other = opened(tmp_path), opened(tmp_path)
        gone.send("events", [made(1)])
        gone.close()
        taken = other.take(1)
        assert taken is not None
        third = opened(tmp_path)
        assert drained(third) == []
        other.done(taken)
        assert drained(other) == []
        third.close()
        assert len(list((tmp_path / "events").iterdir())) == 3
        again = [opened(tmp_path), opened(tmp_path)]
        assert len(list((tmp_path / "events").iterdir())) == 3, "free slots are taken again"
        for queue in (other, *again):
            queue.close()


class TestRoom:
    def test_the_limit_counts_all_workers_and_frees_itself(self, tmp_path) -> None:
        size = len(made(0)) + 12
        one, other = (opened(tmp_path, max_bytes=3 * size) for _ in range(2))
        one.send("events", [made(0)])
        other.send("dead_letters", [made(1), made(2)])
        assert not one.healthy()
        with pytest.raises(BusFull, match="HEADWATER_DISK_QUEUE_BYTES") as full:
            one.send("events", [made(3)])
        assert full.value.retry_after_s == 30
        assert drained(other) == [1, 2]
        assert one.healthy()
        one.send("events", [made(4)])
        assert drained(one) == [0, 4]
        one.close()
        other.close()

    def test_a_full_disk_writes_nothing_and_recovers(self, tmp_path, monkeypatch) -> None:
        queue = opened(tmp_path)
        queue.send("events", [made(0)])
        write = os.write

        def half(file: int, data: bytes) -> int:
            if len(data) <= 100:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(file, data[: len(data) - 100])

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", half)
            with pytest.raises(BusFull, match="No space left"):
                queue.send("events", [made(1), made(2)])
        queue.send("events", [made(3)])
        assert drained(queue) == [0, 3]
        assert queue.state().damaged == 0, "no half frame stayed"
        queue.close()

    def test_after_close_nothing_is_taken(self, tmp_path) -> None:
        queue = opened(tmp_path)
        queue.close()
        assert not queue.healthy()
        with pytest.raises(BusError, match="stopping"):
            queue.send("events", [made(0)])


class TestDamage:
    @pytest.mark.parametrize("segment_bytes", [1, ALL], ids=["a segment each", "one segment"])
    @pytest.mark.parametrize("hit", [0, 2, 4], ids=["first", "middle", "last"])
    def test_the_rest_goes_on_and_the_bytes_are_kept(self, tmp_path, segment_bytes, hit) -> None:
        queue = opened(tmp_path, segment_bytes=segment_bytes)
        sent = [made(n) for n in range(5)]
        for data in sent:
            queue.send("events", [data])
        for path in blocks.segments(tmp_path / "events"):
            path.write_bytes(path.read_bytes().replace(sent[hit], sent[hit][:-9] + b"\0" * 9))
        # The last frame might still be in writing: only a restart knows that it is not.
        queue.close()
        queue = opened(tmp_path, segment_bytes=segment_bytes)
        assert drained(queue) == [n for n in range(5) if n != hit]
        aside = [
            p
            for p in (tmp_path / "events").glob("*/*")
            if ".damaged" in p.name or ".torn" in p.name
        ]
        (kept,) = aside
        assert sent[hit][:-9] in kept.read_bytes()
        queue.send("events", [made(9)])
        assert drained(queue) == [9]
        queue.close()

    def test_a_frame_that_is_no_block_is_set_aside(self, tmp_path) -> None:
        queue = opened(tmp_path)
        queue.send("events", [b"no block"])
        queue.send("events", [made(1)])
        assert drained(queue) == [1]
        assert queue.state().damaged == 1
        (kept,) = (tmp_path / "events").glob("*/*.damaged-*")
        assert kept.read_bytes() == b"no block"
        queue.close()


def test_state_counts_what_waits(tmp_path) -> None:
    queue = opened(tmp_path, segment_bytes=1_500)
    received = int((time.time() - 3600) * 1e6)
    sent = [made(n, received=received + n * 1_000_000) for n in range(7)]
    for data in sent:
        queue.send("events", [data])
    assert queue.state().queued_blocks == 7
    assert queue.state().queued_bytes == sum(len(data) + 12 for data in sent)
    taken = queue.take(1)
    assert taken is not None
    queue.done(taken)
    state = queue.state()
    assert state.queued_blocks == 6
    assert state.queued_bytes == sum(len(data) + 12 for data in sent[1:])
    assert state.oldest_queued_s == pytest.approx(3599, abs=30)
    drained(queue)
    assert queue.state() == module.BusState()
    queue.close()
