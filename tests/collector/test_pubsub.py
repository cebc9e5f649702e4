"""Pub/Sub as a bus: Google's emulator, and a gRPC server that answers with any status."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest

from catalog import settings as settings_table
from catalog.settings import SettingError
from collector.bus.carrier import BusDown, BusRefused
from collector.bus.opened import PubSubUri, SpoolUri, check_bus, parse
from collector.bus.pubsub import MAX_MESSAGE_BYTES, PubSubCarrier
from schemas_avro import block, load
from tests.collector.blocks import decoded
from tests.collector.test_disk_queue import made, number
from tests.contracts.publisher import event, frame_of
from tests.pubsub_emulator import PROJECT, VARIABLE, Emulator, Inbox, emulator_in_environment
from tests.system import free_port


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with emulator_in_environment() as running:
        yield running


def carrier(prefix: str, timeout_s: float = 10, *, create: bool = True) -> PubSubCarrier:
    made_carrier = PubSubCarrier(PROJECT, prefix=prefix, publish_timeout_s=timeout_s)
    made_carrier._create = create  # on the emulator topics are made always
    return made_carrier


def large(size: int, seq: int) -> bytes:
    """A block of about this many bytes."""
    rows = frame_of("event", [event("x") | {"name": os.urandom(size // 2).hex()}])
    meta = block.new_meta(rows, producer="p", seq=seq, first_row=seq)
    return block.encode(load("event"), rows, meta)


class TestOnTheEmulator:
    def test_a_block_is_a_message_and_its_attributes_say_which(self, emulator) -> None:
        inbox, bus = Inbox(emulator.host, "one"), carrier("one")
        sent = [made(n) for n in range(3)]
        bus.send("events", sent[:1])
        bus.send("events", sent[1:])
        bus.send("dead_letters", [made(7)])
        messages = inbox.read("events")
        assert [message.data for message in messages] == sent
        meta, _ = decoded(sent[2])
        assert messages[2].attributes == {
            "record": "event",
            "block_id": meta["block_id"],
            "producer": "p",
            "seq": "2",
            "count": "1",
        }
        (dead,) = inbox.read("dead_letters")
        assert (dead.attributes["record"], dead.attributes["seq"]) == ("dead_letter", "7")
        inbox.close()
        bus.close()

    def test_more_than_one_request_holds(self, emulator) -> None:
        inbox, bus = Inbox(emulator.host, "many"), carrier("many")
        bus.send("events", [made(n) for n in range(1_500)])
        bus.send("events", [large(4_000_000, 1_500 + n) for n in range(4)])
        assert [number(message.data) for message in inbox.read("events")] == list(range(1_504))
        inbox.close()
        bus.close()

    def test_the_largest_message_is_taken(self, emulator) -> None:
        inbox, bus = Inbox(emulator.host, "large"), carrier("large")
        data = large(MAX_MESSAGE_BYTES * 187 // 100, 0)  # hexadecimal digits compress by half
        assert MAX_MESSAGE_BYTES * 0.95 < len(data) <= MAX_MESSAGE_BYTES
        bus.send("events", [data])
        assert inbox.read("events")[0].data == data
        inbox.close()
        bus.close()

    def test_a_missing_topic_is_refused_and_the_remedy_named(self, emulator) -> None:
        bus = carrier("absent", create=False)
        for attempt in (bus.check, lambda: bus.send("events", [made(0)])):
            with pytest.raises(BusRefused) as refused:
                attempt()
            assert f"projects/{PROJECT}/topics/absent-events" in str(refused.value)
            assert f"gcloud pubsub topics create absent-events --project={PROJECT}" in str(
                refused.value
            )
        inbox = Inbox(emulator.host, "absent")
        bus.check()
        bus.send("events", [made(0)])
        assert len(inbox.read("events")) == 1
        inbox.close()
        bus.close()

    def test_a_topic_that_is_gone_is_made_anew_where_that_is_asked_for(self, emulator) -> None:
        bus = carrier("asked")
        bus.send("events", [made(0)])
        inbox = Inbox(emulator.host, "asked")
        bus.send("events", [made(1)])
        bus.check()
        assert [number(m.data) for m in inbox.read("events")] == [1]
        inbox.close()
        bus.close()

    def test_a_hung_server_is_given_up_in_time(self, emulator) -> None:
        bus = carrier("hung", 0.5)
        bus.send("events", [made(0)])
        emulator.hang()
        try:
            began = time.monotonic()
            with pytest.raises(BusDown, match="DeadlineExceeded"):
                bus.send("events", [made(1)])
            assert 0.4 < time.monotonic() - began < 1.5
        finally:
            emulator.go_on()
        bus.send("events", [made(1)])
        bus.close()


def test_where_nobody_listens_it_is_given_up_in_time(monkeypatch) -> None:
    monkeypatch.setenv(VARIABLE, f"127.0.0.1:{free_port()}")
    bus = carrier("nobody", 0.5)
    began = time.monotonic()
    with pytest.raises(BusDown, match="ServiceUnavailable"):
        bus.send("events", [made(0)])
    assert time.monotonic() - began < 1.5
    with pytest.raises(BusDown):
        bus.check()
    bus.close()


@contextmanager
def answering(status: grpc.StatusCode) -> Iterator[str]:
    """A gRPC server that answers every call with this status; its address."""

    def refuse(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(status, "as asked")

    class Every(grpc.GenericRpcHandler):
        def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            return grpc.unary_unary_rpc_method_handler(refuse)

    server = grpc.server(ThreadPoolExecutor(2), handlers=[Every()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


# https://cloud.google.com/pubsub/docs/reference/error-codes: what its table says to retry, and
# what gRPC itself makes of a connection that breaks.
TRANSIENT = {
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DATA_LOSS,
}


@pytest.mark.parametrize(
    "status", [s for s in grpc.StatusCode if s is not grpc.StatusCode.OK], ids=lambda s: s.name
)
def test_only_what_may_pass_spills(status, monkeypatch) -> None:
    with answering(status) as host:
        monkeypatch.setenv(VARIABLE, host)
        bus = carrier("status", 0.2, create=False)
        with pytest.raises(BusDown if status in TRANSIENT else BusRefused) as raised:
            bus.send("events", [made(0)])
        if status is grpc.StatusCode.PERMISSION_DENIED:
            assert "roles/pubsub.publisher" in str(raised.value)
        bus.close()


class TestUri:
    @pytest.mark.parametrize(
        ("uri", "wanted"),
        [
            ("spool:", SpoolUri("")),
            ("spool:/var/spool/hw", SpoolUri("/var/spool/hw")),
            ("pubsub:my-project", PubSubUri("my-project", "headwater", create=False)),
            ("pubsub:my-project/shop", PubSubUri("my-project", "shop", create=False)),
            ("pubsub:my-project/shop?create", PubSubUri("my-project", "shop", create=True)),
        ],
    )
    def test_read(self, uri, wanted) -> None:
        assert parse(uri) == wanted

    @pytest.mark.parametrize(
        "uri", ["", "kafka:x", "pubsub:", "pubsub", "pubsub:p?make", "spool:?create", "pubsub:/x"]
    )
    def test_refused_with_what_is_wanted(self, uri) -> None:
        with pytest.raises(SettingError, match=r"HEADWATER_BUS=.*pubsub:PROJECT"):
            parse(uri)


class TestCheckAtTheStart:
    def settings(self, tmp_path, bus: str) -> settings_table.Settings:
        return settings_table.read(
            {"HEADWATER_DATA_DIR": str(tmp_path), "HEADWATER_BUS": bus,
             "HEADWATER_PUBLISH_TIMEOUT_S": "0.5"}
        )  # fmt: skip

    def test_a_bus_that_is_away_is_no_reason_not_to_start(self, tmp_path, monkeypatch) -> None:
        monkeypatch.setenv(VARIABLE, f"127.0.0.1:{free_port()}")
        check_bus(self.settings(tmp_path, "pubsub:shop"))

    def test_a_bus_that_will_never_take_a_block_is(self, tmp_path, monkeypatch) -> None:
        with answering(grpc.StatusCode.INVALID_ARGUMENT) as host:
            monkeypatch.setenv(VARIABLE, host)
            with pytest.raises(SettingError, match=r"HEADWATER_BUS='pubsub:shop'.*as asked"):
                check_bus(self.settings(tmp_path, "pubsub:shop"))

    def test_without_credentials_the_message_says_what_to_do(self, tmp_path, monkeypatch) -> None:
        monkeypatch.delenv(VARIABLE, raising=False)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))
        with pytest.raises(SettingError, match="no Google credentials"):
            check_bus(self.settings(tmp_path, "pubsub:shop"))

    def test_the_spool_is_not_asked(self, tmp_path) -> None:
        check_bus(self.settings(tmp_path, "spool:"))
