"""The gatherer: who waits for what, who is refused, and whom a failure reaches.

The disk is held up by a gate in place of `fdatasync`, so that requests gather at a known moment.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from collector import gather as gather_module
from collector.bus import segments as segments_module
from collector.bus.port import BusBusy, BusError
from collector.bus.spool import SpoolPublisher
from collector.gather import Gatherer, Receipt
from tests.collector import blocks
from transforms.candidates import Candidate, Candidates
from transforms.failures import Reason, Rejection
from transforms.judge import Origin


class Gate:
    """Holds the disk up until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self._open = threading.Event(), threading.Event()
        self.syncs = 0
        sync = os.fdatasync

        def wait(file: int) -> None:
            self.syncs += 1
            self.entered.set()
            assert self._open.wait(60)
            sync(file)

        monkeypatch.setattr(segments_module.os, "fdatasync", wait)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


def wait_until(true: Callable[[], bool]) -> None:
    done = threading.Event()
    for _ in range(6000):
        if true():
            return
        done.wait(0.005)
    raise AssertionError("never")


ORIGIN = Origin("shop", "web", 1_800_000_000_000_000)
THREADS = 16


def take(gatherer: Gatherer, *names: str, dead: int = 0) -> Receipt:
    """A request of these events and some that are none."""
    made: list[Candidate | Rejection] = [
        Candidate(type="track", name="x", user_id="u", event_id=name) for name in names
    ]
    made += [Rejection(Reason.NOT_AN_OBJECT, "no object", b"7")] * dead
    return gatherer.take(Candidates.of(made, [b"{}"] * len(made)), ORIGIN, lambda: "{}")


@pytest.fixture
def gatherer(tmp_path: Path) -> Iterator[Gatherer]:
    made = Gatherer(SpoolPublisher(tmp_path, segment_bytes=1 << 20), max_waiting=60)
    yield made
    made.close()


def ids(path: Path) -> list[str]:
    return [row["event_id"] for row in blocks.rows(path / "events")]


class TestGroupCommit:
    def test_what_comes_during_a_sync_shares_the_next(self, tmp_path, gatherer, gate) -> None:
        with ThreadPoolExecutor(51) as pool:
            first = pool.submit(take, gatherer, "first")
            assert gate.entered.wait(30)
            rest = [pool.submit(take, gatherer, f"{n}") for n in range(50)]
            wait_until(lambda: gatherer._waiting == 50)
            assert not first.done(), "answered before the disk had it"
            gate.open()
            receipts = [done.result(30) for done in rest]
        assert sorted(r.event_ids[0] for r in receipts) == sorted(f"{n}" for n in range(50))
        assert [m["count"] for m in blocks.metas(tmp_path / "events")] == [1, 50]
        assert gate.syncs == 2

    def test_each_request_learns_its_own_refusals(self, gatherer, gate) -> None:
        with ThreadPoolExecutor(4) as pool:
            first = pool.submit(take, gatherer, "first")
            assert gate.entered.wait(30)
            long = "x" * 101
            mixed = [pool.submit(take, gatherer, "a", long, "b", dead=n) for n in range(3)]
            wait_until(lambda: gatherer._waiting == 12)
            gate.open()
            assert first.result(30).refused == {}
            found = [done.result(30).refused for done in mixed]
        assert [sorted(refused) for refused in found] == [[1], [1, 3], [1, 3, 4]]
        assert {r[1].reason for r in found} == {Reason.ID_TOO_LONG}

    def test_too_many_waiting_are_refused_and_the_others_are_not(
        self, tmp_path, gatherer, gate
    ) -> None:
        with ThreadPoolExecutor(3) as pool:
            first = pool.submit(take, gatherer, "first")
            assert gate.entered.wait(30)
            full = pool.submit(take, gatherer, *(f"{n}" for n in range(40)), dead=20)
            wait_until(lambda: not gatherer.healthy())
            with pytest.raises(BusBusy) as busy:
                take(gatherer, "refused")
            assert busy.value.retry_after_s == 1
            gate.open()
            first.result(30)
            full.result(30)
        assert gatherer.healthy()
        take(gatherer, "later")
        assert ids(tmp_path) == ["first", *(f"{n}" for n in range(40)), "later"]

    def test_close_writes_what_waits(self, tmp_path, gatherer, gate) -> None:
        with ThreadPoolExecutor(5) as pool:
            sent = [pool.submit(take, gatherer, "0")]
            assert gate.entered.wait(30)
            sent += [pool.submit(take, gatherer, f"{n}") for n in (1, 2, 3)]
            wait_until(lambda: gatherer._waiting == 3)
            closing = pool.submit(gatherer.close)
            gate.open()
            closing.result(30)
            for done in sent:
                done.result(30)
        assert sorted(ids(tmp_path)) == ["0", "1", "2", "3"]
        with pytest.raises(BusError, match="stopping"):
            take(gatherer, "late")

    def test_close_under_load_loses_nothing_that_was_taken(self, tmp_path, gatherer) -> None:
        taken: list[str] = []
        started = threading.Barrier(THREADS + 1)

        def sender(thread: int) -> None:
            started.wait()
            try:
                for request in range(10_000):
                    take(gatherer, f"{thread}-{request}")
                    taken.append(f"{thread}-{request}")
            except BusError:
                return

        threads = [threading.Thread(target=sender, args=(n,)) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        started.wait()
        gatherer.close()
        for thread in threads:
            thread.join()
        assert Counter(ids(tmp_path)) == Counter(taken)

    def test_a_request_is_never_split_over_blocks(self, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr(gather_module, "BLOCK_ROWS", 100)
        gatherer = Gatherer(SpoolPublisher(tmp_path, segment_bytes=1 << 20), max_waiting=10_000)
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda t: take(gatherer, *(f"{t}-{n}" for n in range(70))), range(40)))
        gatherer.close()
        for _, rows in blocks.blocks(tmp_path / "events"):
            counted = Counter(row["event_id"].partition("-")[0] for row in rows)
            assert set(counted.values()) == {70}

    def test_nothing_is_written_for_nothing(self, tmp_path, gatherer) -> None:
        assert list(take(gatherer).event_ids) == []
        assert blocks.blocks(tmp_path / "events") == []


class TestRequestsThatTripUs:
    def bad(self, gatherer: Gatherer) -> Receipt:
        candidates = Candidates({"type": ["page"], "user_id": [7]}, 1, lambda: [b"{}"])
        return gatherer.take(candidates, ORIGIN, lambda: "{}")

    def test_they_take_nobody_with_them(self, tmp_path, gatherer, gate) -> None:
        with ThreadPoolExecutor(4) as pool:
            first = pool.submit(take, gatherer, "first")
            assert gate.entered.wait(30)
            good = [pool.submit(take, gatherer, name, dead=1) for name in ("a", "b")]
            bad = pool.submit(self.bad, gatherer)
            wait_until(lambda: gatherer._waiting == 5)
            gate.open()
            first.result(30)
            for done in good:
                done.result(30)
            with pytest.raises(TypeError):
                bad.result(30)
        assert sorted(ids(tmp_path)) == ["a", "b", "first"]
        assert len(blocks.rows(tmp_path / "dead_letters")) == 2

    def test_a_panic_of_the_encoder_does_not_stop_the_worker(
        self, tmp_path, gatherer, monkeypatch
    ) -> None:
        """polars' panics are no `Exception`: one ended the thread for which all requests wait."""

        def panic(rows: Any) -> Any:
            raise pl.exceptions.PanicException("deep inside")

        with monkeypatch.context() as patch:
            patch.setattr(gather_module, "judge", panic)
            with pytest.raises(RuntimeError):
                take(gatherer, "bad")
        take(gatherer, "a")
        assert gatherer.healthy()
        assert ids(tmp_path) == ["a"]
