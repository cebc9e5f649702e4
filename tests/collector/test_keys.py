"""Write keys: five places, one order, and a copy that outlives the catalogue."""

from __future__ import annotations

import base64
import logging
import threading
from collections.abc import Callable

import pytest

from catalog.store import KeyOwner
from collector.keys import KeyRing, key_of_headers
from collector.problems import Problem
from tests.collector.conftest import KEY

OWNER = KeyOwner("shop", "web")
EVENT = {"event": "x", "userId": "u"}


def basic(text: bytes | str) -> str:
    data = text.encode() if isinstance(text, str) else text
    return f"Basic {base64.b64encode(data).decode()}"


class TestWhereAKeyIsFound:
    @pytest.mark.parametrize(
        ("headers", "query", "body"),
        [
            ({"Authorization": basic(f"{KEY}:")}, "", {}),
            ({"Authorization": basic(KEY)}, "", {}),
            ({"Authorization": f"Bearer {KEY}"}, "", {}),
            ({"authorization": f"bearer  {KEY} "}, "", {}),
            ({"X-Write-Key": KEY}, "", {}),
            ({}, f"?writeKey={KEY}", {}),
            ({}, "", {"writeKey": KEY}),
            ({}, "", {"api_key": KEY}),
            ({}, "", {"token": KEY}),
        ],
    )
    @pytest.mark.parametrize("path", ["/v1/track", "/v1/events"])
    def test_each_place(self, collector, path, headers, query, body) -> None:
        event = {**EVENT, "name": "x", "user_id": "u", **body}
        answer = collector.client.post(path + query, json=event, headers=headers)
        assert answer.status_code == 200
        assert [(r["project"], r["source"]) for r in collector.rows()] == [("shop", "web")]

    def test_the_order(self, collector) -> None:
        def key(path: str, **headers: str) -> str:
            return collector.client.post(path, json={}, headers=headers).json["code"]

        assert key_of_headers(basic("first:"), "second") == "first"
        assert key_of_headers("Bearer bearer", "second") == "bearer"
        assert key_of_headers("", "second") == "second"
        assert key_of_headers("", "") is None
        assert key("/v1/events?writeKey=hw_test", **{"X-Write-Key": "wrong"}) == "unknown_key"
        assert key("/v1/events?writeKey=wrong") == "unknown_key"
        assert key("/v1/events?other=hw_test") == "no_key"

    def test_the_body_comes_last(self, collector) -> None:
        body = {**EVENT, "writeKey": "wrong"}
        assert collector.post("/v1/track", body).status_code == 200

    @pytest.mark.parametrize(
        "authorization",
        [
            "Basic ",
            "Basic é",
            "Basic !!!",
            basic(b"\xff\xfe:"),
            basic(":"),
            "Bearer ",
            "Digest x",
            "x",
        ],
    )
    def test_a_header_that_holds_no_key_hides_no_other(self, authorization: str) -> None:
        assert key_of_headers(authorization, KEY) == KEY

    @pytest.mark.parametrize("body", [b"", b"[]", b"nonsense", b'{"writeKey":5}', b'"hw_test"'])
    def test_no_key_at_all(self, collector, body: bytes) -> None:
        answer = collector.client.post("/v1/batch", data=body)
        assert (answer.status_code, answer.json["code"]) == (401, "no_key")

    def test_one_broken_event_does_not_hide_the_key_in_the_body(self, collector) -> None:
        body = (
            b'{"batch":[{"type":"track","event":"x","userId":"u"},{"a":NaN}],"writeKey":"hw_test"}'
        )
        assert collector.client.post("/v1/batch", data=body).status_code == 200
        assert len(collector.rows()) == 1


class Catalogue:
    """Keys that can change, or not be read at all."""

    def __init__(self) -> None:
        self.keys = {"old": OWNER}
        self.reads = 0
        self.broken = False
        self.before_answer: Callable[[], object] = lambda: None

    def load(self) -> dict[str, KeyOwner]:
        self.reads += 1
        self.before_answer()
        if self.broken:
            raise OSError("the disk is gone")
        return dict(self.keys)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ring(catalogue: Catalogue, clock: Clock) -> KeyRing:
    return KeyRing(catalogue.load, 5, clock)


def refused(ring: KeyRing, key: str | None) -> str:
    with pytest.raises(Problem) as found:
        ring.owner(key)
    assert found.value.status == 401
    return found.value.code


class TestTheCopy:
    @pytest.mark.parametrize("key", [None, ""])
    def test_no_key(self, ring: KeyRing, catalogue: Catalogue, key: str | None) -> None:
        assert refused(ring, key) == "no_key"
        assert catalogue.reads == 1

    def test_it_is_not_read_for_each_request(self, ring, catalogue, clock) -> None:
        for _ in range(100):
            assert ring.owner("old") == OWNER
            clock.now += 0.04
        assert catalogue.reads == 1

    def test_a_revoked_key_ends_with_the_copy(self, ring, catalogue, clock) -> None:
        catalogue.keys.clear()
        clock.now += 4.9
        assert ring.owner("old") == OWNER
        clock.now += 0.2
        assert refused(ring, "old") == "unknown_key"

    def test_a_new_key_does_not_wait_for_the_copy_to_age(self, ring, catalogue, clock) -> None:
        catalogue.keys["new"] = OWNER
        clock.now += 1.1
        assert ring.owner("new") == OWNER

    def test_wrong_keys_are_no_load_on_the_catalogue(self, ring, catalogue, clock) -> None:
        clock.now += 1.1
        for number in range(1000):
            assert refused(ring, f"wrong {number}") == "unknown_key"
        assert catalogue.reads == 2

    def test_while_the_catalogue_is_unreadable_the_copy_serves(
        self, ring, catalogue, clock, caplog
    ) -> None:
        catalogue.broken = True
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                clock.now += 6
                assert ring.owner("old") == OWNER
        assert [r.getMessage() for r in caplog.records] == [
            "keys not renewed, the old copy serves on: OSError"
        ] * 3
        catalogue.broken, catalogue.keys = False, {"new": OWNER}
        clock.now += 6
        assert ring.owner("new") == OWNER
        assert refused(ring, "old") == "unknown_key"

    def test_a_new_key_waits_for_the_reading_under_way(self, ring, catalogue, clock) -> None:
        """SDKs drop what is answered 401: 20 first requests at once must all be let in."""
        catalogue.keys["new"] = OWNER
        clock.now += 1.1
        asked = threading.Semaphore(0)
        catalogue.before_answer = lambda: [asked.acquire(timeout=5) for _ in range(20)]
        found: list[KeyOwner] = []

        def first_request() -> None:
            asked.release()
            found.append(ring.owner("new"))

        threads = [threading.Thread(target=first_request) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [OWNER] * 20
        assert catalogue.reads == 2

    def test_a_known_key_does_not_wait_for_the_reading_under_way(
        self, ring, catalogue, clock
    ) -> None:
        reading, go_on = threading.Event(), threading.Event()
        catalogue.before_answer = lambda: (reading.set(), go_on.wait(5))
        clock.now += 6
        slow = threading.Thread(target=ring.owner, args=("old",))
        slow.start()
        assert reading.wait(5)
        assert ring.owner("old") == OWNER
        assert slow.is_alive()
        go_on.set()
        slow.join()
