"""Blocks for buses: split before they are numbered, numbers without gaps, none of them twice."""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from collector.bus.carrier import BusDown
from collector.bus.numbered import NumberedPublisher
from collector.bus.port import BusError, BusState
from tests.collector.blocks import decoded
from tests.contracts.publisher import event, letter, send


class Shelf:
    """A carrier that keeps blocks in memory, and fails when it is told to."""

    max_block_bytes = 200_000

    def __init__(self) -> None:
        self.blocks: list[tuple[str, bytes]] = []
        self.calls: list[int] = []
        self.fails: list[str] = []  # for each send to come: "", "before" or "after" it arrived
        self.lock = threading.Lock()

    def send(self, topic: str, blocks: Sequence[bytes]) -> None:
        with self.lock:
            how = self.fails.pop() if self.fails else ""
            if how != "before":
                self.blocks += [(topic, data) for data in blocks]
            self.calls.append(len(blocks))
        if how:
            raise BusDown(how)

    def healthy(self) -> bool:
        return True

    def state(self) -> BusState:
        return BusState()

    def close(self) -> None: ...

    def metas(self, topic: str = "events") -> list[dict[str, Any]]:
        return [decoded(data)[0] for name, data in self.blocks if name == topic]

    def rows(self, topic: str = "events") -> list[dict[str, Any]]:
        return [row for name, data in self.blocks if name == topic for row in decoded(data)[1]]


def publisher(shelf: Shelf, lanes: int = 1, block_bytes: int = 10_000) -> NumberedPublisher:
    return NumberedPublisher(shelf, lanes=lanes, block_bytes=block_bytes)


def noise(size: int) -> str:
    """Text that does not compress below half."""
    return os.urandom(size // 2).hex()


class TestSplitting:
    @pytest.mark.parametrize("rows", [1, 2, 3, 57, 400])
    def test_no_block_is_larger_and_every_row_is_there_in_order(self, rows) -> None:
        shelf = Shelf()
        sent = [event(f"{n}") | {"properties": f'"{noise(n * 7 % 3_000)}"'} for n in range(rows)]
        send(publisher(shelf), sent, [letter("x")])
        assert all(len(data) <= 10_000 for _, data in shelf.blocks)
        assert shelf.rows() == sent
        metas = shelf.metas()
        assert [m["seq"] for m in metas] == list(range(len(metas)))
        assert [m["first_row"] for m in metas] == [
            sum(m["count"] for m in metas[:at]) for at in range(len(metas))
        ]
        assert [m["rejected"] for m in metas] == [1] + [0] * (len(metas) - 1)
        assert len(metas) <= 3 * (sum(len(d) for _, d in shelf.blocks) / 10_000 + 1)

    def test_one_request_to_the_bus_for_all_of_them(self) -> None:
        shelf = Shelf()
        send(publisher(shelf), [event(f"{n}") | {"name": noise(4_000)} for n in range(20)], [])
        assert shelf.calls == [len(shelf.blocks)]
        assert len(shelf.blocks) > 1

    def test_a_row_that_alone_is_larger_goes_alone(self) -> None:
        shelf = Shelf()
        sent = [event("a"), event("large") | {"name": noise(100_000)}, event("b")]
        send(publisher(shelf), sent, [])
        assert shelf.rows() == sent
        large = [m["count"] for m, data in zip(shelf.metas(), shelf.blocks, strict=True)
                 if len(data[1]) > 10_000]  # fmt: skip
        assert large == [1]

    def test_a_row_that_no_message_can_hold_is_an_error_before_anything_is_sent(self) -> None:
        shelf = Shelf()
        made = publisher(shelf)
        huge = event("huge") | {"name": noise(600_000)}
        with pytest.raises(ValueError, match="HEADWATER_MAX_EVENT_BYTES"):
            send(made, [event("a"), huge], [letter("x")])
        assert shelf.blocks == []
        send(made, [event("a")], [])
        assert [m["seq"] for m in shelf.metas()] == [0]

    def test_an_original_that_no_message_can_hold_is_cut_and_says_so(self) -> None:
        shelf = Shelf()
        original = os.urandom(300_000)
        send(publisher(shelf), [], [letter("small"), letter("huge") | {"original": original}])
        small, huge = shelf.rows("dead_letters")
        assert small == {k: v for k, v in letter("small").items() if v is not None}
        room = len(huge["original"])
        assert room > 100_000
        assert original.startswith(huge["original"])
        assert huge["message"] == f"é (cut to {room} of 300000 bytes)"


class TestFailures:
    def test_what_cannot_be_encoded_sends_nothing_and_uses_no_number(self) -> None:
        shelf = Shelf()
        made = publisher(shelf)
        without_time = {k: v for k, v in event("bad").items() if k != "received_time"}
        with pytest.raises(Exception, match="received_time"):
            send(made, [without_time], [letter("x")])
        assert shelf.blocks == []

    def test_a_number_of_unknown_fate_is_never_used_again(self) -> None:
        shelf = Shelf()
        made = publisher(shelf)
        send(made, [event("a")], [])
        shelf.fails = ["after"]
        with pytest.raises(BusDown):
            send(made, [event("b")], [])
        send(made, [event("b again")], [])
        assert [(m["seq"], m["count"]) for m in shelf.metas()] == [(0, 1), (1, 1), (0, 1)]
        assert len({m["producer"] for m in shelf.metas()}) == 2

    @pytest.mark.parametrize("seed", range(5))
    def test_no_gap_and_no_number_twice_whatever_fails(self, seed) -> None:
        shelf, luck = Shelf(), random.Random(seed)
        shelf.fails = [luck.choice(["", "", "before", "after"]) for _ in range(400)]
        made = publisher(shelf, lanes=4)
        answered: list[str] = []

        def run(thread: int) -> None:
            for n in range(50):
                name = f"{thread}-{n}"
                try:
                    send(made, [event(name)], [letter(name)] if n % 3 == 0 else [])
                except BusError:
                    continue
                answered.append(name)

        threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(answered) <= {row["event_id"] for row in shelf.rows()}
        for topic in ("events", "dead_letters"):
            numbers = Counter((m["producer"], m["seq"]) for m in shelf.metas(topic))
            assert set(numbers.values()) == {1}
            highest = {p: max(n for q, n in numbers if q == p) for p, _ in numbers}
            assert len(numbers) == sum(n + 1 for n in highest.values()), "no gap"
        assert len(answered) > 50

    def test_after_a_restart_no_name_comes_again(self) -> None:
        shelf = Shelf()
        for _ in range(3):
            made = publisher(shelf)
            send(made, [event("a")], [])
            made.close()
        assert len({m["producer"] for m in shelf.metas()}) == 3
