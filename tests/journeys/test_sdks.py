"""Unmodified SDKs against the real collector: what they deliver, resend, wait for and give up.

Failing answers come from a proxy before the collector. After a fault with `stored` the events are
on disk although the client saw an error: it sends them again, and they have to count once.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import posthog
import pytest
import segment.analytics
import snowplow_tracker
from snowplow_tracker.events import StructuredEvent

from catalog import settings as settings_table
from catalog.store import Catalog
from tests.collector import blocks
from tests.faulty import Fault, FaultyProxy
from tests.system import System, wait_for

pytestmark = pytest.mark.journey

EVENTS = 25
MOST = 40  # events that the collector takes in one request
PROJECTS = 30  # one for each test
PAUSE_S = 2  # what Retry-After asks for


@dataclass(frozen=True)
class Running:
    """A collector, and (project, write key) for each test to take one of."""

    system: System
    unused: list[tuple[str, str]]

    def ids(self, project: str) -> list[str]:
        """Ids of all rows on the bus, resent ones as often as they came."""
        rows = blocks.rows(self.system.data / "spool" / "events")
        return [row["event_id"] for row in rows if row["project"] == project]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with System(
        tmp_path_factory.mktemp("sdks") / "data", key_refresh_s=0.1, max_batch_events=MOST
    ) as system:
        catalog = Catalog(settings_table.read(system.environ).catalog_url)
        catalog.migrate()
        unused = []
        for number in range(PROJECTS):
            catalog.add_project(f"shop-{number}")
            unused.append((f"shop-{number}", catalog.add_key(f"shop-{number}", "web")))
        system.start_collector()
        yield Running(system, unused)


@pytest.fixture
def key(running: Running) -> tuple[str, str]:
    """(project, its write key) of one test alone."""
    return running.unused.pop()


class Given:
    """What a client gave up: the errors that it reported to the app."""

    def __init__(self) -> None:
        self.errors: list[Any] = []

    def __call__(self, *error: Any) -> None:
        self.errors.append(error[0])


# -- Each sends events and returns when the SDK is done with them.


def by_segment(key: str, proxy: FaultyProxy, given: Given, count: int = EVENTS) -> None:
    client = segment.analytics.Client(
        key, host=proxy.address, gzip=True, on_error=given, max_retries=3, upload_interval=0.2
    )
    for number in range(count):
        client.track("user 1", "Order", {"number": number})
    client.flush()
    client.join()


def by_posthog(
    key: str, proxy: FaultyProxy, given: Given, count: int = EVENTS, mode: str = "v0"
) -> None:
    client = posthog.Posthog(
        key, host=proxy.address, gzip=True, on_error=given, flush_interval=0.2, capture_mode=mode
    )
    for number in range(count):
        client.capture("Order", distinct_id="user 1", properties={"number": number})
    client.flush()
    client.shutdown()


def by_posthog_v1(key: str, proxy: FaultyProxy, given: Given, count: int = EVENTS) -> None:
    by_posthog(key, proxy, given, count, mode="v1")


def by_snowplow(key: str, proxy: FaultyProxy, given: Given, count: int = EVENTS) -> None:
    """The app id is the write key."""
    emitter = snowplow_tracker.Emitter(
        "127.0.0.1", protocol="http", port=proxy.port, batch_size=count, on_failure=given
    )
    subject = snowplow_tracker.Subject().set_user_id("user 1")
    tracker = snowplow_tracker.Tracker("ns", emitter, subject=subject, app_id=key)
    for number in range(count):
        tracker.track(StructuredEvent(category="shop", action="Order", value=float(number)))

    def is_done() -> bool:
        with emitter.lock:  # held while it sends
            return emitter.event_store.size() == 0 and not emitter.retry_timer.is_active()

    wait_for(is_done, seconds=20, what="an empty buffer")


Send = Callable[..., None]
SDKS: list[Send] = [by_segment, by_posthog, by_posthog_v1, by_snowplow]
every_sdk = pytest.mark.parametrize("send", SDKS, ids=lambda send: send.__name__)


@every_sdk
def test_delivery(running, key, send) -> None:
    project, write_key = key
    given = Given()
    with FaultyProxy(running.system.collector_port) as proxy:
        send(write_key, proxy, given)
    ids = running.ids(project)
    assert len(ids) == len(set(ids)) == EVENTS
    assert given.errors == []
    assert set(proxy.statuses()) == {200}
    if send is not by_snowplow:  # it cannot compress
        assert all(seen.headers["Content-Encoding"] == "gzip" for seen in proxy.seen)
        assert json.loads(gzip.decompress(proxy.seen[0].body))["batch"]


@every_sdk
def test_an_error_of_ours_is_sent_again(running, key, send) -> None:
    project, write_key = key
    with FaultyProxy(running.system.collector_port, Fault(500), Fault(502)) as proxy:
        send(write_key, proxy, Given())
    ids = running.ids(project)
    assert len(ids) == len(set(ids)) == EVENTS
    assert proxy.statuses()[:3] == [500, 502, 200]


def test_what_was_stored_and_sent_again_counts_once(running, key) -> None:
    """Every SDK resends under the same ids; the pipeline counts each (source, type, id) once."""
    system, (project, write_key) = running.system, key
    system.start_ingest()
    system.start_reports()
    with ThreadPoolExecutor() as pool:
        for proxy in pool.map(lambda send: _send_after_losing_an_answer(running, send, write_key),
                              SDKS):  # fmt: skip
            assert proxy.statuses()[0] == 500
            assert 200 in proxy.statuses()
    ids = running.ids(project)
    assert len(set(ids)) == len(SDKS) * EVENTS
    assert len(ids) == 2 * len(SDKS) * EVENTS

    wait_for(
        lambda: system.ledger(project)["in_flight"] == 0, seconds=40, what="all in the archive"
    )
    system.run("beam_pipelines.run", "rollup")
    assert system.sql(
        project, "SELECT SUM(value) FROM daily WHERE metric = 'events' AND dimensions = '{}'"
    ) == [[len(SDKS) * EVENTS]]


def _send_after_losing_an_answer(running: Running, send: Send, write_key: str) -> FaultyProxy:
    with FaultyProxy(running.system.collector_port, Fault(500, stored=True)) as proxy:
        send(write_key, proxy, Given())
    return proxy


@pytest.mark.parametrize("status", [429, 503])
@every_sdk
def test_retry_after(running, key, send, status) -> None:
    project, write_key = key
    fault = Fault(status, {"Retry-After": str(PAUSE_S)})
    with FaultyProxy(running.system.collector_port, fault) as proxy:
        send(write_key, proxy, Given())
    first, second = proxy.seen[:2]
    assert (first.status, second.status) == (status, 200)
    honoured = second.at - first.at >= PAUSE_S
    assert honoured == (send is not by_snowplow)
    ids = running.ids(project)
    assert len(ids) == len(set(ids)) == EVENTS


@every_sdk
def test_a_request_that_cannot_be_mended_is_given_up(running, key, send) -> None:
    """400, as for a body that is no JSON: the SDK drops the batch and tells the app."""
    project, write_key = key
    given = Given()
    with FaultyProxy(running.system.collector_port, Fault(400)) as proxy:
        send(write_key, proxy, given)
    assert proxy.statuses() == [400]
    assert len(given.errors) == 1
    assert running.ids(project) == []


@every_sdk
def test_too_many_events_are_not_sent_for_ever(running, key, send) -> None:
    """No SDK of these splits a batch. Snowplow's would resend a 413 for ever: it gets a 400."""
    project, write_key = key
    given = Given()
    with FaultyProxy(running.system.collector_port) as proxy:
        send(write_key, proxy, given, count=MOST + 1)
    assert proxy.statuses() == [400 if send is by_snowplow else 413]
    assert len(given.errors) == 1
    assert running.ids(project) == []


@every_sdk
def test_an_unknown_key(running, send) -> None:
    given = Given()
    with FaultyProxy(running.system.collector_port) as proxy:
        send("hw_unknown", proxy, given)
    assert proxy.statuses() == [401]
    assert len(given.errors) == 1
