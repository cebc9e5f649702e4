"""The front on granian: what the app is told, and who gets which thread.

granian and the loop are real, in this process. Bodies and headers are sent byte by byte as written.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
import zlib
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from backports import zstd

from tests.collector.conftest import wait_until
from tests.collector.served import (
    END,
    LARGE,
    NOISE,
    Connection,
    Served,
    chunks,
    echo,
    on_granian,
    request,
)
from tests.system import System, free_port, wait_for

gz = partial(gzip.compress, mtime=0)  # the same bytes each time: names of tests are made of them

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


@pytest.fixture(scope="module")
def echoing() -> Iterator[Served]:
    with on_granian(echo, busy_after_s=60) as served:
        yield served


def told(served: Served, data: bytes) -> dict[str, str]:
    """The environment of a request."""
    found: dict[str, str] = json.loads(served.send(data).answer().body)["told"]
    return found


class TestWhatTheAppIsTold:
    def test_a_request(self, echoing: Served) -> None:
        asked = request("POST", "/v1/b?writeKey=a%20b&x", b"{}", Content_Type="text/plain")
        assert told(echoing, asked) == {
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/v1/b",
            "QUERY_STRING": "writeKey=a%20b&x",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": str(echoing.port),
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.url_scheme": "http",
            "HTTP_HOST": "collector.example",
            "CONTENT_TYPE": "text/plain",
            "CONTENT_LENGTH": "2",
        }

    def test_headers_that_come_more_than_once(self, echoing: Served) -> None:
        asked = request("POST", "/", X_Forwarded_For="1.1.1.1\r\nX-forwarded-for: 2.2.2.2, 3.3.3.3")
        assert told(echoing, asked)["HTTP_X_FORWARDED_FOR"] == "1.1.1.1,2.2.2.2, 3.3.3.3"

    def test_paths_and_queries_beyond_ascii_are_bytes_as_latin_1(self, echoing: Served) -> None:
        asked = told(
            echoing, request("POST", "/caf%C3%A9/%F0%9F%98%80?q=%C3%A9&r=\N{GRINNING FACE}")
        )
        assert asked["PATH_INFO"].encode("latin-1").decode() == "/café/\N{GRINNING FACE}"
        assert asked["QUERY_STRING"].encode("latin-1").decode() == "q=%C3%A9&r=\N{GRINNING FACE}"

    def test_a_value_that_is_no_visible_ascii_is_empty_and_not_absent(
        self, echoing: Served
    ) -> None:
        """granian shows no such value, under WSGI as here; SP-Anonymous counts by being there."""
        asked = told(echoing, request("POST", "/", User_Agent="M\xfcller/1", SP_Anonymous="\xfc"))
        assert (asked["HTTP_USER_AGENT"], asked["HTTP_SP_ANONYMOUS"]) == ("", "")

    @pytest.mark.parametrize(
        ("first_line", "host"),
        [
            ("POST / HTTP/1.0\r\nHost: h:81", "h:81"),
            ("POST http://other:82/ HTTP/1.0", "other:82"),
            ("POST / HTTP/1.0", None),
        ],
    )
    def test_the_host(self, echoing: Served, first_line: str, host: str | None) -> None:
        asked = told(echoing, f"{first_line}\r\nContent-Length: 0\r\n\r\n".encode())
        assert asked.get("HTTP_HOST") == host
        assert "CONTENT_TYPE" not in asked

    def test_a_chunked_body_has_no_length(self, echoing: Served) -> None:
        asked = request("POST", "/", chunks(b"{}") + END, Transfer_Encoding="chunked")
        assert "CONTENT_LENGTH" not in told(echoing, asked)
        both = asked.replace(b"\r\n", b"\r\nContent-Length: 1\r\n", 1)
        assert "CONTENT_LENGTH" not in told(echoing, both)


# Beside what is shown above: what granian itself makes of a request for a WSGI app.
COMPARED = [
    request("POST", "/v1/b?a=%20b&c", b"{}", Content_Type="text/plain", Authorization="Basic YTo="),
    request("POST", "//a//b/../c%2Fd%00%7e;x?%00=+%zz"),
    request("POST", "*"),
    request("POST", "/?q=\N{GRINNING FACE}", Origin="null", DNT="1", X_Ray="\u00fc"),
    request("POST", "/", Cookie="a=1; b=2", X_A="1\r\nx-a: 3, 4"),
    request("POST", "/", chunks(b"{", b"}") + END, Transfer_Encoding="chunked"),
    b"POST / HTTP/1.1\r\nHost: h:1\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
    b"POST http://other:82/p HTTP/1.0\r\nContent-Length: 0\r\n\r\n",
]


@pytest.mark.journey
def test_it_is_what_granians_own_wsgi_says(echoing: Served, tmp_path: Path) -> None:
    with System(tmp_path) as system:
        port = free_port()
        system.start("echo", "tests.collector.served", str(port))
        wait_for(lambda: Connection(port).close() is None, seconds=30, what="granian")
        for data in COMPARED:
            connection = Connection(port)
            own = json.loads(connection.send(data).answer().body)["told"]
            connection.close()
            ours = {**told(echoing, data), "SERVER_PORT": str(port)}
            sent = {n for n in own if n.startswith(("HTTP_", "CONTENT_"))} | ours.keys()
            assert ours == {name: own.get(name) for name in sent}, data


SMALL = bytes(300)


class TestWhoGetsAThread:
    @pytest.mark.parametrize(
        ("body", "headers", "has_thread"),
        [
            (b"", {}, False),
            (SMALL, {}, False),
            (bytes(200 << 10), {}, False),
            (LARGE, {}, True),
            (gz(SMALL), {"Content_Encoding": "gzip"}, False),
            (gz(NOISE), {"Content_Encoding": "gzip"}, True),
            (gz(NOISE), {}, True),
            (zstd.compress(NOISE), {}, True),
            (zlib.compress(NOISE), {"Content_Encoding": "deflate"}, True),
        ],
    )
    @pytest.mark.parametrize("chunked", [False, True])
    def test_a_body(
        self, echoing: Served, body: bytes, headers: dict[str, str], has_thread: bool, chunked: bool
    ) -> None:
        sent = body
        if chunked:
            headers = {**headers, "Transfer_Encoding": "chunked"}
            parts = [body[at : at + 9_999] for at in range(0, len(body), 9_999)]
            sent = chunks(*parts) + END
        answer = json.loads(echoing.ask("POST", "/", sent, **headers).body)
        assert answer["digest"] == hashlib.sha256(body).hexdigest()
        assert (answer["thread"] != loop_thread(echoing)) == has_thread

    @pytest.mark.parametrize("method", ["GET", "OPTIONS", "PUT", "DELETE"])
    def test_other_methods(self, echoing: Served, method: str) -> None:
        answer = json.loads(echoing.ask(method, "/").body)
        assert answer["told"]["REQUEST_METHOD"] == method
        assert answer["thread"] != loop_thread(echoing)

    def test_head_says_how_long_it_would_be(self, echoing: Served) -> None:
        connection = echoing.send(request("HEAD", "/"))
        answer = connection.answer("HEAD")
        assert int(answer.headers["Content-Length"]) > 100
        assert answer.body == b""
        assert connection.send(request("POST", "/")).answer().status == 200, "nothing was left over"

    def test_an_app_that_fails_is_500_and_others_go_on(self, caplog) -> None:
        def failing(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            if environ["PATH_INFO"] == "/fails":
                raise LookupError("in the app")
            return echo(environ, start_response)

        with on_granian(failing, busy_after_s=60) as served:
            for body in (SMALL, LARGE):
                assert served.ask("POST", "/fails", body).status == 500
                assert served.ask("POST", "/", body).status == 200
        assert caplog.text.count("LookupError: in the app") == 2


def loop_thread(served: Served) -> int:
    found: list[int] = []
    served.loop.call_soon_threadsafe(lambda: found.append(threading.get_ident()))
    wait_until(lambda: bool(found))
    return found[0]
