"""Bus and disk queue behind one another: when blocks spill, when they come back, how fast."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from collector.bus import disk_queue, fallback
from collector.bus.carrier import BusDown, BusRefused
from collector.bus.disk_queue import DiskQueue
from collector.bus.fallback import FallbackCarrier
from collector.bus.port import BusFull, BusState
from tests.collector.test_disk_queue import made, number

WAIT_S = 0.2  # what the bus takes to find out that nobody answers


class Bus:
    """In memory: takes blocks, or is away, or refuses."""

    max_block_bytes = 1 << 20
    timeout_s = WAIT_S

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.needs_s = 0.0  # for a send
        self.arrived: list[int] = []
        self.sends = self.checks = 0

    def send(self, topic: str, blocks: Sequence[bytes], timeout_s: float | None = None) -> None:
        self.sends += 1
        self._answer()
        given_s = timeout_s or self.timeout_s
        time.sleep(min(self.needs_s, given_s))
        if self.needs_s > given_s:
            raise BusDown("too slow")
        self.arrived += map(number, blocks)

    def check(self) -> None:
        self.checks += 1
        self._answer()

    def healthy(self) -> bool:
        return True

    def state(self) -> BusState:
        return BusState()

    def close(self) -> None: ...

    def _answer(self) -> None:
        error = self.error
        if isinstance(error, BusDown):
            time.sleep(WAIT_S)
        if error is not None:
            raise error


class World:
    def __init__(self, root: Path, *, max_bytes: int = 1 << 30, rate: float = 1e9) -> None:
        self.bus, self.root = Bus(), root
        queue = DiskQueue(root, max_bytes=max_bytes, segment_bytes=5_000)
        self.carrier = FallbackCarrier(self.bus, queue, drain_bytes_per_s=rate)

    def send(self, *numbers: int) -> None:
        for one in numbers:
            self.carrier.send("events", [made(one)])

    def until(self, true: Callable[[], bool], seconds: float = 5) -> None:
        ends_at = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < ends_at, self.carrier.state()
            time.sleep(0.01)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_queue, "_LOOK_S", 0.05)
    monkeypatch.setattr(fallback, "_REFUSED_S", 0.1)
    monkeypatch.setattr(fallback, "_IDLE_S", 0.1)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made_world = World(tmp_path)
    yield made_world
    made_world.carrier.close()


def test_while_the_bus_is_up_the_queue_is_not_touched(world) -> None:
    world.send(1, 2)
    assert world.bus.arrived == [1, 2]
    assert world.carrier.state() == BusState()
    assert world.carrier.healthy()


def test_one_waits_and_the_others_do_not(world) -> None:
    world.bus.error = BusDown("away")
    began = time.monotonic()
    world.send(1)
    assert time.monotonic() - began >= WAIT_S
    began = time.monotonic()
    world.send(*range(2, 12))
    assert time.monotonic() - began < WAIT_S
    state = world.carrier.state()
    assert (state.bus, state.error, state.queued_blocks) == ("down", "away", 11)
    assert state.spilled_blocks == 11
    assert world.carrier.healthy(), "the queue takes events"


def test_back_in_order_by_itself_and_fresh_ones_go_straight_again(world) -> None:
    world.bus.error = BusDown("away")
    world.send(*range(10))
    world.bus.error = None
    world.until(lambda: world.carrier.state().drained_blocks == 10)
    world.send(10)
    assert world.bus.arrived == list(range(11))
    state = world.carrier.state()
    assert (state.bus, state.error, state.queued_blocks, state.queued_bytes) == ("up", None, 0, 0)
    assert state.spilled_blocks == 10


def test_the_drain_keeps_its_pace_and_fresh_ones_overtake(tmp_path) -> None:
    size = len(made(0))
    world = World(tmp_path, rate=20 * size)  # 20 blocks a second
    world.bus.error = BusDown("away")
    world.send(*range(30))
    world.bus.error = None
    world.until(lambda: bool(world.bus.arrived))
    began = time.monotonic()
    for n in range(100, 110):
        world.send(n)
    assert time.monotonic() - began < 0.5
    assert world.bus.arrived.index(109) < 25, "not behind the whole queue"
    world.until(lambda: world.carrier.state().drained_blocks == 30)
    assert 0.8 < time.monotonic() - began < 3, "30 blocks less the first go, at 20 a second"
    assert [n for n in world.bus.arrived if n < 100] == list(range(30))
    world.carrier.close()


def test_over_a_slow_line_the_queue_is_drained_all_the_same(world) -> None:
    world.bus.needs_s = 5 * WAIT_S
    world.send(*range(5))
    assert world.carrier.state().spilled_blocks == 5
    world.until(lambda: world.bus.arrived == list(range(5)), seconds=10)


def test_what_is_queued_outlives_the_process(tmp_path) -> None:
    world = World(tmp_path)
    world.bus.error = BusDown("away")
    world.send(*range(5))
    world.carrier.close()
    again = World(tmp_path)
    again.until(lambda: again.bus.arrived == list(range(5)))
    again.carrier.close()


@pytest.mark.parametrize("queued", [True, False])
def test_both_fail_and_recover(tmp_path, queued) -> None:
    """Also where the queue never took a block, so that nothing can be drained to find out."""
    size = len(made(0)) + 12
    world = World(tmp_path, max_bytes=size if queued else 10)
    world.bus.error = BusDown("away")
    if queued:
        world.send(0)
    with pytest.raises(BusFull):
        world.send(1)
    assert not world.carrier.healthy()
    world.bus.error = None
    world.until(world.carrier.healthy)
    world.until(lambda: world.carrier.state().queued_blocks == 0)
    world.send(2)
    assert world.bus.arrived == ([0, 2] if queued else [2])
    world.carrier.close()


class TestRefused:
    def test_it_is_never_queued_and_not_ready(self, world) -> None:
        world.bus.error = BusRefused("no topic: create it")
        with pytest.raises(BusRefused):
            world.send(1)
        assert not world.carrier.healthy()
        state = world.carrier.state()
        assert (state.bus, state.error, state.queued_blocks) == (
            "refusing",
            "no topic: create it",
            0,
        )

    def test_it_is_ready_again_when_somebody_has_mended_it(self, world) -> None:
        """Without traffic: nobody sends to a collector that is not ready."""
        world.bus.error = BusRefused("no topic")
        with pytest.raises(BusRefused):
            world.send(1)
        world.bus.error = None
        world.until(world.carrier.healthy)
        assert world.bus.sends == 1

    def test_what_was_queued_before_stays_and_comes(self, world) -> None:
        world.bus.error = BusDown("away")
        world.send(1)
        world.bus.error = BusRefused("no topic any more")
        world.until(lambda: world.carrier.state().bus == "refusing")
        with pytest.raises(BusRefused):
            world.send(2)
        assert world.carrier.state().queued_blocks == 1
        world.bus.error = None
        world.until(lambda: world.bus.arrived == [1])

    def test_a_bug_is_neither_hidden_nor_the_end_of_the_drain(self, world) -> None:
        world.bus.error = BusDown("away")
        world.send(1)
        world.bus.error = TypeError("a bug")
        world.until(lambda: world.carrier.state().bus == "refusing")
        with pytest.raises(TypeError):
            world.send(2)
        world.bus.error = None
        world.until(lambda: world.bus.arrived == [1])


def test_many_threads_while_the_bus_comes_and_goes(tmp_path) -> None:
    world = World(tmp_path)
    stop = threading.Event()

    def flicker() -> None:
        while not stop.wait(0.15):
            world.bus.error = None if world.bus.error else BusDown("away")
        world.bus.error = None

    def sender(thread: int) -> None:
        for n in range(60):
            world.send(thread * 1000 + n)
            time.sleep(0.01)

    flickering = threading.Thread(target=flicker)
    senders = [threading.Thread(target=sender, args=(n,)) for n in range(4)]
    for thread in (flickering, *senders):
        thread.start()
    for thread in senders:
        thread.join()
    stop.set()
    flickering.join()
    world.until(lambda: world.carrier.state().queued_blocks == 0)
    wanted = {thread * 1000 + n for thread in range(4) for n in range(60)}
    assert set(world.bus.arrived) == wanted
    assert world.carrier.state().spilled_blocks > 0
    world.carrier.close()
