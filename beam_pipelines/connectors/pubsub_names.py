"""`pubsub:PROJECT/TOPIC`: which subscription is read, and how it comes to be there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
from google.api_core import exceptions
from google.api_core.retry import Retry, if_exception_type
from google.auth.exceptions import DefaultCredentialsError, TransportError
from google.pubsub_v1 import ExpirationPolicy, PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from beam_pipelines.connectors.uri import UriError

LEASE_S = 10  # the least there is: a killed reader's messages come to another one after it
_KEPT = timedelta(days=7)  # how long Pub/Sub keeps what nobody reads
_PATIENCE_S = 10.0
_EMULATOR = "PUBSUB_EMULATOR_HOST"
TRANSIENT = (
    *(exceptions.Aborted, exceptions.Cancelled, exceptions.TooManyRequests, exceptions.RetryError),
    *(exceptions.InternalServerError, exceptions.BadGateway, exceptions.ServiceUnavailable),
    *(exceptions.GatewayTimeout, exceptions.Unknown, exceptions.DataLoss, TransportError),
)
_again = Retry(
    predicate=if_exception_type(*TRANSIENT), initial=0.1, maximum=1.0, timeout=_PATIENCE_S
)
# gRPC waits up to two minutes before it tries a lost server again.
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),  # as Google's own channel has it
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # so long may one attempt take, name and TLS included
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


class PubSubError(UriError):
    """Pub/Sub says no, or is not there; the message names what is missing and the remedy."""


class PubSubDown(PubSubError):
    """Nobody answers; waiting may mend it."""


@dataclass(frozen=True)
class Subscription:
    """Ours on a topic: `TOPIC-ingest` of the same project.

    create: make a missing topic; always so on the emulator, which forgets them. A missing
            subscription is always made.
    """

    project: str
    topic: str
    create: bool = False

    @property
    def name(self) -> str:
        """Without the project."""
        return f"{self.topic}-ingest"

    @property
    def path(self) -> str:
        """Full name."""
        return f"projects/{self.project}/subscriptions/{self.name}"

    @property
    def topic_path(self) -> str:
        """Full name of the topic."""
        return f"projects/{self.project}/topics/{self.topic}"


def parse(uri: str, option: str) -> Subscription:
    """`pubsub:PROJECT/TOPIC` or `pubsub:PROJECT/TOPIC?create`. Raises UriError."""
    scheme, _, rest = uri.partition(":")
    place, _, query = rest.partition("?")
    project, _, topic = place.partition("/")
    if (
        scheme != "pubsub"
        or not project
        or not topic
        or "/" in topic
        or query not in {"", "create"}
    ):
        raise UriError(f"--{option}={uri!r} must look like pubsub:PROJECT/TOPIC")
    return Subscription(project, topic, bool(query))


def client() -> SubscriberClient:
    """Of the emulator where there is one in the environment. Raises PubSubError."""
    return _connected(SubscriberClient, SubscriberGrpcTransport)


def prepare(subscription: Subscription) -> None:
    """Make the subscription if it is not there. Raises PubSubError.

    What is published before there is a subscription reaches nobody, so this comes before the
    first collector. Who may read but not make one has to find one.
    """
    with client() as subscriber, _translated(subscription):
        try:
            _make_subscription(subscriber, subscription)
        except exceptions.AlreadyExists:
            _check_topic(subscriber, subscription)
        except exceptions.PermissionDenied:
            _check_topic(subscriber, subscription)
        except exceptions.NotFound:
            if not subscription.create and not os.environ.get(_EMULATOR):
                raise
            _make_topic(subscription)
            _make_subscription(subscriber, subscription)


def _make_subscription(subscriber: SubscriberClient, wanted: Subscription) -> None:
    request = {
        "name": wanted.path,
        "topic": wanted.topic_path,
        "ack_deadline_seconds": LEASE_S,
        "message_retention_duration": _KEPT,
        "expiration_policy": ExpirationPolicy(),  # never: a quiet month must not end it
    }
    subscriber.create_subscription(request=request, retry=_again, timeout=_PATIENCE_S)


def _check_topic(subscriber: SubscriberClient, wanted: Subscription) -> None:
    try:
        found = subscriber.get_subscription(
            subscription=wanted.path, retry=_again, timeout=_PATIENCE_S
        )
    except exceptions.PermissionDenied:
        return  # who may only read may not look: reading will tell
    if found.topic != wanted.topic_path:
        raise PubSubError(
            f"{wanted.path} reads {found.topic}, not {wanted.topic_path}: delete it with "
            f"`gcloud pubsub subscriptions delete {wanted.name} --project={wanted.project}` once "
            "nothing on it is needed any more; the next start makes it anew"
        )


def _make_topic(wanted: Subscription) -> None:
    with _connected(PublisherClient, PublisherGrpcTransport) as publisher:
        try:
            publisher.create_topic(name=wanted.topic_path, retry=_again, timeout=_PATIENCE_S)
        except exceptions.AlreadyExists:
            return  # a collector was first


@contextmanager
def _translated(wanted: Subscription) -> Iterator[None]:
    try:
        yield
    except exceptions.NotFound as error:
        raise missing(wanted) from error
    except (exceptions.PermissionDenied, exceptions.Unauthenticated) as error:
        raise PubSubError(
            f"not allowed to make or read {wanted.path} ({error.message}): give the pipeline's "
            f"service account roles/pubsub.subscriber on it, or make it with {_command(wanted)}"
        ) from error
    except TRANSIENT as error:
        raise PubSubDown(
            f"Pub/Sub does not answer within {_PATIENCE_S:g} s, so nobody knows whether "
            f"{wanted.path} is there ({type(error.__cause__ or error).__name__}): try again later"
        ) from error
    except exceptions.GoogleAPICallError as error:
        raise PubSubError(f"Pub/Sub refuses {wanted.path}: {error.message}") from error


def missing(wanted: Subscription) -> PubSubError:
    """The topic or the subscription is not there and may not be made."""
    return PubSubError(
        f"Pub/Sub has no topic {wanted.topic_path} or no subscription {wanted.path}: create them "
        f"with `gcloud pubsub topics create {wanted.topic} --project={wanted.project}` and "
        f"{_command(wanted)}, or add ?create to HEADWATER_BUS"
    )


def _command(wanted: Subscription) -> str:
    return (
        f"`gcloud pubsub subscriptions create {wanted.name} --topic={wanted.topic} "
        f"--project={wanted.project} --expiration-period=never`"
    )


def _connected(client: Any, transport: Any) -> Any:
    emulator = os.environ.get(_EMULATOR)
    if emulator:
        channel = grpc.insecure_channel(emulator, options=_OPTIONS)
        return client(transport=transport(channel=channel))

    def connect(host: str, **given: Any) -> grpc.Channel:
        options = [*given.pop("options", ()), *_OPTIONS]
        return transport.create_channel(host, options=options, **given)

    try:
        return client(transport=transport(channel=connect))
    except DefaultCredentialsError as error:
        raise PubSubError(
            "no Google credentials: run on a machine with a service account, or set "
            f"GOOGLE_APPLICATION_CREDENTIALS; for the emulator set {_EMULATOR}"
        ) from error
