"""The spool when disks fill, machines die in the middle of a write, and rows are not encodable.

Failing disks are `os` functions replaced for one file: no disk here can be filled or broken on
demand. What a real kill leaves behind is in test_server.py.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collector.bus import segments as segments_module
from collector.bus.port import BusError, BusFull
from collector.bus.spool import SpoolPublisher
from tests.collector import blocks
from tests.contracts.publisher import event, letter, send


def spool(path: Path, *, segment_bytes: int = 1 << 20) -> SpoolPublisher:
    return SpoolPublisher(path, segment_bytes=segment_bytes)


def ids(path: Path) -> list[str]:
    return [row["event_id"] for row in blocks.rows(path / "events")]


def seqs(path: Path) -> list[int]:
    return [meta["seq"] for meta in blocks.metas(path / "events")]


def write(path: Path, *names: str, **given: int) -> None:
    """Each name a block, by a process of its own that ends well."""
    publisher = spool(path, **given)
    for name in names:
        send(publisher, [event(name)], [])
    publisher.close()


class TestRestart:
    @pytest.mark.parametrize("torn", [1, 11, 12, 300])
    def test_a_torn_tail_is_cut_set_aside_and_leaves_no_gap(self, tmp_path, torn: int) -> None:
        write(tmp_path, "a", "b", "lost")
        (path,) = blocks.segments(tmp_path / "events")
        whole = path.read_bytes()
        size = sum(12 + len(frame) for frame in blocks.frames(whole)[:2])
        path.write_bytes(whole[: size + torn])  # as the third write was under way
        write(tmp_path, "c")
        assert ids(tmp_path) == ["a", "b", "c"]
        assert seqs(tmp_path) == [0, 1, 2]
        assert blocks.metas(tmp_path / "events")[2]["first_row"] == 2
        (aside,) = path.parent.glob("*.torn-*")
        assert aside.read_bytes() == whole[size : size + torn]

    def test_the_machine_died_in_its_first_write(self, tmp_path) -> None:
        write(tmp_path, "lost")
        (path,) = blocks.segments(tmp_path / "events")
        path.write_bytes(path.read_bytes()[:100])
        write(tmp_path, "a")
        assert (ids(tmp_path), seqs(tmp_path)) == (["a"], [0])

    def test_a_new_segment_that_is_still_empty(self, tmp_path) -> None:
        write(tmp_path, "a", "b")
        (path,) = blocks.segments(tmp_path / "events")
        path.with_name(f"{2:020d}.blocks").touch()
        write(tmp_path, "c")
        assert (ids(tmp_path), seqs(tmp_path)) == (["a", "b", "c"], [0, 1, 2])

    def test_old_segments_may_be_gone(self, tmp_path) -> None:
        write(tmp_path, *"abcdef", segment_bytes=1)
        for path in blocks.segments(tmp_path / "events")[:-1]:
            path.unlink()
        write(tmp_path, "g", segment_bytes=1)
        assert (ids(tmp_path), seqs(tmp_path)) == (["f", "g"], [5, 6])
        assert blocks.metas(tmp_path / "events")[1]["first_row"] == 6

    def test_numbers_of_a_lost_segment_are_not_used_again(self, tmp_path) -> None:
        write(tmp_path, *"abc", segment_bytes=1)
        *older, newest = blocks.segments(tmp_path / "events")
        for path in older:
            path.write_bytes(b"")
        newest.write_bytes(b"x" * 50)
        write(tmp_path, "d")
        assert (ids(tmp_path), seqs(tmp_path)) == (["d"], [2])

    def test_damage_in_the_middle_stays_and_is_not_written_behind(self, tmp_path) -> None:
        write(tmp_path, "a", "b", "c")
        (path,) = blocks.segments(tmp_path / "events")
        whole = bytearray(path.read_bytes())
        whole[len(whole) // 2] ^= 0xFF
        path.write_bytes(whole)
        write(tmp_path, "d")
        damaged, new = blocks.segments(tmp_path / "events")
        assert damaged.read_bytes() == bytes(whole), "nothing of the evidence is lost"
        (frame,) = blocks.frames(new.read_bytes())
        assert new.name == f"{3:020d}.blocks"
        assert b'"seq":3' in frame
        assert not list(path.parent.glob("*.torn-*"))

    def test_two_writers_take_two_slots_and_find_them_again(self, tmp_path) -> None:
        for names in (("a", "b"), ("c", "d")):
            both = [spool(tmp_path), spool(tmp_path)]
            for publisher, name in zip(both, names, strict=True):
                send(publisher, [event(name)], [])
            for publisher in both:
                publisher.close()
        producers = sorted(path.name for path in (tmp_path / "events").iterdir())
        assert len(producers) == 2
        assert [name.rpartition("-")[0] for name in producers] == ["collector-0", "collector-1"]
        assert ids(tmp_path) == ["a", "c", "b", "d"]
        assert seqs(tmp_path) == [0, 1, 0, 1]

    def test_segments_are_rolled(self, tmp_path) -> None:
        write(tmp_path, *"abcd", segment_bytes=1)
        names = [path.name for path in blocks.segments(tmp_path / "events")]
        assert names == [f"{seq:020d}.blocks" for seq in range(4)]


class Disk:
    """`os` functions that fail when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failing: dict[str, int] = {}  # name -> errno
        self.room: int | None = None  # bytes that a write still takes
        for name in ("write", "fdatasync", "ftruncate", "open"):
            monkeypatch.setattr(segments_module.os, name, self._wrapped(name, getattr(os, name)))

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            if name == "write" and self.room is not None:
                if self.room == 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                taken: int = real(args[0], args[1][: self.room])
                self.room -= taken
                return taken
            if name in self.failing and not (name == "open" and str(args[0]).endswith("lock")):
                raise OSError(self.failing[name], os.strerror(self.failing[name]))
            return real(*args)

        return call


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


class TestDisk:
    @pytest.mark.parametrize("room", [0, 1, 100])
    def test_a_full_disk_leaves_nothing_half_written(self, tmp_path, disk, room: int) -> None:
        publisher = spool(tmp_path)
        send(publisher, [event("a")], [])
        disk.room = room
        with pytest.raises(BusFull) as full:
            send(publisher, [event("refused")], [])
        assert full.value.retry_after_s == 30
        assert ids(tmp_path) == ["a"]
        disk.room = None
        send(publisher, [event("b")], [])
        publisher.close()
        assert (ids(tmp_path), seqs(tmp_path)) == (["a", "b"], [0, 1])

    def test_it_says_so_and_is_ready_again_without_being_sent_events(
        self, tmp_path, disk, monkeypatch
    ) -> None:
        publisher = spool(tmp_path)
        disk.room = 0
        full: list[bool] = [True]
        real = publisher._events.writable
        monkeypatch.setattr(publisher._events, "writable", lambda: not full[0] and real())
        assert publisher.healthy()
        with pytest.raises(BusFull):
            send(publisher, [event("refused")], [])
        assert not publisher.healthy()
        disk.room, full[0] = None, False
        assert publisher.healthy()
        publisher.close()
        assert {path.name for path in (tmp_path / "events").glob("*/*")} == {
            "lock",
            f"{0:020d}.blocks",
        }

    def test_writable_tries_the_disk(self, tmp_path, monkeypatch) -> None:
        publisher = spool(tmp_path)
        assert publisher._events.writable()

        def fail(file: int) -> None:
            raise OSError(errno.EIO, "broken")

        monkeypatch.setattr(segments_module.os, "fsync", fail)
        assert not publisher._events.writable()
        publisher.close()

    def test_a_sync_that_fails_is_no_200(self, tmp_path, disk) -> None:
        publisher = spool(tmp_path)
        disk.failing["fdatasync"] = errno.EIO
        with pytest.raises(BusError, match="Input/output error"):
            send(publisher, [event("refused")], [])
        disk.failing.clear()
        send(publisher, [event("a")], [])
        publisher.close()
        assert (ids(tmp_path), seqs(tmp_path)) == (["a"], [0])

    def test_a_segment_that_cannot_be_opened_is_tried_again(self, tmp_path, disk) -> None:
        publisher = spool(tmp_path, segment_bytes=1)
        send(publisher, [event("a")], [])
        disk.failing["open"] = errno.EMFILE
        for _ in range(2):
            with pytest.raises(BusError, match="Too many open files"):
                send(publisher, [event("refused")], [])
        disk.failing.clear()
        send(publisher, [event("b")], [])
        publisher.close()
        assert (ids(tmp_path), seqs(tmp_path)) == (["a", "b"], [0, 1])

    def test_a_cut_that_fails_never_reaches_into_a_later_block(self, tmp_path, disk) -> None:
        publisher = spool(tmp_path)
        disk.room, disk.failing["ftruncate"] = 100, errno.EIO
        with pytest.raises(BusFull):
            send(publisher, [event("refused")], [])
        disk.room = None
        disk.failing.clear()
        send(publisher, [event("a")], [])
        disk.room = 50
        with pytest.raises(BusFull):
            send(publisher, [event("refused, too")], [])
        disk.room = None
        publisher.close()
        (path,) = blocks.segments(tmp_path / "events")
        (frame,) = blocks.frames(path.read_bytes()[100:])
        assert b'"seq":0' in frame

    def test_dead_letters_are_on_disk_before_the_rows(self, tmp_path, monkeypatch) -> None:
        publisher = spool(tmp_path)
        order: list[str] = []
        sync = os.fdatasync

        def watch(file: int) -> None:
            order.append(Path(os.readlink(f"/proc/self/fd/{file}")).parent.parent.name)
            sync(file)

        monkeypatch.setattr(segments_module.os, "fdatasync", watch)
        send(publisher, [event("row")], [letter("dead")])
        assert order == ["dead_letters", "events"]
        publisher.close()

    def test_more_than_a_block_may_hold_is_refused_before_anything_is_written(
        self, tmp_path, monkeypatch
    ) -> None:
        monkeypatch.setattr("schemas_avro.segment.MAX_PAYLOAD_BYTES", 2_000)
        publisher = spool(tmp_path)
        large = event("large") | {"properties": os.urandom(4_000).hex()}
        with pytest.raises(ValueError, match="split it"):
            send(publisher, [large], [letter("dead")])
        publisher.close()
        assert ids(tmp_path) == []
        assert blocks.rows(tmp_path / "dead_letters") == []
