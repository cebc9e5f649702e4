"""Finds the dead letters that are open: never replayed, or refused again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import NamedTuple

import polars as pl

from beam_pipelines.connectors.uri import UriError
from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.spans import BEGINNING_US, END_US
from beam_pipelines.steps.columns import pack
from schemas_avro.tables import DEAD_LETTERS, EVENTS, REPLAYS
from transforms.failures import Reason

# What a letter is found again by; more than its id, which an import with another mapping repeats.
KEY = ("dead_letter_id", "producer", "seq", "row")
_NEEDED = (*KEY, "project", "source", "step", "reason", "message", "received_time")


class LetterFile(NamedTuple):
    """A file of dead letters and which of them to try. number: among the files of this run.

    chosen: packed columns KEY, and `reason` and `message` as they are by the newest replay
    """

    number: int
    path: str
    chosen: bytes


@dataclass(frozen=True)
class Wanted:
    """Which letters; empty fields: all. since, until: [start, end) of received_time in us."""

    project: str = ""
    source: str = ""
    step: str = ""
    reason: str = ""
    since: int = BEGINNING_US
    until: int = END_US

    def expression(self) -> pl.Expr:
        """True for the letters wanted; damaged blocks never are: they are no single events."""
        fits = pl.col("received_time").is_between(self.since, self.until, closed="left")
        fits &= pl.col("reason") != Reason.DAMAGED_BLOCK.value
        for name in ("project", "source", "step", "reason"):
            if wanted := getattr(self, name):
                fits &= pl.col(name) == wanted
        return fits


def open_letters(warehouse: Warehouse, wanted: Wanted) -> list[LetterFile]:
    """The files that hold open letters, and which those are. Only ids and reasons are read."""
    paths = _paths(warehouse, DEAD_LETTERS)
    if not paths:
        return []
    found = pl.concat([_ids(path) for path in paths])
    marks = _marks(warehouse)
    closed = marks.filter(pl.col("outcome") != "refused")
    again = marks.filter(pl.col("outcome") == "refused").sort("replayed_time")
    newest = again.unique("dead_letter_id", keep="last").select(
        "dead_letter_id", now="reason", said="message"
    )
    chosen = (
        # An import with another mapping repeats a letter under its id: the newest one counts.
        found.sort("received_time", "producer", "seq", "row")
        .unique("dead_letter_id", keep="last")
        .join(closed, on="dead_letter_id", how="anti")
        .join(newest, on="dead_letter_id", how="left")
        .with_columns(reason=pl.coalesce("now", "reason"), message=pl.coalesce("said", "message"))
        .filter(wanted.expression())
        .sort("path", *KEY)
    )
    parts = chosen.partition_by("path", as_dict=True, maintain_order=True)
    return [
        LetterFile(number, str(path), pack(part.select(*KEY, "reason", "message")))
        for number, ((path,), part) in enumerate(parts.items())
    ]


@contextmanager
def only_one(directory: str) -> Iterator[None]:
    """Hold the warehouse's lock of replays. Raises UriError while somebody else does.

    Two runs at once could both bring back a letter that neither sees marked.
    """
    Path(directory).mkdir(parents=True, exist_ok=True)
    with Path(directory, "replay.lock").open("w") as file:
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            raise UriError("another replay is under way in this archive; try again later") from None
        yield


def _marks(warehouse: Warehouse) -> pl.DataFrame:
    """What holds: `returned` counts only once the events are there, in one commit of their own."""
    columns = ("dead_letter_id", "replay_id", "outcome", "reason", "message", "replayed_time")
    paths = _paths(warehouse, REPLAYS)
    if not paths:
        return pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    marks = pl.concat([pl.read_parquet(p, columns=list(columns)) for p in paths])
    held = list(warehouse.positions(EVENTS).by_producer)
    return marks.filter((pl.col("outcome") != "returned") | pl.col("replay_id").is_in(held))


def _ids(path: str) -> pl.DataFrame:
    rows = pl.read_parquet(path, columns=list(_NEEDED), hive_partitioning=False)
    return rows.with_columns(pl.col("received_time").dt.timestamp("us"), path=pl.lit(path))


def _paths(warehouse: Warehouse, table: object) -> list[str]:
    scan = warehouse.table(table).scan()  # type: ignore[arg-type]
    return sorted(task.file.file_path.removeprefix("file://") for task in scan.plan_files())
