"""A proxy of our own before the real collector: forwards bytes, and fails when it is told to."""

from __future__ import annotations

import http.client
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Fault:
    """An answer of the proxy's own.

    stored: the collector gets the request first, and the client never learns of it
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    stored: bool = False


@dataclass(frozen=True)
class Seen:
    """One request: when it came (monotonic seconds), its path, body and headers, the answer."""

    at: float
    path: str
    body: bytes
    headers: dict[str, str]
    status: int


class FaultyProxy:
    """Forwards to 127.0.0.1:`port`; use as a context manager."""

    def __init__(self, port: int, *faults: Fault) -> None:
        self.seen: list[Seen] = []
        self.faults = deque(faults)
        self._port = port
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> FaultyProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def statuses(self) -> list[int]:
        return [seen.status for seen in self.seen]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"  # a connection a request: none is left open at the end

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                fault = proxy.faults.popleft() if proxy.faults else None
                answer: tuple[int, dict[str, str], bytes]
                if fault is None or fault.stored:
                    answer = proxy.forward(self.path, body, dict(self.headers))
                    assert fault is None or answer[0] == 200
                if fault is not None:
                    text = b'{"code":"fault","message":"from the proxy","detail":"from the proxy"}'
                    answer = (fault.status, fault.headers, text)
                proxy.seen.append(
                    Seen(time.monotonic(), self.path, body, dict(self.headers), answer[0])
                )
                self._send(*answer)

            def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        return Handler

    def forward(
        self, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            passed = ("content-type", "retry-after")
            kept = {n: v for n, v in answer.getheaders() if n.lower() in passed}
            return answer.status, kept, answer.read()
        finally:
            connection.close()
