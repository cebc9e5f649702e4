"""The collector's own app behind the front: odd clients, more than it can take, a slow catalogue.

granian and the loop are real, in this process, and so is the spool.
"""

from __future__ import annotations

import gzip
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector import front as front_module
from collector.bus.spool import SpoolPublisher
from collector.keys import KeyRing
from tests.collector import blocks
from tests.collector.conftest import KEY, OWNERS, Collector, Gate, serve, wait_until
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
from tests.system import wait_for

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

SHOP = "https://shop.example"


def batch(name: str, padding: int = 0, **more: Any) -> bytes:
    """One event in so many spaces."""
    event = {"type": "track", "event": "x", "userId": "u", "messageId": name, **more}
    return b" " * padding + json.dumps({"batch": [event]}).encode()


class Real:
    """The collector's own app behind the front."""

    def __init__(self, collector: Collector, served: Served) -> None:
        self.collector, self.served = collector, served

    def send(self, body: bytes, length: int | None = None, **headers: str) -> Connection:
        """A batch, or a part of one."""
        headers = {"X_Write_Key": KEY, **headers}
        return self.served.send(request("POST", "/v1/batch", body, length=length, **headers))

    def track(self, name: str) -> int:
        """What an event is answered."""
        return self.send(batch(name)).answer().status

    def ids(self) -> list[str]:
        return sorted(row["event_id"] for row in self.collector.rows())


@pytest.fixture
def real(collector: Collector) -> Iterator[Real]:
    """Never too busy, however slow the machine of the tests."""
    with on_granian(collector.client.application.wsgi_app, busy_after_s=60) as served:
        yield Real(collector, served)


class TestTheCollectorBehindIt:
    def test_it_answers_as_without(self, real: Real) -> None:
        assert real.track("m") == 200
        assert real.served.ask("POST", "/v1/batch/", batch("slash"), X_Write_Key=KEY).status == 200
        assert real.served.ask("POST", "/v1/batch", batch("no key")).status == 401
        assert real.served.ask("GET", "/v1/batch").status == 405
        assert json.loads(real.served.ask("GET", "/health").body) == {"alive": True}
        head = real.served.ask("HEAD", "/health")
        assert (head.status, head.body) == (200, b"")
        asked = {"Origin": SHOP, "Access_Control_Request_Method": "POST"}
        preflight = real.served.ask("OPTIONS", "/v1/batch", **asked)
        assert preflight.status == 200
        assert preflight.headers["Access-Control-Allow-Origin"] == SHOP
        pixel = real.served.ask("GET", f"/v1/pixel.gif?writeKey={KEY}&name=x&user_id=u&event_id=p")
        assert pixel.status == 200
        assert real.ids() == ["m", "p", "slash"]

    @pytest.mark.parametrize("compress", [gzip.compress, zstd.compress])
    @pytest.mark.parametrize("padding", [0, 400 << 10])
    def test_compressed(self, real: Real, compress: Callable[[bytes], bytes], padding: int) -> None:
        noise = NOISE.hex()[:20_000]
        body = compress(batch("m", padding, properties={"noise": noise}))
        assert real.send(body).answer().status == 200
        assert real.ids() == ["m"]

    def test_what_is_announced_as_too_large_is_not_waited_for(self, real: Real) -> None:
        answer = real.send(b"{", length=(5 << 20) + 1).answer()
        assert (answer.status, json.loads(answer.body)["code"]) == (413, "too_large")

    def test_what_turns_out_too_large_is_not_waited_for(self, real: Real) -> None:
        connection = real.send(b"", Transfer_Encoding="chunked")
        for _ in range(6):
            connection.send(chunks(bytes(1 << 20)))
        answer = connection.answer()
        assert (answer.status, json.loads(answer.body)["code"]) == (413, "too_large")
        assert real.track("m") == 200

    def test_300_clients_that_stop_in_the_middle_keep_nobody_waiting(self, real: Real) -> None:
        body = batch("slow")
        half, rest = body[:20], body[20:]
        chunked = {"Transfer_Encoding": "chunked"}
        slow = [
            real.send(chunks(half), **chunked) if n % 2 else real.send(half, length=len(body))
            for n in range(300)
        ]
        started = time.monotonic()
        assert [real.track(f"quick {n}") for n in range(20)] == [200] * 20
        assert real.served.ask("GET", "/health").status == 200
        assert time.monotonic() - started < 5
        for n, connection in enumerate(slow):
            connection.send(chunks(rest) + END if n % 2 else rest)
        assert {connection.answer().status for connection in slow} == {200}
        assert real.ids().count("slow") == 300

    def test_who_is_gone_before_the_answer_has_its_events_kept(
        self, real: Real, gate: Gate, caplog
    ) -> None:
        sent = [real.send(batch("0"))]
        assert gate.entered.wait(20)
        sent += [real.send(batch(f"{n}")) for n in range(1, 5)]
        wait_until(lambda: real.collector.gatherer.waiting() == 4)
        for connection in sent:
            connection.close()
        gate.open()
        assert real.track("next") == 200
        assert real.ids() == ["0", "1", "2", "3", "4", "next"]
        assert caplog.records == []

    def test_who_is_gone_in_the_middle_of_its_body_leaves_nothing(self, real: Real, caplog) -> None:
        body = batch("cut")
        with caplog.at_level(logging.INFO):
            real.send(body, length=len(body) + 1).close()
            real.send(body, length=1 << 20).close()
            real.send(chunks(body[:-1]), Transfer_Encoding="chunked").close()
            wait_until(lambda: real.track("next") == 200)
        assert set(real.ids()) == {"next"}
        assert real.collector.dead() == []
        assert caplog.records == []


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    body=st.binary(max_size=300) | st.sampled_from([batch("m"), gzip.compress(batch("m"))]),
    path=st.sampled_from(["/v1/batch", "/v1/track", "/v1/events", "/capture", "/%ff%00/"]),
    cut=st.none() | st.integers(1, 99),
)
def test_any_bytes_are_answered_and_never_500(
    real: Real, body: bytes, path: str, cut: int | None
) -> None:
    """cut: into chunks of so many bytes"""
    headers = {"X_Write_Key": KEY}
    if cut:
        headers["Transfer_Encoding"] = "chunked"
        body = chunks(*(body[at : at + cut] for at in range(0, len(body), cut))) + END
    assert real.served.ask("POST", path, body, **headers).status in (200, 400, 401, 404)


class TestMoreThanItCanTake:
    @pytest.fixture
    def heavy(self, collector: Collector) -> Iterator[Served]:
        """Each request with a body holds the loop up for 30 ms."""
        inner = collector.client.application.wsgi_app

        def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            if environ["REQUEST_METHOD"] == "POST":
                time.sleep(0.03)
            return inner(environ, start_response)

        with on_granian(app) as served:
            yield served

    @pytest.mark.parametrize("origin", [None, SHOP])
    def test_some_are_served_and_the_rest_are_told_to_try_again(
        self, heavy: Served, collector: Collector, origin: str | None
    ) -> None:
        headers = {"X_Write_Key": KEY} | ({"Origin": origin} if origin else {})
        heavy.loop.call_soon_threadsafe(time.sleep, 0.5)  # so that they come all at once
        sent = [
            heavy.send(request("POST", "/v1/batch", batch(f"{n}"), **headers)) for n in range(20)
        ]
        asked = heavy.send(request("GET", "/health", **headers))
        answers = [connection.answer() for connection in sent]
        assert asked.answer("GET").status == 200, "only requests with events are refused"
        taken = [f"{n}" for n, answer in enumerate(answers) if answer.status == 200]
        refused = [answer for answer in answers if answer.status == 503]
        assert 1 <= len(taken) <= 19
        assert len(taken) + len(refused) == 20
        assert heavy.turned_away == len(refused)
        assert sorted(row["event_id"] for row in collector.rows()) == sorted(taken)
        for answer in refused:
            assert json.loads(answer.body)["code"] == "busy"
            assert answer.headers["Retry-After"] == "1"
            assert answer.headers["Access-Control-Allow-Origin"] == origin
            assert answer.headers["Access-Control-Expose-Headers"] == (origin and "Retry-After")
        for n in range(3):
            assert heavy.ask("POST", "/v1/batch", batch(f"later {n}"), **headers).status == 200

    def test_large_bodies_have_a_share_of_the_memory(self, collector, monkeypatch) -> None:
        monkeypatch.setattr(front_module, "_MOST_HELD_BYTES", 2 << 20)
        app = collector.client.application.wsgi_app
        with on_granian(app, max_bytes=1 << 20, busy_after_s=60) as served:
            real = Real(collector, served)
            large, part = batch("large", 900 << 10), bytes(900 << 10)
            slow = [real.send(part, length=1 << 20) for _ in range(2)]
            wait_until(lambda: served.front._held == 2 * len(part))
            answer = real.send(large).answer()
            assert (answer.status, json.loads(answer.body)["code"]) == (503, "busy")
            assert real.track("small") == 200
            slow[0].close()
            wait_until(lambda: served.front._held == len(part))
            assert real.send(large).answer().status == 200
            assert slow[1].send(bytes((1 << 20) - len(part))).answer().status == 400
            wait_until(lambda: served.front._held == 0)
        assert real.ids() == ["large", "small"]

    def test_large_bodies_wait_for_a_thread_but_not_for_long(self) -> None:
        go_on = threading.Event()

        def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            assert environ["CONTENT_LENGTH"] == "0" or go_on.wait(60)
            return echo(environ, start_response)

        with on_granian(app, threads=1, busy_after_s=60) as served:
            sent = [served.send(request("POST", "/", LARGE)) for _ in range(5)]
            refused = wait_for(lambda: served.turned_away, seconds=20, what="one too many")
            assert refused == 1
            assert served.ask("POST", "/").status == 200
            go_on.set()
            statuses = [connection.answer().status for connection in sent]
            later = [served.ask("POST", "/", LARGE).status for _ in range(5)]
        assert later == [200] * 5
        assert sorted(statuses) == [200, 200, 200, 200, 503]


class SlowCatalogue:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.keys = dict(OWNERS)
        self.asked, self._go_on = threading.Event(), threading.Event()
        self._go_on.set()
        self.reads = 0

    def load(self) -> dict[str, Any]:
        self.reads += 1
        self.asked.set()
        assert self._go_on.wait(60)
        return dict(self.keys)

    def stop(self) -> None:
        self.asked.clear()
        self._go_on.clear()

    def go_on(self) -> None:
        self._go_on.set()


def test_a_slow_catalogue_holds_up_only_who_needs_it(tmp_path: Path) -> None:
    """There are 4 threads; 50 requests wait for the catalogue, and none of these threads is theirs
    but the one that asks."""
    catalogue, now = SlowCatalogue(), [0.0]
    keys = KeyRing(catalogue.load, 5, lambda: now[0])
    made = serve(SpoolPublisher(tmp_path / "spool", segment_bytes=1 << 30), tmp_path, keys=keys)
    with on_granian(made.client.application.wsgi_app, busy_after_s=60) as served:

        def send(key: str, name: str, padding: int = 0) -> Connection:
            return served.send(request("POST", "/v1/batch", batch(name, padding), X_Write_Key=key))

        catalogue.stop()
        now[0] = 6.0
        first = send(KEY, "first")  # the copy is old: it is this one that renews it
        assert catalogue.asked.wait(20)
        unknown = [send("hw_new", f"new {n}") for n in range(50)]
        wrong = [send("hw_wrong", "wrong") for _ in range(10)]
        for n in range(20):
            assert send(KEY, f"known {n}").answer().status == 200
        assert send(KEY, "large", padding=len(LARGE)).answer().status == 200
        assert served.ask("GET", "/health").status == 200
        catalogue.keys["hw_new"] = OWNERS[KEY]
        catalogue.go_on()
        assert {c.answer().status for c in (first, *unknown)} == {200}
        assert {c.answer().status for c in wrong} == {401}
        assert catalogue.reads == 2, "one at the start, one for all of them"
    made.close()
    found = [row["event_id"] for row in blocks.rows(tmp_path / "spool" / "events")]
    assert len(found) == len(set(found)) == 1 + 50 + 20 + 1
