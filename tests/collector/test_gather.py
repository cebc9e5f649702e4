"""The gatherer: who waits for what, who is refused, and whom a failure reaches.

The disk is held up by a gate in place of `fdatasync`, so that requests gather at a known moment.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import polars as pl
import pytest

from collector import gather as gather_module
from collector.bus.port import BusBusy, BusError
from collector.bus.spool import SpoolPublisher
from collector.gather import Gatherer, Receipt
from tests.collector import blocks
from tests.collector.conftest import wait_until
from transforms.candidates import Candidate, Candidates
from transforms.failures import Reason, Rejection
from transforms.judge import Origin

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


class TwoLanes(SpoolPublisher):
    """A spool that two threads may hand blocks to."""

    lanes = 2

    def __init__(self, spool: Path) -> None:
        super().__init__(spool, segment_bytes=1 << 30)
        self._one_at_a_time = threading.Lock()

    def publish(self, rows: pl.DataFrame, dead: pl.DataFrame) -> int:
        with self._one_at_a_time:
            return super().publish(rows, dead)


class TestTheIntervalBetweenBlocks:
    INTERVAL_S = 0.3

    @pytest.fixture
    def spaced(self, tmp_path: Path) -> Iterator[Gatherer]:
        publisher = SpoolPublisher(tmp_path, segment_bytes=1 << 30)
        made = Gatherer(publisher, max_waiting=10_000, interval_s=self.INTERVAL_S)
        yield made
        made.close()

    def test_a_lone_request_is_written_at_once(self, spaced: Gatherer) -> None:
        take(spaced, "the first compiles what judges")
        for n in range(2):
            sleep(self.INTERVAL_S)
            started = monotonic()
            take(spaced, f"{n}")
            assert monotonic() - started < self.INTERVAL_S

    def test_under_load_blocks_are_at_least_that_far_apart(
        self, tmp_path: Path, spaced: Gatherer
    ) -> None:
        started = monotonic()
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda n: take(spaced, f"{n}"), range(8 * THREADS)))
        took = monotonic() - started
        counts = [meta["count"] for meta in blocks.metas(tmp_path / "events")]
        assert sum(counts) == 8 * THREADS
        assert took >= (len(counts) - 1) * self.INTERVAL_S
        assert len(counts) <= 10, "each of the threads waits for the block of all"

    def test_close_waits_for_what_gathers(self, tmp_path: Path, spaced: Gatherer) -> None:
        take(spaced, "first")
        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(take, spaced, "late")
            wait_until(lambda: spaced.waiting() == 1)
            spaced.close()
            late.result(30)
        assert ids(tmp_path) == ["first", "late"]

    def test_a_lane_that_finds_nothing_left_goes_on(self, tmp_path: Path) -> None:
        """Both were woken, both slept until their time had come, and one took it all."""
        gatherer = Gatherer(TwoLanes(tmp_path), max_waiting=10_000, interval_s=0.05)
        with ThreadPoolExecutor(4) as pool:
            for turn in range(10):
                list(pool.map(lambda n, t=turn: take(gatherer, f"{t}-{n}"), range(4)))
                assert gatherer.healthy(), "a lane has ended"
        gatherer.close()
        assert sorted(ids(tmp_path)) == sorted(f"{t}-{n}" for t in range(10) for n in range(4))


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
