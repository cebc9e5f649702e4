"""The ledger from a real spool and a real archive, read again and again while they change."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from collector.bus.spool import SpoolPublisher
from reports import ledger
from reports.ledger import Books, Ledger
from reports.warehouse.files import WarehouseFiles
from schemas_avro import derive, load
from schemas_avro.segment import SUFFIX, frame, segment_name
from tests.reports import world
from tests.streams import NOON, event, frame_of


class Spool:
    """A collector's end of the bus."""

    def __init__(self, directory: Path, segment_bytes: int = 64 << 20) -> None:
        self._segment_bytes = segment_bytes
        self.directory = directory
        self.open()

    def open(self) -> None:
        self._bus = SpoolPublisher(self.directory, segment_bytes=self._segment_bytes)

    def close(self) -> None:
        self._bus.close()

    def send(self, events: int, refused: int = 0) -> None:
        rows = [event(f"e{n}", NOON + n) for n in range(events)]
        letters = [letter(n) for n in range(refused)]
        self._bus.publish(columns("event", rows), columns("dead_letter", letters))

    def segments(self, topic: str = "events") -> list[Path]:
        return sorted((self.directory / topic).rglob(f"*{SUFFIX}"))


def columns(record: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=derive.wire(load(record)), orient="row")


def letter(number: int) -> dict[str, Any]:
    return {
        "dead_letter_id": f"d{number}", "project": "demo", "source": "web", "step": "intake",
        "reason": "bad_money", "message": "no", "original": b"{}", "received_time": NOON,
    }  # fmt: skip


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool(tmp_path / "spool")
    yield made
    made.close()


@pytest.fixture
def books(tmp_path: Path) -> Books:
    return Books(tmp_path / "spool", WarehouseFiles(f"{tmp_path}/archive"))


def fresh(directory: Path) -> Ledger:
    """Read by one who remembers nothing."""
    return Books(directory / "spool", WarehouseFiles(f"{directory}/archive")).read()


def test_nothing_yet_is_balanced(books: Books) -> None:
    assert books.read() == Ledger(0, 0, 0, 0, 0, 0)
    assert books.read().balanced


def test_an_event_on_its_way(tmp_path: Path, spool: Spool, books: Books) -> None:
    spool.send(5, refused=2)
    found = books.read()
    assert (found.accepted, found.dead_lettered, found.in_flight) == (5, 2, 5)
    assert not found.balanced

    world.archive(tmp_path, [event(f"e{n}", NOON + n) for n in range(4)])
    world.archive(tmp_path, [event("e0", NOON)])
    found = books.read()
    assert (found.archived, found.in_flight, found.uncounted) == (5, 0, 5)

    world.count_day(tmp_path, date(2026, 9, 21), ("events", "{}", 4, None), ("orders", "{}", 0, 0),
                    events_in=4, duplicates=1)  # fmt: skip
    found = books.read()
    assert (found.counted, found.repeats, found.uncounted) == (4, 1, 0)
    assert found.balanced
    assert found == fresh(tmp_path)


def test_imported_events_never_were_on_the_bus(tmp_path: Path, spool: Spool, books: Books) -> None:
    spool.send(2)
    world.archive(tmp_path, [event("a", NOON), event("b", NOON)])
    world.archive(tmp_path, [event(f"i{n}", NOON) for n in range(7)], producer="import-shop-x")
    found = books.read()
    assert (found.accepted, found.imported, found.archived, found.in_flight) == (2, 7, 9, 0)


def test_a_day_counted_anew_counts_once(tmp_path: Path, books: Books) -> None:
    day = date(2026, 9, 21)
    world.archive(tmp_path, [event("a", NOON), event("b", NOON)])
    world.count_day(tmp_path, day, ("events", "{}", 1, None), events_in=1)
    assert books.read().uncounted == 1
    world.count_day(tmp_path, day, ("events", "{}", 2, None), ("orders", "{}", 0, 0), events_in=2)
    world.count_day(tmp_path, day, ("events", "{}", 3, None), events_in=3, project="other")
    assert (books.read().counted, books.read().repeats) == (5, 0)


def test_many_segments_and_a_restart(tmp_path: Path, books: Books) -> None:
    spool = Spool(tmp_path / "spool", segment_bytes=2000)
    sent = 0
    for number in range(12):
        spool.send(number)
        sent += number
        assert books.read().accepted == sent
        if number % 4 == 3:
            spool.close()
            spool.open()
    spool.close()
    assert len(spool.segments()) > 3
    assert fresh(tmp_path).accepted == sent


def test_a_torn_tail_counts_only_when_it_is_whole(spool: Spool, books: Books) -> None:
    spool.send(3)
    assert books.read().accepted == 3
    spool.close()
    segment = spool.segments()[0]
    whole = segment.read_bytes()
    block = frame(frame_of([event("x", NOON)], seq=1).payload)
    for size in (1, 11, 13, len(block) // 2, len(block) - 1):
        segment.write_bytes(whole + block[:size])
        assert books.read().accepted == 3
    spool.open()  # cuts the tail: nobody was answered for it
    assert segment.read_bytes() == whole
    assert books.read().accepted == 3
    spool.send(2)
    assert books.read().accepted == 5


def test_damage_in_the_middle_hides_nothing_behind_it(
    tmp_path: Path, spool: Spool, books: Books
) -> None:
    for _ in range(3):
        spool.send(10)
    spool.close()
    segment = spool.segments()[0]
    data = bytearray(segment.read_bytes())
    at = len(data) // 2
    data[at : at + 4] = b"\x00\x00\x00\x00"
    segment.write_bytes(data)
    assert books.read().accepted == fresh(tmp_path).accepted == 30
    spool.open()


def test_a_segment_that_became_shorter_is_read_anew(spool: Spool, books: Books) -> None:
    spool.send(4)
    size = spool.segments()[0].stat().st_size
    spool.send(4)
    assert books.read().accepted == 8
    with spool.segments()[0].open("r+b") as file:
        file.truncate(size)
    assert books.read().accepted == 4


def test_two_collectors_and_one_that_is_gone(tmp_path: Path, books: Books) -> None:
    first, second = Spool(tmp_path / "spool"), Spool(tmp_path / "spool")
    first.send(3)
    second.send(4)
    assert books.read().accepted == 7
    first.close()
    second.close()
    shutil.rmtree(first.segments()[0].parent)
    assert books.read().accepted == fresh(tmp_path).accepted


def test_what_was_read_is_not_read_again(
    tmp_path: Path, spool: Spool, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.send(5)
    world.archive(tmp_path, [event("a", NOON)])
    world.archive(tmp_path, [event("b", NOON)])
    books.read()
    frames: list[int] = []
    files: list[list[str]] = []
    read_frame, query = ledger.read_frame, ledger._query
    monkeypatch.setattr(
        ledger, "read_frame", lambda file, at: frames.append(at) or read_frame(file, at)
    )
    monkeypatch.setattr(ledger, "_query", lambda q, paths: files.append(paths) or query(q, paths))
    books.read()
    assert (frames, files) == ([], [[]])
    before = spool.segments()[0].stat().st_size
    spool.send(1)
    world.archive(tmp_path, [event("c", NOON)])
    found = books.read()
    assert frames[0] == before
    assert [len(paths) for paths in files[1:]] == [1]
    assert (found.accepted, found.archived) == (6, 3)


def test_a_read_that_failed_hides_nothing_from_the_next_one(
    tmp_path: Path, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.archive(tmp_path, [event("a", NOON), event("b", NOON)])
    with monkeypatch.context() as broken:
        broken.setitem(ledger._SQL, "ledger_archive", "SELECT error('no') FROM range(1) -- {files}")
        with pytest.raises(duckdb.Error):
            books.read()
    assert books.read() == fresh(tmp_path)
    assert books.read().archived == 2


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whenever_it_looks_it_sees_what_a_newcomer_sees(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    books = Books(tmp_path / "spool", WarehouseFiles(f"{tmp_path}/archive"))
    spool = Spool(tmp_path / "spool", segment_bytes=3000)
    for _ in range(25):
        match rng.randrange(4):
            case 0:
                spool.send(rng.randrange(1, 9), rng.randrange(3))
            case 1:
                spool.close()
                tail = spool.segments()
                if tail and rng.random() < 0.5:
                    with tail[-1].open("ab") as file:
                        file.write(b"HWB1" + rng.randbytes(rng.randrange(40)))
                spool.open()
            case 2:
                seq = rng.randrange(10**6)
                empty = tmp_path / "spool/events/p-9-x" / segment_name(seq)
                empty.parent.mkdir(parents=True, exist_ok=True)
                empty.touch()
            case _:
                assert books.read() == fresh(tmp_path)
    assert books.read() == fresh(tmp_path)
    spool.close()
