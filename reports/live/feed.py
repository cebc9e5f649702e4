"""Pushes live numbers to pages: one reader a subject and process, however many look.

A stream is a sequence of server-sent events (https://html.spec.whatwg.org/#server-sent-events). It
ends by itself after STREAM_S, and the browser opens the next; so a reader that has gone is noticed,
and a process that is to stop need not wait for readers.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec

log = logging.getLogger(__name__)

MOST_STREAMS = 40  # of a process and feed: each takes a thread of the server
STREAM_S = 60.0
_BEAT_S = 5.0
_AGAIN_MS = 500

S = TypeVar("S", bound=Hashable)
Reader = Callable[[S], dict[str, Any]]


@dataclass
class _Channel:
    """What was read last of a subject, by the name of the event, with its version."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    messages: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    version: int = 0
    looking: int = 0
    is_read: bool = False


class TooMany(Exception):
    """All streams are taken; a page that is refused asks now and then instead."""


class _Stream:
    """A stream that says when it is over, also where nobody ever read of it."""

    def __init__(self, events: Iterator[bytes], left: Callable[[], None]) -> None:
        self._events, self._left, self._is_over = events, left, False

    def __iter__(self) -> _Stream:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._events)
        except StopIteration:
            self.close()
            raise

    def close(self) -> None:
        """The server calls it, whatever became of the reader."""
        if not self._is_over:
            self._is_over = True
            self._left()

    __del__ = close


class Feed(Generic[S]):
    """Streams by subject: a project, or a project as some of its readers may see it.

    readers: event -> how it is read and how often, in s. An event is sent when it has changed.
    """

    def __init__(
        self, readers: Mapping[str, tuple[Reader[S], float]], stream_s: float = STREAM_S
    ) -> None:
        self._readers, self._stream_s = dict(readers), stream_s
        self._channels: dict[S, _Channel] = {}
        self._lock = threading.Lock()

    @property
    def looking(self) -> int:
        """Streams that are open."""
        with self._lock:
            return sum(channel.looking for channel in self._channels.values())

    def stream(self, subject: S) -> Iterator[bytes]:
        """Events of a subject until the stream is over. Raises TooMany, at once."""
        with self._lock:
            if sum(channel.looking for channel in self._channels.values()) >= MOST_STREAMS:
                raise TooMany
            channel = self._channels.setdefault(subject, _Channel())
            channel.looking += 1
            if not channel.is_read:
                channel.is_read = True
                threading.Thread(
                    target=self._read, args=(subject, channel), daemon=True, name=f"live-{subject}"
                ).start()
        return _Stream(self._events(channel), lambda: self._left(channel))

    def _left(self, channel: _Channel) -> None:
        with self._lock:
            channel.looking -= 1

    def _events(self, channel: _Channel) -> Iterator[bytes]:
        yield f"retry: {_AGAIN_MS}\n\n".encode()
        seen, ends = 0, time.monotonic() + self._stream_s
        while (left := ends - time.monotonic()) > 0:
            with channel.changed:
                if channel.version == seen:
                    channel.changed.wait(min(left, _BEAT_S))
                new = [m for m in channel.messages.items() if m[1][0] > seen]
                seen = channel.version
            # A line of its own, so that both ends notice when the other has gone.
            yield b"".join(_event(name, body) for name, (_, body) in new) or b": beat\n\n"

    def _read(self, subject: S, channel: _Channel) -> None:
        """Read for as long as somebody looks."""
        due = dict.fromkeys(self._readers, 0.0)
        while self._goes_on(subject, channel):
            for name, (read, every_s) in self._readers.items():
                if time.monotonic() < due[name]:
                    continue
                due[name] = time.monotonic() + every_s
                try:
                    body = msgspec.json.encode(read(subject))
                except Exception as error:
                    log.exception("live numbers could not be read: %s", type(error).__name__)
                    body = msgspec.json.encode({"message": f"{name} cannot be read now"})
                    name = "problem"
                self._publish(channel, name, body)
            time.sleep(max(0.05, min(due.values()) - time.monotonic()))

    def _goes_on(self, subject: S, channel: _Channel) -> bool:
        with self._lock:
            if channel.looking:
                return True
            channel.is_read = False
            self._channels.pop(subject, None)
            return False

    @staticmethod
    def _publish(channel: _Channel, name: str, body: bytes) -> None:
        with channel.changed:
            if channel.messages.get(name, (0, b""))[1] == body:
                return
            channel.version += 1
            channel.messages[name] = (channel.version, body)
            channel.changed.notify_all()


def _event(name: str, body: bytes) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + body + b"\n\n"
