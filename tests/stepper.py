"""Threads that are moved by hand, a line at a time, to try interleavings one by one."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any


class Stepper:
    """Runs `run` in a thread of its own, which stops before each line of `module`."""

    _here = threading.local()

    def __init__(self, run: Callable[[], Any], module: ModuleType) -> None:
        self._file = module.__file__
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._ended = False
        self._thread = threading.Thread(target=self._trace, args=(run,))
        self._thread.start()
        self._stopped.acquire()

    def step(self) -> None:
        """One line further."""
        if not self._ended:
            self._go.release()
            self._stopped.acquire()

    def finish(self) -> None:
        """To its end."""
        while not self._ended:
            self.step()
        self._thread.join()

    @classmethod
    def pause(cls) -> None:
        """A step that is no line of the code looked at."""
        stepper: Stepper = cls._here.stepper
        stepper._stopped.release()
        stepper._go.acquire()

    def _trace(self, run: Callable[[], Any]) -> None:
        self._here.stepper = self
        self.pause()
        sys.settrace(
            lambda frame, *_: self._line if frame.f_code.co_filename == self._file else None
        )
        try:
            run()
        finally:
            sys.settrace(None)
            self._ended = True
            self._stopped.release()

    def _line(self, _: Any, event: str, __: Any) -> Any:
        if event == "line":
            self.pause()
        return self._line
