"""An app behind the front, on granian, in this process: its loop runs in a thread of its own."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPMessage, HTTPResponse
from typing import TYPE_CHECKING, Any

from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server import Server as Multiprocess
from granian.server.embed import Server

from collector.__main__ import MOST_CONNECTIONS
from collector.front import Front
from tests.system import free_port, wait_for

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# granian's own lines go where all others do, so that `caplog` sees them.
_LOGGING = {"loggers": {"_granian": {"propagate": True}}}


def request(
    method: str, path: str, body: bytes = b"", *, length: int | None = None, **headers: str
) -> bytes:
    """A request as it goes over the wire. length: to announce more than there is"""
    lines = [f"{method} {path} HTTP/1.1", "Host: collector.example"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if "Transfer_Encoding" not in headers:
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunks(*parts: bytes) -> bytes:
    """Parts of a chunked body, without its end."""
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)


END = b"0\r\n\r\n"  # of a chunked body
LARGE = bytes(300 << 10)  # more than shares a thread
NOISE = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(2_000))  # does not compress


@dataclass(frozen=True)
class Answer:
    status: int
    headers: HTTPMessage
    body: bytes


class Connection:
    """A client that sends bytes as they are."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)

    def send(self, data: bytes) -> Connection:
        self._socket.sendall(data)
        return self

    def answer(self, method: str = "POST") -> Answer:
        with HTTPResponse(self._socket, method=method) as response:
            response.begin()
            return Answer(response.status, response.headers, response.read())

    def close(self) -> None:
        self._socket.close()


class Served:
    """A running server."""

    def __init__(self, app: WSGIApplication, **options: Any) -> None:
        given = {"threads": 4, "max_bytes": 5 << 20, "busy_after_s": 0.05, **options}
        self.front = Front(app, self._count, **given)
        self.port, self.turned_away = free_port(), 0
        self.wrong: list[dict[str, Any]] = []
        self.open = ExitStack()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def connect(self) -> Connection:
        """A connection that is closed at the end."""
        connection = Connection(self.port)
        self.open.callback(connection.close)
        return connection

    def send(self, data: bytes) -> Connection:
        """The connection on which it was sent."""
        return self.connect().send(data)

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """The answer to a request on a connection of its own."""
        return self.send(request(method, path, body, **headers)).answer(method)

    def start(self) -> None:
        self._thread.start()
        wait_for(lambda: self.connect(), seconds=20, what="granian")

    def stop(self) -> None:
        self.open.close()
        self.loop.call_soon_threadsafe(self._server.stop)
        self._thread.join()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(lambda _, what: self.wrong.append(what))
        self._server = Server(
            self.front,
            port=self.port,
            interface=Interfaces.RSGI,
            backpressure=MOST_CONNECTIONS,
            websockets=False,
            log_dictconfig=_LOGGING,
        )
        await self._server.serve()

    def _count(self) -> None:
        self.turned_away += 1


@contextmanager
def on_granian(app: WSGIApplication, **options: Any) -> Iterator[Served]:
    """The app, served. Nothing may go wrong in the loop itself. options: of Front"""
    served = Served(app, **options)
    served.start()
    try:
        yield served
    finally:
        served.stop()
    assert served.wrong == []


def echo(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answers with what it was told, and where it ran."""
    body = environ["wsgi.input"].read()
    told = {name: value for name, value in environ.items() if isinstance(value, str)}
    said = json.dumps(
        {"told": told, "digest": hashlib.sha256(body).hexdigest(), "thread": threading.get_ident()}
    ).encode()
    start_response("200 OK", [("Content-Type", "text/x-echo"), ("Content-Length", str(len(said)))])
    return [said]


def serve_bare(port: int) -> None:
    """`echo` on granian without the front, until SIGTERM."""
    Multiprocess(
        "tests.collector.served:echo",
        port=port,
        interface=Interfaces.WSGI,
        log_level=LogLevels.error,
    ).serve()


if __name__ == "__main__":
    serve_bare(int(sys.argv[1]))
