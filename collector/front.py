"""The Flask app as granian serves it: requests that bring events share the event loop's thread.

A thread per request spent more time handing over the interpreter's lock than working (ADR 9). Here
a request runs until it waits for its block, lets the others go on, and is answered when the block
is durable. What is large or may take its time gets a thread of its own.
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]

from collector.body import is_compressed
from collector.crowd import refusal
from collector.waiting import Bell, Shared

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment
    from granian.rsgi import HTTPProtocol, Scope  # type: ignore[attr-defined]

_BEAT_S = 0.005
_MOST_SHARED_BYTES = 256 << 10  # larger bodies hold the loop up for more than a millisecond or so
_MOST_SHARED_COMPRESSED_BYTES = 32 << 10
_MOST_HELD_BYTES = 64 << 20  # of large bodies at once: they take memory, and the last one waits
_IN_A_THREADS_TURN = 4  # requests that a thread has or that wait for it; more would wait too long
_Answer = tuple[int, list[tuple[str, str]], bytes]


class Front:
    """app: called with WSGI's interface

    turned_away:  told of each request that is refused for being one too many
    threads:      for requests that do not share the loop's
    max_bytes:    a body beyond it is not read to its end
    busy_after_s: how far the loop may lag before requests with events are refused
    """

    def __init__(
        self,
        app: WSGIApplication,
        turned_away: Callable[[], None],
        *,
        threads: int,
        max_bytes: int,
        busy_after_s: float,
    ) -> None:
        self._app, self._turned_away = app, turned_away
        self._max_bytes, self._busy_after_s = max_bytes, busy_after_s
        self._most_held, self._held = max(_MOST_HELD_BYTES, max_bytes), 0
        self._most_in_threads, self._in_threads = _IN_A_THREADS_TURN * threads, 0
        self._pool = ThreadPoolExecutor(threads, "request")

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._bell = loop, Bell(loop)
        self._beat()

    async def __rsgi__(self, scope: Scope, protocol: HTTPProtocol) -> None:
        """One request."""
        with suppress(ProtocolClosed):  # the client is gone in the middle of its body
            if scope.method == "POST":
                answer = await self._posted(scope, protocol)
            else:
                answer = await self._in_thread(scope, b"")
            protocol.response_bytes(*answer)

    def _is_busy(self) -> bool:
        return self._loop.time() - self._beaten_at > self._busy_after_s

    def _beat(self) -> None:
        """How long ago the last beat is says how long the loop takes to come to what waits."""
        self._beaten_at = self._loop.time()
        self._loop.call_later(_BEAT_S, self._beat)

    async def _posted(self, scope: Scope, protocol: HTTPProtocol) -> _Answer:
        if self._is_busy():
            return self._refuse(scope)
        length = scope.headers.get("content-length") or ""
        announced = int(length) if length.isdecimal() else None
        if announced is None or _MOST_SHARED_BYTES < announced <= self._max_bytes:
            return await self._in_parts(scope, protocol, announced or 0)
        # What is announced as too much is not read: by its length the app sees what it is.
        return await self._work(scope, await protocol() if announced <= self._max_bytes else b"")

    async def _in_parts(self, scope: Scope, protocol: HTTPProtocol, announced: int) -> _Answer:
        """A body that is large, or may be: chunked."""
        parts, size = [], 0
        try:
            async for part in protocol:
                parts.append(part)
                size += len(part)
                self._held += len(part)
                if self._held > self._most_held:
                    return self._refuse(scope)
                if size > self._max_bytes:  # enough for the app to see that it is too much
                    break
            if size < announced:
                raise ProtocolClosed  # the parts of a body that breaks off end like any others
            body = b"".join(parts)
            parts.clear()
            return await self._work(scope, body)
        finally:
            self._held -= size

    async def _work(self, scope: Scope, body: bytes) -> _Answer:
        if self._is_busy():  # asked again: since then came all that was sent at the same time
            return self._refuse(scope)
        compressed = "content-encoding" in scope.headers or is_compressed(body)
        if len(body) <= (_MOST_SHARED_COMPRESSED_BYTES if compressed else _MOST_SHARED_BYTES):
            request = Shared(self._answer, self._bell, self._pool)
            answer: _Answer = await request.result(environ_of(scope, body))
            return answer
        if self._in_threads >= self._most_in_threads:
            return self._refuse(scope)
        return await self._in_thread(scope, body)

    async def _in_thread(self, scope: Scope, body: bytes) -> _Answer:
        environ = environ_of(scope, body)
        self._in_threads += 1
        try:
            return await self._loop.run_in_executor(self._pool, self._answer, environ)
        finally:
            self._in_threads -= 1

    def _refuse(self, scope: Scope) -> _Answer:
        self._turned_away()
        return refusal(scope.headers.get("origin"))

    def _answer(self, environ: WSGIEnvironment) -> _Answer:
        """What the app says: (status, headers, body)."""
        said: list[tuple[str, list[tuple[str, str]]]] = []

        def start(status: str, headers: list[tuple[str, str]], _: Any = None) -> Callable[..., Any]:
            said.append((status, headers))
            return said.append

        parts = self._app(environ, start)
        try:
            body = b"".join(parts)
        finally:
            if close := getattr(parts, "close", None):
                close()
        status, headers = said[-1]
        return int(status[:3]), headers, body


def environ_of(scope: Scope, body: bytes) -> WSGIEnvironment:
    """The request as PEP 3333 has it."""
    host, _, port = scope.server.rpartition(":")
    address = scope.client.rpartition(":")[0]
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string.encode().decode("latin-1"),
        "SERVER_NAME": host.strip("[]"),
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": address.strip("[]"),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.input_terminated": True,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    headers = scope.headers
    own, names = len(environ), headers.keys()
    for name, value in headers.items():
        key = _variable(name)
        known = environ.get(key)
        environ[key] = value if known is None else f"{known},{value}"
    if len(environ) < own + len(names):  # a value that is no visible ASCII is not among the items
        for name in names:
            environ.setdefault(_variable(name), "")
    if scope.authority is not None:
        environ.setdefault("HTTP_HOST", scope.authority)
    return environ


@lru_cache(1_024)
def _variable(header: str) -> str:
    name = header.upper().replace("-", "_")
    return name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"
