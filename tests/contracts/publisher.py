"""What every Publisher must do, whatever bus lies behind it. An adapter subclasses the suite."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl
import pytest

from collector.bus.port import BusError, Publisher
from schemas_avro import derive, load

NOW = 1_800_000_000_000_000  # us
REQUESTS = 40
Row = dict[str, Any]
Block = tuple[dict[str, Any], list[dict[str, Any]]]  # (metadata, rows)


def event(event_id: str, received: int = NOW) -> dict[str, Any]:
    """A row of event.avsc."""
    return {
        "event_id": event_id,
        "project": "shop",
        "source": "web",
        "type": "track",
        "name": "x",
        "received_time": received,
        "event_time": received,
        "properties": "{}",
        "flags": 0,
    }


def letter(letter_id: str, received: int = NOW) -> dict[str, Any]:
    """A row of dead_letter.avsc; its original is no text."""
    return {
        "dead_letter_id": letter_id,
        "project": "shop",
        "source": "web",
        "step": "intake",
        "reason": "unreadable",
        "message": "é",
        "exception": None,
        "original": b"\xff\x00",
        "headers": None,
        "received_time": received,
    }


def frame_of(record: str, rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Rows as the columns that some of them have."""
    names = set().union(*rows)
    types = {n: t for n, t in derive.wire(load(record)).items() if n in names}
    return pl.DataFrame(rows, schema=types, orient="row")


def send(
    publisher: Publisher, rows: Sequence[dict[str, Any]], dead: Sequence[dict[str, Any]]
) -> None:
    """Publish rows of event.avsc and of dead_letter.avsc."""
    publisher.publish(frame_of("event", rows), frame_of("dead_letter", dead))


class PublisherContract(ABC):
    """Subclasses make a publisher, and read what came onto its bus."""

    @pytest.fixture
    def publisher(self, bus: Any) -> Iterator[Publisher]:
        made = self.make(bus)
        yield made
        made.close()

    @abstractmethod
    def make(self, bus: Any) -> Publisher:
        """A publisher on the bus that the subclass's fixture `bus` stands for."""

    @abstractmethod
    def blocks(self, bus: Any) -> list[Block]:
        """Every block of events, each producer's in order."""

    @abstractmethod
    def dead_blocks(self, bus: Any) -> list[Block]:
        """Every block of dead letters, each producer's in order."""

    def ids(self, bus: Any) -> list[str]:
        return [row["event_id"] for _, rows in self.blocks(bus) for row in rows]

    def test_what_was_published_is_there_when_publish_returns(self, bus, publisher) -> None:
        send(publisher, [event("a"), event("b")], [letter("c")])
        assert self.ids(bus) == ["a", "b"]
        (found,) = [row for _, rows in self.dead_blocks(bus) for row in rows]
        assert found == {k: v for k, v in letter("c").items() if v is not None}

    def test_rows_come_back_as_they_were(self, bus, publisher) -> None:
        rows = [
            event("plain"),
            {
                **event("every kind"),
                "revenue_minor": -(2**63),
                "user_id": "\0é😀",
                "retry_count": 3,
            },
            {**event("long"), "properties": '{"a":"' + "x" * 100_000 + '"}'},
        ]
        send(publisher, rows, [])
        assert [row for _, found in self.blocks(bus) for row in found] == rows

    def test_nothing_makes_no_block(self, bus, publisher) -> None:
        send(publisher, [], [])
        assert self.blocks(bus) == self.dead_blocks(bus) == []

    def test_only_dead_letters(self, bus, publisher) -> None:
        send(publisher, [], [letter("a")])
        assert self.blocks(bus) == []
        assert len(self.dead_blocks(bus)) == 1

    def test_metadata_counts(self, bus, publisher) -> None:
        send(publisher, [event("a", NOW), event("b", NOW + 5)], [letter("x"), letter("y")])
        send(publisher, [event("c", NOW + 9)], [])
        send(publisher, [event("d")], [letter("z")])
        metas = [meta for meta, _ in self.blocks(bus)]
        assert [m["seq"] for m in metas] == [0, 1, 2]
        assert [m["first_row"] for m in metas] == [0, 2, 3]
        assert [m["count"] for m in metas] == [2, 1, 1]
        assert [m["rejected"] for m in metas] == [2, 0, 1]
        assert [m["first_received"] for m in metas] == [NOW, NOW + 9, NOW]
        assert [m["last_received"] for m in metas] == [NOW + 5, NOW + 9, NOW]
        assert len({m["block_id"] for m in metas}) == 3
        assert len({m["producer"] for m in metas}) == 1

    def test_as_many_threads_as_it_has_lanes(self, bus, publisher) -> None:
        def sender(thread: int) -> None:
            for request in range(REQUESTS):
                name = f"{thread}-{request}"
                rows = [event(f"{name}-{n}") for n in range(request % 4)]
                send(publisher, rows, [letter(name)] if request % 5 == 0 else [])

        self._in_lanes(publisher, sender)
        wanted = [
            f"{thread}-{request}-{n}"
            for thread in range(publisher.lanes)
            for request in range(REQUESTS)
            for n in range(request % 4)
        ]
        assert Counter(self.ids(bus)) == Counter(wanted)
        dead = [row for _, rows in self.dead_blocks(bus) for row in rows]
        assert (
            len({row["dead_letter_id"] for row in dead})
            == len(dead)
            == publisher.lanes * REQUESTS // 5
        )
        self._assert_numbered([meta for meta, _ in self.blocks(bus)])
        self._assert_numbered([meta for meta, _ in self.dead_blocks(bus)])

    def test_healthy_until_closed(self, publisher) -> None:
        assert publisher.healthy()
        publisher.close()
        assert not publisher.healthy()

    def test_after_close_rows_are_refused(self, bus, publisher) -> None:
        send(publisher, [event("a")], [])
        publisher.close()
        with pytest.raises(BusError):
            send(publisher, [event("b")], [])
        assert self.ids(bus) == ["a"]

    def test_closing_twice_does_no_harm(self, publisher) -> None:
        publisher.close()
        publisher.close()
        assert not publisher.healthy()

    def test_numbers_go_on_after_a_restart(self, bus, publisher) -> None:
        send(publisher, [event("a"), event("b")], [])
        publisher.close()
        again = self.make(bus)
        send(again, [event("c")], [])
        again.close()
        assert self.ids(bus) == ["a", "b", "c"]
        self._assert_numbered([meta for meta, _ in self.blocks(bus)])

    @staticmethod
    def _in_lanes(publisher: Publisher, sender: Any) -> None:
        threads = [threading.Thread(target=sender, args=(n,)) for n in range(publisher.lanes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    @staticmethod
    def _assert_numbered(metas: Sequence[dict[str, Any]]) -> None:
        """Each producer's blocks are numbered without a gap, and so are their rows."""
        for producer in {meta["producer"] for meta in metas}:
            rows = 0
            for seq, meta in enumerate(m for m in metas if m["producer"] == producer):
                assert (meta["seq"], meta["first_row"]) == (seq, rows)
                rows += meta["count"]
