"""The bus that the settings name, ready to publish to."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from catalog.settings import SettingError, Settings
from collector.bus.carrier import BusDown, BusRefused
from collector.bus.disk_queue import DiskQueue
from collector.bus.fallback import FallbackCarrier
from collector.bus.numbered import NumberedPublisher
from collector.bus.port import Publisher
from collector.bus.spool import SpoolPublisher

if TYPE_CHECKING:
    from collector.bus.pubsub import PubSubCarrier

_VARIABLE = "HEADWATER_BUS"
_WANTED = (
    "`spool:`, `spool:/directory`, `pubsub:PROJECT`, `pubsub:PROJECT/PREFIX` or one with ?create"
)


@dataclass(frozen=True)
class SpoolUri:
    """`spool:` or `spool:/directory`; no directory: the data directory's own."""

    directory: str


@dataclass(frozen=True)
class PubSubUri:
    """`pubsub:PROJECT[/PREFIX][?create]`."""

    project: str
    prefix: str
    create: bool


def parse(uri: str) -> SpoolUri | PubSubUri:
    """Raises SettingError, which names what is wanted."""
    parts = urlsplit(uri)
    if parts.scheme == "spool" and not parts.query:
        return SpoolUri(parts.path)
    project, _, prefix = parts.path.partition("/")
    if parts.scheme == "pubsub" and project and parts.query in {"", "create"}:
        return PubSubUri(project, prefix or "headwater", bool(parts.query))
    raise SettingError(f"{_VARIABLE}={uri!r} is no bus; wanted is {_WANTED}")


def open_bus(settings: Settings) -> Publisher:
    """The publisher of one worker process. Raises SettingError, and OSError for the directory."""
    match parse(settings.bus):
        case SpoolUri():
            return SpoolPublisher(settings.spool, segment_bytes=settings.segment_bytes)
        case PubSubUri() as uri:
            queue = DiskQueue(settings.path("queue"), max_bytes=settings.disk_queue_bytes)
            return NumberedPublisher(
                FallbackCarrier(
                    _pubsub(uri, settings), queue, drain_bytes_per_s=settings.drain_bytes_per_s
                ),
                lanes=settings.bus_lanes,
                block_bytes=settings.block_bytes,
            )


def check_bus(settings: Settings) -> None:
    """Before workers start: raises SettingError for a bus that will never take a block.

    A bus that is down is no error: events go to the disk queue until it is up. Asked in a process
    of its own, because gRPC does not survive the fork by which workers come into being.
    """
    uri = parse(settings.bus)
    if isinstance(uri, PubSubUri):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            refused = pool.submit(_why_refused, uri, settings).result()
        if refused:
            raise SettingError(f"{_VARIABLE}={settings.bus!r}: {refused}")


def _why_refused(uri: PubSubUri, settings: Settings) -> str | None:
    try:
        bus = _pubsub(uri, settings)
        try:
            bus.check()
        finally:
            bus.close()
    except BusRefused as error:
        return str(error)
    except BusDown:
        pass
    return None


def _pubsub(uri: PubSubUri, settings: Settings) -> PubSubCarrier:
    # Imported when it is used: a spool needs no gRPC, whose threads do not survive a fork.
    from collector.bus.pubsub import PubSubCarrier

    return PubSubCarrier(
        uri.project,
        prefix=uri.prefix,
        publish_timeout_s=settings.publish_timeout_s,
        create=uri.create,
    )
