"""Blocks out of files: segments of a spool, or single Avro containers as a bus carries them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO, NamedTuple

import polars as pl

from beam_pipelines.connectors.files import InputFile
from schemas_avro import block, load
from schemas_avro.segment import Damaged, Whole, read_frame

_CACHED_ROWS = 500_000
_CONTAINER = b"Obj\x01"


class Place(NamedTuple):
    """Where the bytes of a block lie."""

    path: str
    start: int
    end: int


class Index(NamedTuple):
    """The blocks of some files by (producer, seq), and how many places were no whole block."""

    places: Mapping[tuple[str, int], Place]
    damaged: int


def index(files: Sequence[InputFile]) -> Index:
    """Look through the files; the rows are not read."""
    places: dict[tuple[str, int], Place] = {}
    damaged = 0
    for file in files:
        with open(file.path, "rb") as opened:
            for payload, place in _payloads(opened, file.path):
                try:
                    meta = block.read_meta(payload)
                except block.BlockError:
                    damaged += 1
                else:
                    places[meta.producer, meta.seq] = place
    return Index(places, damaged)


def _payloads(file: BinaryIO, path: str) -> Iterator[tuple[bytes, Place]]:
    if file.read(len(_CONTAINER)) == _CONTAINER:
        file.seek(0)
        payload = file.read()
        yield payload, Place(path, 0, len(payload))
        return
    at = 0
    while (found := read_frame(file, at)) is not None:
        match found:
            case Whole(payload, end):
                yield payload, Place(path, end - len(payload), end)
                at = end
            case Damaged(junk, end):
                yield junk, Place(path, at, end)
                at = end
    file.seek(at)
    if rest := file.read():  # a torn tail
        yield rest, Place(path, at, at + len(rest))


def payload_of(place: Place) -> bytes:
    """The bytes of a block."""
    with open(place.path, "rb") as file:
        file.seek(place.start)
        return file.read(place.end - place.start)


class Blocks:
    """Rows of indexed blocks; the ones used last stay in memory, some 500,000 rows of them."""

    def __init__(self, places: Mapping[tuple[str, int], Place]) -> None:
        self._places = places
        self._cache: OrderedDict[tuple[str, int], pl.DataFrame] = OrderedDict()

    def rows_for(self, rows: pl.DataFrame) -> pl.DataFrame | None:
        """Rows of all blocks that `rows` came in; None where none of them is known."""
        needed = rows.select("producer", "seq").unique().sort("producer", "seq")
        found = [self._rows(p, s) for p, s in needed.iter_rows() if (p, s) in self._places]
        return pl.concat(found) if found else None

    def _rows(self, producer: str, seq: int) -> pl.DataFrame:
        key = (producer, seq)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        _, rows = block.decode(load("event"), payload_of(self._places[key]))
        self._cache[key] = rows
        while sum(one.height for one in self._cache.values()) > _CACHED_ROWS:
            self._cache.popitem(last=False)
        return rows
