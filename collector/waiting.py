"""Waiting without holding a thread: many requests share one, each as a greenlet of its own.

Code that waits looks the same wherever it runs. In a request that shares the thread of the event
loop (`collector.front`), `signal` and `aside` give the thread to the others meanwhile; in any other
thread they block it.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Protocol, TypeVar

from greenlet import getcurrent, greenlet

T = TypeVar("T")


class Signal(Protocol):
    """Set once, by any thread; waited for once, by the one that asked for it."""

    def set(self) -> None:
        """The thing waited for is there."""

    def wait(self) -> None:
        """Return when it is set, or if it was."""


class Bell:
    """Wakes requests from other threads: once a block, not once a request."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._rung = loop, False
        self._due: deque[asyncio.Future[None]] = deque()

    def ring(self, future: asyncio.Future[None]) -> None:
        """Have the loop finish it."""
        self._due.append(future)
        if not self._rung:
            self._rung = True
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:  # the loop has ended, and with it whoever could be answered
                self._due.clear()

    def _wake(self) -> None:
        self._rung = False  # before the first is taken: who comes later rings again
        while self._due:
            future = self._due.popleft()
            if not future.done():
                future.set_result(None)


class Shared(greenlet):
    """A request that shares the loop's thread. `run` is what it does."""

    def __init__(self, run: Callable[..., Any], bell: Bell, pool: Executor) -> None:
        super().__init__(run)
        self.bell, self.pool = bell, pool
        self.loop = asyncio.get_running_loop()

    async def result(self, *arguments: Any) -> Any:
        """What `run` returns or raises; the loop goes on whenever it waits."""
        found = self.switch(*arguments)
        while not self.dead:
            try:
                await found
            except asyncio.CancelledError:
                self.throw()  # nobody waits for the answer: it ends where it is and cleans up
                raise
            except Exception:  # `aside` raises it in the request, which may have a remedy
                pass
            found = self.switch()
        return found

    def pause(self, future: asyncio.Future[Any]) -> None:
        """Come back when it is done."""
        assert self.parent is not None
        self.parent.switch(future)


class _InLoop:
    __slots__ = ("_future", "_request")

    def __init__(self, request: Shared) -> None:
        self._request = request
        self._future: asyncio.Future[None] = request.loop.create_future()

    def set(self) -> None:
        self._request.bell.ring(self._future)

    def wait(self) -> None:
        self._request.pause(self._future)


class _InThread:
    """A lock held until it is set: cheaper than an Event."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        self._lock.release()

    def wait(self) -> None:
        self._lock.acquire()


def signal() -> Signal:
    """A new one for the request or thread that asks."""
    here = getcurrent()
    return _InLoop(here) if isinstance(here, Shared) else _InThread()


def aside(work: Callable[[], T]) -> T:
    """What `work` returns or raises; done where it may block, such as by asking the catalogue.

    `work` has no Flask request around it. Hold no lock meanwhile: another request may want it.
    """
    here = getcurrent()
    if not isinstance(here, Shared):
        return work()
    future = here.loop.run_in_executor(here.pool, work)
    here.pause(future)
    return future.result()
