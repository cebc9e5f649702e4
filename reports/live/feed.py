"""Pushes live numbers to pages: one reader a subject and process, however many look.

A stream is a sequence of server-sent events (https://html.spec.whatwg.org/#server-sent-events):

    live, tiles, …  {...}                       what was read, whenever it has changed
    problem         {"event": …, "message": …}  the event cannot be read now
    beat            [event, …]                  these were read just now and are as last sent

A page that hears no beat of an event shows old numbers: a comment would not do, as a browser keeps
those to itself. A stream ends by itself after STREAM_S, and the browser opens the next; so a reader
that has gone is noticed, and a process that is to stop need not wait for readers.
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
_BEAT_S = 2.0
_LATE_S = 4.0  # what was not read anew for so long beyond its time is not of now
_AGAIN_MS = 500

S = TypeVar("S", bound=Hashable)
Reader = Callable[[S], dict[str, Any]]


@dataclass(frozen=True)
class _Message:
    """What was said last of an event: what was read, or that it could not be."""

    version: int
    body: bytes
    is_problem: bool


@dataclass
class _Channel:
    """What was read last of a subject, by the name of the event, and when (s, monotonic)."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    messages: dict[str, _Message] = field(default_factory=dict)
    read_at: dict[str, float] = field(default_factory=dict)
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
        sent: dict[str, int] = {}
        now = time.monotonic()
        ends, beats = now + self._stream_s, now + _BEAT_S
        while (now := time.monotonic()) < ends:
            with channel.changed:
                if not self._news(channel, sent):
                    channel.changed.wait(max(0.0, min(ends, beats) - now))
                news = self._news(channel, sent)
                fresh = self._fresh(channel)
            sent |= {name: message.version for name, message in news.items()}
            events = [_event("problem" if m.is_problem else n, m.body) for n, m in news.items()]
            if time.monotonic() >= beats:
                beats = time.monotonic() + _BEAT_S
                events.append(_event("beat", msgspec.json.encode(fresh)))
            if events:
                yield b"".join(events)

    def _fresh(self, channel: _Channel) -> list[str]:
        """Events that stand as they were last sent."""
        now = time.monotonic()
        return [
            name
            for name, message in channel.messages.items()
            if not message.is_problem
            and now - channel.read_at[name] < self._readers[name][1] + _LATE_S
        ]

    def _news(self, channel: _Channel, sent: Mapping[str, int]) -> dict[str, _Message]:
        """What a stream has not said yet. Whoever comes late gets no old numbers as new ones."""
        fresh = self._fresh(channel)
        return {
            name: message
            for name, message in channel.messages.items()
            if message.version != sent.get(name) and (message.is_problem or name in fresh)
        }

    def _read(self, subject: S, channel: _Channel) -> None:
        """Read for as long as somebody looks."""
        due = dict.fromkeys(self._readers, 0.0)
        while self._goes_on(subject, channel):
            for name, (read, every_s) in self._readers.items():
                if time.monotonic() < due[name]:
                    continue
                due[name] = time.monotonic() + every_s
                try:
                    body, is_problem = msgspec.json.encode(read(subject)), False
                except Exception as error:
                    log.exception("live numbers could not be read: %s", type(error).__name__)
                    said = {"event": name, "message": f"{name} cannot be read now"}
                    body, is_problem = msgspec.json.encode(said), True
                self._publish(channel, name, body, is_problem=is_problem)
            time.sleep(max(0.05, min(due.values()) - time.monotonic()))

    def _goes_on(self, subject: S, channel: _Channel) -> bool:
        with self._lock:
            if channel.looking:
                return True
            channel.is_read = False
            self._channels.pop(subject, None)
            return False

    @staticmethod
    def _publish(channel: _Channel, name: str, body: bytes, *, is_problem: bool) -> None:
        """A problem takes the place of what was read, and the other way round."""
        with channel.changed:
            channel.read_at[name] = time.monotonic()
            last = channel.messages.get(name)
            if last is not None and (last.body, last.is_problem) == (body, is_problem):
                return
            channel.version += 1
            channel.messages[name] = _Message(channel.version, body, is_problem)
            channel.changed.notify_all()


def _event(name: str, body: bytes) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + body + b"\n\n"
