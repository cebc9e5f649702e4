"""Requests that share the loop's thread: who waits gives it up, and nobody is forgotten.

On a real asyncio loop and real threads. Only where every interleaving is tried is the loop one that
is moved by hand, step by step.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import permutations, product
from queue import SimpleQueue
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector import waiting as waiting_module
from collector.waiting import Bell, Shared, Signal, aside, signal
from tests.stepper import Stepper


class Loop(asyncio.SelectorEventLoop):
    """asyncio's own, which counts how often other threads woke it."""

    def __init__(self) -> None:
        super().__init__()
        self.woken = 0

    def call_soon_threadsafe(self, *given: Any, **named: Any) -> asyncio.Handle:
        self.woken += 1
        return super().call_soon_threadsafe(*given, **named)


class Desk:
    """Starts requests on the running loop."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.loop, self.pool = asyncio.get_running_loop(), pool
        self.bell = Bell(self.loop)
        self.thread = threading.get_ident()

    def start(self, run: Callable[..., Any], *arguments: Any) -> asyncio.Task[Any]:
        return self.loop.create_task(Shared(run, self.bell, self.pool).result(*arguments))

    async def all(self, *runs: Callable[[], Any]) -> list[Any]:
        return await asyncio.wait_for(asyncio.gather(*map(self.start, runs)), 20)


def on_loop(story: Callable[[Desk], Any]) -> Any:
    """Tell the story on a loop; what it returns. Nothing may go wrong in the loop itself."""
    wrong: list[dict[str, Any]] = []

    async def told() -> Any:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: wrong.append(what))
        with ThreadPoolExecutor(4) as pool:
            return await story(Desk(pool))

    def run() -> Any:
        with asyncio.Runner(loop_factory=Loop) as runner:
            return runner.run(told())

    # In a thread of its own: in this one a browser of other tests may have its loop running.
    with ThreadPoolExecutor(1) as thread:
        found = thread.submit(run).result()
    assert wrong == []
    return found


class TestShared:
    def test_who_waits_lets_the_others_run(self) -> None:
        said: list[str] = []
        signals: list[Signal] = []

        def first() -> str:
            said.append("first begins")
            signals.append(signal())
            signals[0].wait()
            said.append("first goes on")
            return "one"

        def second() -> str:
            said.append("second begins")
            threading.Thread(target=signals[0].set).start()
            return "two"

        assert on_loop(lambda desk: desk.all(first, second)) == ["one", "two"]
        assert said == ["first begins", "second begins", "first goes on"]

    def test_it_is_the_thread_of_the_loop_before_and_after(self) -> None:
        def run() -> set[int]:
            before, done = threading.get_ident(), signal()
            threading.Thread(target=done.set).start()
            done.wait()
            return {before, threading.get_ident()}

        async def story(desk: Desk) -> bool:
            return await desk.all(run) == [{desk.thread}]

        assert on_loop(story)

    def test_what_is_set_already_is_not_waited_for_long(self) -> None:
        def run() -> str:
            done = signal()
            done.set()
            done.wait()
            return "done"

        assert on_loop(lambda desk: desk.all(run)) == ["done"]

    @pytest.mark.parametrize("waits", [0, 1, 3])
    def test_what_it_raises_comes_out(self, waits: int) -> None:
        def run() -> None:
            for _ in range(waits):
                done = signal()
                done.set()
                done.wait()
            raise LookupError("nothing there")

        with pytest.raises(LookupError, match="nothing there"):
            on_loop(lambda desk: desk.all(run))

    def test_each_has_its_own_context_variables(self) -> None:
        """Flask keeps the request in one."""
        mine: ContextVar[int] = ContextVar("mine")

        def run(number: int) -> int:
            mine.set(number)
            for _ in range(3):
                done = signal()
                threading.Thread(target=done.set).start()
                done.wait()
            return mine.get()

        runs = [lambda n=n: run(n) for n in range(20)]
        assert on_loop(lambda desk: desk.all(*runs)) == list(range(20))

    def test_one_that_is_given_up_cleans_up_and_the_late_signal_harms_nobody(self) -> None:
        ends: list[str] = []
        signals: list[Signal] = []

        def run() -> None:
            signals.append(signal())
            try:
                signals[0].wait()
                ends.append("went on")
            finally:
                ends.append("cleaned up")

        async def story(desk: Desk) -> list[Any]:
            task = desk.start(run)
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert ends == ["cleaned up"]
            signals[0].set()
            return await desk.all(lambda: "the next")

        assert on_loop(story) == ["the next"]

    def test_one_whose_loop_has_ended(self) -> None:
        """A block that becomes durable after the server's end: nobody is left to be told."""
        signals: list[Signal] = []

        def run() -> None:
            signals.append(signal())
            signals[-1].wait()

        async def story(desk: Desk) -> None:
            for _ in range(3):
                desk.start(run)
            await asyncio.sleep(0)

        on_loop(story)
        assert len(signals) == 3
        for late in signals:
            late.set()


class TestTheBell:
    def test_one_ring_wakes_all_of_a_block(self) -> None:
        signals: list[Signal] = []
        loops: list[Loop] = []

        def run(number: int) -> int:
            signals.append(done := signal())
            done.wait()
            return number

        async def story(desk: Desk) -> list[int]:
            loop = desk.loop
            assert isinstance(loop, Loop)
            tasks = [desk.start(run, number) for number in range(300)]
            await asyncio.sleep(0)
            before = loop.woken
            block = threading.Thread(target=lambda: [done.set() for done in signals])
            block.start()
            block.join()  # the loop has had no turn meanwhile
            loops.append(loop)
            assert loop.woken == before + 1
            return await asyncio.wait_for(asyncio.gather(*tasks), 20)

        assert on_loop(story) == list(range(300))

    @settings(max_examples=30, deadline=None)
    @given(
        requests=st.lists(st.integers(1, 4), min_size=1, max_size=40),
        ringers=st.integers(1, 4),
        at_once=st.integers(1, 8),
    )
    def test_none_is_lost_and_none_is_woken_twice(
        self, requests: list[int], ringers: int, at_once: int
    ) -> None:
        """requests: how often each waits; ringers: threads; at_once: signals that one sets in a row

        Threads change every few instructions, so that they meet in the middle of things.
        """
        queues: list[SimpleQueue[Signal | None]] = [SimpleQueue() for _ in range(ringers)]
        woken: Counter[tuple[int, int]] = Counter()

        def ring(queue: SimpleQueue[Signal | None]) -> None:
            held: list[Signal] = []
            while (done := queue.get()) is not None:
                held.append(done)
                if len(held) >= at_once or queue.empty():
                    for each in held:
                        each.set()
                    held.clear()

        def run(number: int) -> int:
            for turn in range(requests[number]):
                done = signal()
                queues[(number + turn) % ringers].put(done)
                done.wait()
                woken[number, turn] += 1
            return number

        threads = [threading.Thread(target=ring, args=(queue,)) for queue in queues]
        with quick_switches():
            for thread in threads:
                thread.start()
            try:
                runs = [lambda n=n: run(n) for n in range(len(requests))]
                found = on_loop(lambda desk: desk.all(*runs))
            finally:
                for queue, thread in zip(queues, threads, strict=True):
                    queue.put(None)
                    thread.join()
        assert found == list(range(len(requests)))
        assert woken == {(n, turn): 1 for n, most in enumerate(requests) for turn in range(most)}

    @pytest.mark.parametrize("order", [*permutations(("first", "second", "loop"))], ids="-".join)
    def test_whatever_the_interleaving(self, order: tuple[str, ...]) -> None:
        """Two threads ring and the loop wakes: each is stopped after each of its lines."""
        for steps in product(range(1, 9), range(1, 9)):
            self.interleaved(order, steps)

    def interleaved(self, order: tuple[str, ...], steps: tuple[int, ...]) -> None:
        """steps: that each one makes before it is the next one's turn; the last may end."""
        loop = asyncio.new_event_loop()
        first, second = loop.create_future(), loop.create_future()
        by_hand = LoopByHand()
        bell = Bell(by_hand)  # type: ignore[arg-type]
        steppers = {
            "first": Stepper(lambda: bell.ring(first), waiting_module),
            "second": Stepper(lambda: bell.ring(second), waiting_module),
            "loop": Stepper(by_hand.run, waiting_module),
        }
        for name, count in zip(order, (*steps, 9), strict=True):
            for _ in range(count):
                steppers[name].step()
        for name in ("second", "first"):
            steppers[name].finish()
        by_hand.ends = True
        steppers["loop"].finish()
        loop.close()
        assert (first.done(), second.done()) == (True, True)


class LoopByHand:
    """Does what it was asked to, in a thread whose every line is a step."""

    def __init__(self) -> None:
        self.asked: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.ends = False

    def call_soon_threadsafe(self, call: Callable[[], None]) -> None:
        self.asked.put(call)

    def run(self) -> None:
        while not (self.ends and self.asked.empty()):
            if self.asked.empty():
                Stepper.pause()
            else:
                self.asked.get()()


@contextmanager
def quick_switches() -> Iterator[None]:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


class TestAside:
    def test_outside_of_a_shared_request_it_is_a_call(self) -> None:
        assert aside(threading.get_ident) == threading.get_ident()
        with pytest.raises(LookupError, match="gone"):
            aside(broken)

    def test_inside_it_blocks_nobody(self) -> None:
        said: list[str] = []
        go_on = threading.Event()

        def slow() -> int:
            ident = aside(lambda: go_on.wait(20) and threading.get_ident())
            said.append("slow is back")
            return ident

        def quick() -> int:
            said.append("quick")
            go_on.set()
            return threading.get_ident()

        async def story(desk: Desk) -> None:
            elsewhere, here = await desk.all(slow, quick)
            assert here == desk.thread != elsewhere

        on_loop(story)
        assert said == ["quick", "slow is back"]

    def test_the_request_may_have_a_remedy_for_what_is_raised(self) -> None:
        def run() -> str:
            try:
                aside(broken)
            except LookupError as error:
                done = signal()
                threading.Thread(target=done.set).start()
                done.wait()  # and it may wait again
                return f"remedied: {error}"
            return "nothing was raised"

        assert on_loop(lambda desk: desk.all(run)) == ["remedied: gone"]

    def test_what_it_has_no_remedy_for_comes_out(self) -> None:
        with pytest.raises(LookupError, match="gone"):
            on_loop(lambda desk: desk.all(lambda: aside(broken)))

    def test_more_of_them_than_there_are_threads(self) -> None:
        runs = [lambda n=n: aside(lambda: n * n) for n in range(50)]
        assert on_loop(lambda desk: desk.all(*runs)) == [n * n for n in range(50)]


def broken() -> None:
    raise LookupError("gone")


class TestASignalInAThread:
    def test_it_blocks_until_it_is_set(self) -> None:
        done, past = signal(), threading.Event()
        thread = threading.Thread(target=lambda: (done.wait(), past.set()))
        thread.start()
        assert not past.wait(0.05)
        done.set()
        thread.join(20)
        assert past.is_set()
