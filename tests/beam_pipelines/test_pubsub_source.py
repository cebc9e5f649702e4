"""Pub/Sub as the source: what a message stands for, when it is done with, how far a reader is."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import grpc
import polars as pl
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pipeline import Pipeline
from apache_beam.testing import test_pipeline as beam_testing
from apache_beam.testing.util import assert_that, equal_to
from google.pubsub_v1 import PublisherClient, PubsubMessage
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from hypothesis import given
from hypothesis import strategies as st

from beam_pipelines.connectors import archived
from beam_pipelines.connectors.archived import Snapshot
from beam_pipelines.connectors.bus import ReadBus, check
from beam_pipelines.connectors.frames import Frame
from beam_pipelines.connectors.pubsub import Once
from beam_pipelines.connectors.pubsub_inbox import Inbox, Source, Taken, frame_of
from beam_pipelines.connectors.pubsub_names import (
    LEASE_S,
    PubSubDown,
    PubSubError,
    Subscription,
    client,
    parse,
    prepare,
)
from beam_pipelines.connectors.spool import Start
from beam_pipelines.connectors.uri import UriError
from beam_pipelines.connectors.warehouse import Added, Warehouse
from catalog import settings
from collector.bus.numbered import _NAME as COLLECTORS
from schemas_avro import derive, load
from schemas_avro.tables import BUS_PRODUCERS, EVENTS
from tests import streams
from tests.pubsub_emulator import VARIABLE, Emulator, emulator_in_environment
from tests.streams import NOON, event
from tests.system import free_port, wait_for
from transforms.arrivals import Arrivals
from transforms.positions import Positions

HERE = Subscription("shop", "shop-events")


def block_frame(seq: int, producer: str = "collector-a") -> Frame:
    return streams.frame_of([event(f"{producer}-{seq}", NOON + seq)], producer, seq)


# -- A message is a block, or what came in place of one.


def test_a_message_is_the_block_in_it_whatever_its_attributes_say() -> None:
    frame = block_frame(7)
    assert frame_of("1", frame.payload, {"producer": "other", "seq": "8"}) == frame


@pytest.mark.parametrize("data", [b"", b"junk", block_frame(3).payload[:50]])
def test_damage_stands_for_the_block_that_the_attributes_name(data: bytes) -> None:
    found = frame_of("1", data, {"producer": "collector-a", "seq": "3"})
    assert found == Frame("collector-a", 3, 3, data, damaged=True)


@pytest.mark.parametrize("seq", ["", "-1", "x", "1.0", "\u0663", "\u00b2", "9" * 19, "9" * 9000])
def test_damage_without_a_usable_number_stands_for_itself(seq: str) -> None:
    found = frame_of("42", b"junk", {"producer": "collector-a", "seq": seq})
    assert (found.producer, found.seq, found.last) == ("message-42", 0, 0)
    assert frame_of("43", b"junk", {"seq": "1"}).producer == "message-43"


# -- Names.


@pytest.mark.parametrize(
    "uri", ["pubsub:", "pubsub:shop", "pubsub:/t", "pubsub:shop/", "pubsub:a/b/c", "pubsub:a/b?x"]
)
def test_an_incomplete_address_is_refused_with_what_is_wanted(uri: str) -> None:
    with pytest.raises(UriError, match=r"--events=.*pubsub:PROJECT/TOPIC"):
        parse(uri, "events")


def test_an_unknown_bus_is_refused() -> None:
    with pytest.raises(UriError, match=r"--events='kafka:x' is no bus.*spool:DIRECTORY"):
        check("kafka:x", "events")


@pytest.mark.parametrize(
    ("bus", "events"),
    [
        ("pubsub:shop", "pubsub:shop/headwater-events"),
        ("pubsub:shop/eu", "pubsub:shop/eu-events"),
        ("pubsub:shop?create", "pubsub:shop/headwater-events?create"),
        ("pubsub:shop/eu?create", "pubsub:shop/eu-events?create"),
        ("spool:/s", "spool:/s/events"),
    ],
)
def test_the_bus_of_the_collector_is_the_bus_of_the_pipeline(bus: str, events: str) -> None:
    found = settings.read({"HEADWATER_BUS": bus})
    assert found.events_uri == events
    assert found.dead_letters_uri == events.replace("events", "dead_letters")
    check(found.events_uri, "events")


def test_collectors_have_the_names_by_which_the_archive_tells_them() -> None:
    assert f"{COLLECTORS}-".startswith(BUS_PRODUCERS)


# -- How far a reader is.

_TIMES = st.integers(0, 200)


@given(
    st.lists(st.tuples(st.integers(0, 20), st.one_of(st.none(), _TIMES)), max_size=30),
    st.integers(1, 50),
)
def test_how_far_is_what_a_loop_over_everything_says(
    steps: list[tuple[int, int | None]], window: int
) -> None:
    arrivals, now, heard, came = Arrivals(window, 0), 0, 0, []
    for pause, received in steps:
        now += pause
        if received is None:
            arrivals.heard(now)
        else:
            arrivals.came(received, now)
            came.append((now, received))
        heard = now
        later = now + pause  # asked some time after the bus was heard from
        lately = [r for at, r in came if at >= later - window]
        quiet = min(later, heard) - window
        assert arrivals.complete_until(later) == (None if quiet < 0 else min([quiet, *lately]))
        now = later


@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 49)), min_size=1, max_size=40),
)
def test_what_comes_within_the_window_never_comes_too_late(blocks: list[tuple[int, int]]) -> None:
    """However blocks overtake one another: received at r, delivered at most a window later."""
    arrivals, reached = Arrivals(50, 0), 0
    for delivered, received in sorted((received + late, received) for received, late in blocks):
        assert received >= reached
        arrivals.came(received, delivered)
        reached = max(reached, arrivals.complete_until(delivered) or 0)


def test_an_outage_holds_everything_until_what_waited_elsewhere_has_come() -> None:
    arrivals = Arrivals(30, 0)
    arrivals.heard(100)
    assert arrivals.complete_until(500) == 70  # nobody has heard of the bus for 400
    arrivals.came(499, 500)
    arrivals.came(110, 505)  # a block that a collector kept on its disk
    assert arrivals.complete_until(530) == 110


# -- Each block once.


def test_redelivered_blocks_are_dropped_in_any_order() -> None:
    frames = [block_frame(seq, producer) for producer in ("a", "b") for seq in range(20)] * 3
    random.Random(1).shuffle(frames)
    with beam_testing.TestPipeline() as p:
        kept = (
            p | beam.Create(frames) | Once() | beam.Map(lambda frame: (frame.producer, frame.seq))
        )
        assert_that(kept, equal_to([(p, n) for p in ("a", "b") for n in range(20)]))


def test_dataflow_gets_its_own_source(tmp_path: Path) -> None:
    pipeline = Pipeline(options=PipelineOptions(["--streaming"]))
    bus = ReadBus(
        "pubsub:shop-project/shop-events",
        "events",
        Start(Positions()),
        str(tmp_path),
        EVENTS,
        "dataflow",
    )
    _ = pipeline | bus
    proto = str(pipeline.to_runner_api())
    assert "ReadFromPubSub" in proto
    assert "projects/shop-project/subscriptions/shop-events-ingest" in proto


# -- Live numbers out of the archive.


def archive(directory: Path, frames: dict[tuple[str, int], list[int]]) -> Warehouse:
    """Blocks (producer, seq) with events at these times, in a warehouse."""
    warehouse = Warehouse(str(directory))
    for (producer, seq), times in frames.items():
        rows = [
            {**event(f"{producer}-{seq}-{at}", at), "producer": producer, "seq": seq, "row": n}
            for n, at in enumerate(times)
        ]
        types = derive.wire(load("event"))
        frame = pl.DataFrame(rows, schema={n: types[n] for n in types if n in rows[0]})
        full = frame.with_columns(pl.lit(None, types[n]).alias(n) for n in types if n not in frame)
        files = warehouse.write_files(EVENTS, full.select(list(types)))
        warehouse.add(EVENTS, Added(files, Positions.of([(producer, seq, seq)]), {}, 0))
    return warehouse


def test_of_the_archive_live_numbers_get_what_came_by_the_bus_since(tmp_path: Path) -> None:
    archive(
        tmp_path,
        {
            ("collector-a", 0): [NOON - 5, NOON, NOON + 5],
            ("import-b", 0): [NOON + 1],
            ("collector-c", 4): [NOON - 9],
        },
    )
    snapshot = Snapshot.newest(str(tmp_path))
    assert snapshot.positions == Positions.of(
        [("collector-a", 0, 0), ("import-b", 0, 0), ("collector-c", 4, 4)]
    )
    paths = Warehouse(str(tmp_path)).files(snapshot.id or 0, [(NOON, NOON + 10)])
    found = pl.concat([archived.read(path, NOON) for path in paths])
    assert sorted(found["event_id"]) == [f"collector-a-0-{NOON}", f"collector-a-0-{NOON + 5}"]
    assert sorted(found["event_time"]) == [NOON, NOON + 5]


def test_an_empty_archive_has_nothing_to_give_back(tmp_path: Path) -> None:
    assert Snapshot.newest(str(tmp_path)) == Snapshot(None, Positions())


# -- On the emulator.


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with emulator_in_environment() as running:
        yield running


@pytest.fixture
def subscription(request: pytest.FixtureRequest) -> Subscription:
    return Subscription("shop", f"t-{abs(hash(request.node.name)) % 10**9}-events")


def publish(to: Subscription, payloads: list[bytes]) -> None:
    with publisher() as sender:
        messages = [PubsubMessage(data=data) for data in payloads]
        sender.publish(topic=to.topic_path, messages=messages)


def publisher() -> PublisherClient:
    channel = grpc.insecure_channel(os.environ[VARIABLE])
    return PublisherClient(transport=PublisherGrpcTransport(channel=channel))


def keys(taken: list[Taken]) -> set[tuple[str, int]]:
    return {one.key for one in taken}


def take_all(
    inbox: Inbox, count: int, seconds: float = 30, held: Positions | None = None
) -> list[Taken]:
    found: list[Taken] = []

    def enough() -> bool:
        found.extend(inbox.take(1 << 30, held or Positions()))
        return len({one.key for one in found}) >= count

    wait_for(enough, seconds=seconds, what=f"{count} messages")
    return found


@pytest.mark.journey
def test_a_message_is_kept_until_the_archive_has_its_block(
    emulator: Emulator, subscription: Subscription, tmp_path: Path
) -> None:
    source = Source(subscription, str(tmp_path), EVENTS, "r")
    prepare(subscription)
    publish(subscription, [block_frame(n).payload for n in range(5)])
    first = Inbox(source)
    expected = {("collector-a", n) for n in range(5)}
    assert keys(take_all(first, 5)) == expected
    deadline = time.monotonic() + 1.5 * LEASE_S
    while time.monotonic() < deadline:  # longer than a lease: nothing comes a second time
        assert first.take(1 << 30, Positions()) == []
        time.sleep(0.5)
    first.close()

    second = Inbox(source)  # nothing was archived: all of it comes again
    assert keys(take_all(second, 5, seconds=4 * LEASE_S)) == expected
    archive(tmp_path, {("collector-a", n): [NOON] for n in range(4)})
    wait_for(lambda: second.waiting() == 1, seconds=10, what="acknowledgements")
    second.close()

    third = Inbox(source)
    try:
        assert keys(take_all(third, 1)) == {("collector-a", 4)}
        time.sleep(1.5 * LEASE_S)
        assert third.take(1 << 30, Positions()) == []
    finally:
        third.close()


@pytest.mark.journey
def test_what_an_earlier_run_archived_is_done_with_and_not_handed_on(
    emulator: Emulator, subscription: Subscription, tmp_path: Path
) -> None:
    prepare(subscription)
    publish(subscription, [block_frame(n).payload for n in range(3)])
    inbox = Inbox(Source(subscription, str(tmp_path), EVENTS, "r"))
    try:
        held = Positions.of([("collector-a", 0, 1)])
        assert keys(take_all(inbox, 1, held=held)) == {("collector-a", 2)}
        assert inbox.waiting() == 1
    finally:
        inbox.close()


@pytest.mark.journey
def test_a_lost_bus_is_waited_for_and_its_subscription_made_anew(
    subscription: Subscription, tmp_path: Path
) -> None:
    with emulator_in_environment() as emulator:
        inbox = Inbox(Source(subscription, str(tmp_path), EVENTS, "r"))
        try:
            wait_for(lambda: _exists(subscription), seconds=20, what="subscription")
            emulator.stop()
            time.sleep(2)
            emulator.start()
            wait_for(lambda: _exists(subscription), seconds=30, what="the subscription again")
            publish(subscription, [block_frame(0).payload])
            assert keys(take_all(inbox, 1)) == {("collector-a", 0)}
            inbox.check()
        finally:
            inbox.close()


def _exists(subscription: Subscription) -> bool:
    with client() as subscriber:
        return bool(subscriber.get_subscription(subscription=subscription.path))


@pytest.mark.journey
def test_a_subscription_of_another_topic_is_refused(
    emulator: Emulator, subscription: Subscription
) -> None:
    other = Subscription("shop", "other-events")
    prepare(other)
    with client() as subscriber, publisher() as sender:
        subscriber.create_subscription(name=subscription.path, topic=other.topic_path)
        sender.create_topic(name=subscription.topic_path)
    with pytest.raises(PubSubError, match=r"reads projects/shop/topics/other-events.*delete it"):
        prepare(subscription)


@pytest.mark.journey
def test_a_bus_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"127.0.0.1:{free_port()}")
    with pytest.raises(PubSubDown, match=r"does not answer within 10 s.*shop-events-ingest"):
        prepare(HERE)
