"""Google Cloud Pub/Sub: one block is one message.

Google's client without its batching layer: a block is a batch already, and its sender waits for
the acknowledgement, so a timer that holds messages back could only cost time. What stays of the
client are the channel, credentials, and retries, which end by `publish_timeout_s`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import grpc
from google.api_core import exceptions
from google.api_core.retry import Retry, if_exception_type
from google.auth.exceptions import DefaultCredentialsError, TransportError
from google.pubsub_v1 import PublisherClient, PubsubMessage
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

from collector.bus.carrier import TOPICS, BusDown, BusRefused
from collector.bus.port import BusState
from schemas_avro import block

# https://cloud.google.com/pubsub/quotas#resource_limits: 10 MB a message and a request, 1,000
# messages a request. Some of it goes to attributes and framing.
MAX_MESSAGE_BYTES = 9_900_000
_MAX_REQUEST_BYTES = 9_900_000
_MAX_REQUEST_MESSAGES = 1_000
_ATTRIBUTE_BYTES = 300  # of one message, and its framing
_TRANSIENT = (
    *(exceptions.Aborted, exceptions.Cancelled, exceptions.TooManyRequests, exceptions.RetryError),
    *(exceptions.InternalServerError, exceptions.BadGateway, exceptions.ServiceUnavailable),
    *(exceptions.GatewayTimeout, exceptions.Unknown, exceptions.DataLoss, TransportError),
)
_EMULATOR = "PUBSUB_EMULATOR_HOST"
_UNLIMITED = ("grpc.max_send_message_length", -1)  # as Google's own channel has it
# gRPC waits up to two minutes before it tries a lost server again; an outage must not last longer
# for us than it does for others.
_RECONNECT = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # so long may one attempt take, name and TLS included
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


class PubSubCarrier:
    """Sends blocks to the topics `<prefix>-events` and `<prefix>-dead_letters` of a project.

    publish_timeout_s: after it a send ends, retries included; the block may still arrive
    create:            make missing topics; always so on the emulator, which forgets them
    """

    max_block_bytes = MAX_MESSAGE_BYTES

    def __init__(
        self, project: str, *, prefix: str, publish_timeout_s: float, create: bool = False
    ) -> None:
        emulator = os.environ.get(_EMULATOR)
        self._project, self.timeout_s = project, publish_timeout_s
        self._create = create or bool(emulator)
        self._paths = {
            topic: PublisherClient.topic_path(project, f"{prefix}-{topic}") for topic in TOPICS
        }
        self._client = _client(emulator)
        self._closed = False

    def send(self, topic: str, blocks: Sequence[bytes], timeout_s: float | None = None) -> None:
        """See Carrier. One request for as many blocks as go into one."""
        ends_at = time.monotonic() + (timeout_s or self.timeout_s)
        for messages in _requests([_message(topic, data) for data in blocks]):
            with _Translated(self._paths[topic], self._project):
                try:
                    self._publish(topic, messages, ends_at)
                except exceptions.NotFound:
                    if not self._create:
                        raise
                    self._make(topic)
                    self._publish(topic, messages, ends_at)

    def check(self) -> None:
        """Raises BusDown if nobody answers, BusRefused if a topic is missing.

        Who may only publish may not look: then the first block will tell.
        """
        for topic, path in self._paths.items():
            with _Translated(path, self._project):
                try:
                    self._client.get_topic(topic=path, retry=None, timeout=self.timeout_s)
                except exceptions.PermissionDenied:
                    continue
                except exceptions.NotFound:
                    if not self._create:
                        raise
                    self._make(topic)

    def healthy(self) -> bool:
        """See Carrier. Only a send can tell; whoever sends keeps the answer."""
        return not self._closed

    def state(self) -> BusState:
        """See Carrier."""
        return BusState()

    def close(self) -> None:
        """See Carrier."""
        if not self._closed:
            self._closed = True
            self._client.transport.close()  # type: ignore[no-untyped-call]

    def _publish(self, topic: str, messages: list[PubsubMessage], ends_at: float) -> None:
        # Each try has what is left of the time, by the monotonic clock. The client's own way of
        # combining the two gives a late try the whole time again, and reads the wall clock.
        def once() -> None:
            left_s = max(ends_at - time.monotonic(), 0.001)
            self._client.publish(
                topic=self._paths[topic], messages=messages, retry=None, timeout=left_s
            )

        again = Retry(
            predicate=if_exception_type(*_TRANSIENT),
            initial=0.05,
            maximum=0.5,
            timeout=ends_at - time.monotonic(),
        )
        again(once)()

    def _make(self, topic: str) -> None:
        try:
            self._client.create_topic(name=self._paths[topic], retry=None, timeout=self.timeout_s)
        except exceptions.AlreadyExists:
            return  # another worker was first


class _Translated:
    """What Google's client raises, in the words of Carrier."""

    def __init__(self, path: str, project: str) -> None:
        self._path, self._project = path, project

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        match error:
            case exceptions.NotFound():
                name = self._path.rpartition("/")[2]
                raise BusRefused(
                    f"Pub/Sub has no topic {self._path}: create it with `gcloud pubsub topics "
                    f"create {name} --project={self._project}`, or add ?create to HEADWATER_BUS"
                ) from error
            case exceptions.PermissionDenied() | exceptions.Unauthenticated():
                raise BusRefused(
                    f"not allowed to publish to {self._path}: give the collector's service "
                    f"account roles/pubsub.publisher on it ({error.message})"
                ) from error
            case exceptions.GoogleAPICallError() if not isinstance(error, _TRANSIENT):
                raise BusRefused(f"Pub/Sub refuses {self._path}: {error.message}") from error
            case _ if isinstance(error, _TRANSIENT):
                raise BusDown(f"Pub/Sub: {type(error.__cause__ or error).__name__}") from error


def _client(emulator: str | None) -> PublisherClient:
    if emulator:
        channel = grpc.insecure_channel(emulator, options=[_UNLIMITED, *_RECONNECT])
        return PublisherClient(transport=PublisherGrpcTransport(channel=channel))

    def connected(host: str, **given: Any) -> grpc.Channel:
        options = [*given.pop("options", ()), *_RECONNECT]
        return PublisherGrpcTransport.create_channel(host, options=options, **given)

    try:
        return PublisherClient(transport=PublisherGrpcTransport(channel=connected))
    except DefaultCredentialsError as error:
        raise BusRefused(
            "no Google credentials: run on a machine with a service account, or set "
            f"GOOGLE_APPLICATION_CREDENTIALS; for the emulator set {_EMULATOR}"
        ) from error


def _message(topic: str, data: bytes) -> PubsubMessage:
    """Attributes name the block, so that a subscription can filter without reading it."""
    return PubsubMessage(data=data, attributes=attributes(topic, data))


def attributes(topic: str, data: bytes) -> Mapping[str, str]:
    """Of a block's message. All are in the block as well: these are for filters and for people."""
    meta = block.read_meta(data)
    return {
        "record": TOPICS[topic],
        "block_id": meta.block_id,
        "producer": meta.producer,
        "seq": str(meta.seq),
        "count": str(meta.count),
    }


def _requests(messages: Sequence[PubsubMessage]) -> Iterator[list[PubsubMessage]]:
    """In order, in groups that one request may hold."""
    group: list[PubsubMessage] = []
    size = 0
    for message in messages:
        grown = size + len(message.data) + _ATTRIBUTE_BYTES
        if group and (grown > _MAX_REQUEST_BYTES or len(group) == _MAX_REQUEST_MESSAGES):
            yield group
            group, grown = [], len(message.data) + _ATTRIBUTE_BYTES
        group.append(message)
        size = grown
    if group:
        yield group
