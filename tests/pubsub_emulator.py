"""Google's Pub/Sub emulator as a real process, and a subscriber that reads all there is."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api_core import exceptions
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from tests import emulators
from tests.collector import blocks
from tests.emulators import missing
from tests.system import wait_for

PROJECT, PREFIX = "shop-project", "headwater"
TOPICS = ("events", "dead_letters")
VARIABLE = "PUBSUB_EMULATOR_HOST"
_PLACES = (
    "/usr/lib/google-cloud-sdk/platform/pubsub-emulator/bin/cloud-pubsub-emulator",
    "/usr/lib64/google-cloud-sdk/platform/pubsub-emulator/bin/cloud-pubsub-emulator",
    str(Path.home() / "google-cloud-sdk/platform/pubsub-emulator/bin/cloud-pubsub-emulator"),
)


def _binary() -> str:
    found = shutil.which("cloud-pubsub-emulator") or next(filter(os.path.exists, _PLACES), None)
    if not found or not shutil.which("java"):
        missing("no Pub/Sub emulator: install the Cloud SDK's component pubsub-emulator")
    return found


class Emulator(emulators.Emulator):
    """Use as a context manager."""

    def __init__(self, port: int | None = None) -> None:
        binary = _binary()
        super().__init__(lambda at, _: [binary, "--host=127.0.0.1", f"--port={at}"], port=port)

    def start(self) -> None:
        super().start()
        with grpc.insecure_channel(self.host) as channel:
            grpc.channel_ready_future(channel).result(30)


@contextmanager
def emulator_in_environment() -> Iterator[Emulator]:
    """Running, and named where Google's clients look for it."""
    with Emulator() as emulator, pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, emulator.host)
        yield emulator


@dataclass
class Message:
    """One message of a topic: what its block says, its attributes, its bytes."""

    id: int
    attributes: dict[str, str]
    data: bytes
    meta: dict[str, Any] = field(init=False)
    rows: list[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.meta, self.rows = blocks.decoded(self.data)


class Inbox:
    """Makes both topics with a subscription each, and keeps every message that came."""

    def __init__(self, host: str, prefix: str = PREFIX, *, topics: bool = True) -> None:
        self._channel = grpc.insecure_channel(
            host, options=[("grpc.max_receive_message_length", -1)]
        )
        self._pull = SubscriberClient(transport=SubscriberGrpcTransport(channel=self._channel))
        self._make = PublisherClient(transport=PublisherGrpcTransport(channel=self._channel))
        self.messages: dict[str, list[Message]] = {topic: [] for topic in TOPICS}
        self._subscriptions = {t: f"projects/{PROJECT}/subscriptions/{prefix}-{t}" for t in TOPICS}
        self._paths = {t: f"projects/{PROJECT}/topics/{prefix}-{t}" for t in TOPICS}
        self._lock = threading.Lock()
        if topics:
            self.make_topics()

    def make_topics(self) -> None:
        for topic, path in self._paths.items():
            with suppress(exceptions.AlreadyExists):
                self._make.create_topic(name=path)
            with suppress(exceptions.AlreadyExists):
                self._pull.create_subscription(
                    name=self._subscriptions[topic], topic=path, ack_deadline_seconds=600
                )

    def close(self) -> None:
        self._channel.close()

    def read(self, topic: str) -> list[Message]:
        """All messages of the topic so far, by the order in which the bus got them."""
        with self._lock:
            while self._read_some(topic):
                pass
            return sorted(self.messages[topic], key=lambda message: message.id)

    def _read_some(self, topic: str) -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of return_immediately
            found = self._pull.pull(
                subscription=self._subscriptions[topic],
                max_messages=500,
                return_immediately=True,
                timeout=10,
            ).received_messages
        if found:
            self._pull.acknowledge(
                subscription=self._subscriptions[topic], ack_ids=[m.ack_id for m in found]
            )
        for one in (m.message for m in found):
            self.messages[topic].append(
                Message(int(one.message_id), dict(one.attributes), one.data)
            )
        return len(found)

    def read_until(self, topic: str, ids: set[str], seconds: float) -> float:
        """Read until all of these event ids came; how long that took, in seconds."""
        began = time.monotonic()

        def all_there() -> bool:
            return ids <= {row["event_id"] for m in self.read(topic) for row in m.rows}

        wait_for(all_there, seconds=seconds, what=f"{len(ids)} events on {topic}")
        return time.monotonic() - began


def distinct(messages: list[Message]) -> list[Message]:
    """As a reader that drops repeats keeps them: the first of each (producer, seq).

    Fails where the same number stands for other bytes.
    """
    first: dict[tuple[str, int], Message] = {}
    for message in messages:
        kept = first.setdefault((message.meta["producer"], message.meta["seq"]), message)
        assert kept.data == message.data, f"{message.meta} stands for two blocks"
    return list(first.values())


def gaps(messages: list[Message]) -> list[tuple[str, int]]:
    """Numbers that are missing below a producer's highest."""
    seen: dict[str, set[int]] = {}
    for message in messages:
        seen.setdefault(message.meta["producer"], set()).add(message.meta["seq"])
    return [(p, n) for p, numbers in seen.items() for n in range(max(numbers)) if n not in numbers]


class Gate:
    """A port in front of the emulator that can be shut: no connection passes, those there break."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._open = True
        self._passing: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()
        self.shut()

    def shut(self) -> None:
        with self._lock:
            self._open = False
            for one in self._passing:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
            self._passing.clear()

    def open(self) -> None:
        with self._lock:
            self._open = True

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                came, _ = self._listening.accept()
                with self._lock:
                    if not self._open:
                        came.close()
                        continue
                    try:
                        behind = socket.create_connection(("127.0.0.1", self._emulator.port), 5)
                    except OSError:
                        came.close()
                        continue
                    self._passing |= {came, behind}
                for source, target in ((came, behind), (behind, came)):
                    threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
