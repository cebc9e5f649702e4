"""The bus that a URI names: `spool:DIRECTORY` or `pubsub:PROJECT/TOPIC`."""

from __future__ import annotations

from dataclasses import dataclass

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection

from beam_pipelines.connectors import pubsub_names
from beam_pipelines.connectors.archived import ReadArchived, Snapshot
from beam_pipelines.connectors.frames import Frame
from beam_pipelines.connectors.pubsub import ReadPubSub, ReadPubSubOnDataflow
from beam_pipelines.connectors.spool import ReadSpool, Start
from beam_pipelines.connectors.uri import UriError, path_of
from schemas_avro.tables import Table


@dataclass
class ReadBus(beam.PTransform):
    """Frames of a topic: all that `start` asks for of a spool, all that is not archived of Pub/Sub.

    Unbounded. A spool's blocks come at least once and in order, Pub/Sub's once and in none.

    option:          name of the option that `uri` was given by, for the error
    archive, table:  what must hold a block before Pub/Sub may forget it, or a spool be read on
    """

    uri: str
    option: str
    start: Start
    archive: str
    table: Table
    runner: str

    def __post_init__(self) -> None:
        check(self.uri, self.option)

    def expand(self, root: PBegin) -> PCollection[Frame]:
        if _is_spool(self.uri):
            directory = path_of(self.uri, "spool", self.option)
            return root | "Spool" >> ReadSpool(directory, self.start, self.archive, self.table)
        subscription = pubsub_names.parse(self.uri, self.option)
        held = self.start.archived
        if self.runner == "dataflow":
            return root | "PubSub" >> ReadPubSubOnDataflow(subscription, held)
        return root | "PubSub" >> ReadPubSub(subscription, self.archive, self.table, held)


@dataclass
class WithArchived(beam.PTransform):
    """Frames of the bus, and those that a bus has forgotten, out of the archive.

    A spool still has them: it reads them again. Pub/Sub does not, because what is archived was
    acknowledged. Only live numbers take these, since they are in the archive.
    """

    uri: str
    archive: str
    snapshot: Snapshot
    since_us: int

    def expand(self, frames: PCollection[Frame]) -> PCollection[Frame]:
        if _is_spool(self.uri):
            return frames
        read = ReadArchived(self.archive, self.snapshot, self.since_us)
        return (frames, frames.pipeline | "Archived" >> read) | beam.Flatten()


def check(uri: str, option: str) -> None:
    """Raises UriError for what names no bus."""
    if _is_spool(uri):
        path_of(uri, "spool", option)
    elif uri.startswith("pubsub:"):
        pubsub_names.parse(uri, option)
    else:
        raise UriError(
            f"--{option}={uri!r} is no bus: wanted is spool:DIRECTORY or pubsub:PROJECT/TOPIC"
        )


def prepare(uri: str, option: str) -> None:
    """Make what a bus must have before something is sent to it. Raises UriError."""
    check(uri, option)
    if not _is_spool(uri):
        pubsub_names.prepare(pubsub_names.parse(uri, option))


def _is_spool(uri: str) -> bool:
    return uri.startswith("spool:")
