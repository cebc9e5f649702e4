"""Live streams: one reader however many look, only what changed, and an end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from reports.live import feed as feeds
from reports.live.feed import MOST_STREAMS, Feed, TooMany
from tests.system import wait_for

PROBLEM = ("problem", {"event": "live", "message": "live cannot be read now"})


class Numbers:
    """Something to read; counts how often it was. It fails, or hangs, for as long as it is told."""

    def __init__(self) -> None:
        self.value, self.reads, self.is_failing = 0, 0, False
        self.goes_on = threading.Event()
        self.goes_on.set()

    def __call__(self, project: str) -> dict[str, Any]:
        self.reads += 1
        self.goes_on.wait(20)
        if self.is_failing:
            raise OSError("locked")
        return {"project": project, "value": self.value}


def events(stream: Iterator[bytes]) -> Iterator[tuple[str, Any]]:
    """(event, data) of a stream, as a browser reads it."""
    for chunk in stream:
        for block in chunk.decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] != ":")
            if "data" in fields:
                yield fields["event"], json.loads(fields["data"])


def test_it_sends_what_changed_and_nothing_else() -> None:
    numbers = Numbers()
    stream = events(Feed({"live": (numbers, 0.05)}).stream("demo"))
    assert next(stream) == ("live", {"project": "demo", "value": 0})
    numbers.value = 1
    assert next(stream) == ("live", {"project": "demo", "value": 1})
    reads = numbers.reads
    time.sleep(0.4)
    numbers.value = 2
    assert next(stream) == ("live", {"project": "demo", "value": 2})
    assert numbers.reads > reads + 3, "it read on, and said nothing as nothing changed"


def test_twenty_readers_are_one() -> None:
    numbers = Numbers()
    feed = Feed({"live": (numbers, 0.2)})
    streams = [feed.stream("demo") for _ in range(20)]
    read = [next(events(stream)) for stream in streams]
    assert read == [("live", {"project": "demo", "value": 0})] * 20
    assert numbers.reads <= 5
    for stream in streams:
        stream.close()  # type: ignore[attr-defined]
    assert feed.looking == 0


def test_projects_do_not_hear_one_another() -> None:
    feed = Feed({"live": (Numbers(), 0.05)})
    one, other = feed.stream("demo"), feed.stream("other")
    assert next(events(one))[1]["project"] == "demo"
    assert next(events(other))[1]["project"] == "other"


def test_it_ends_by_itself_and_the_reader_stops() -> None:
    numbers = Numbers()
    feed = Feed({"live": (numbers, 0.05)}, stream_s=0.3)
    started = time.monotonic()
    assert list(events(feed.stream("demo")))
    assert 0.2 < time.monotonic() - started < 3
    assert feed.looking == 0
    time.sleep(0.3)
    reads = numbers.reads
    time.sleep(0.3)
    assert numbers.reads == reads


def test_a_stream_that_nobody_reads_gives_its_place_back() -> None:
    feed = Feed({"live": (Numbers(), 0.05)})
    feed.stream("demo").close()  # type: ignore[attr-defined]
    assert feed.looking == 0
    feed.stream("demo")  # dropped at once
    wait_for(lambda: feed.looking == 0, seconds=5, what="a dropped stream's place")


def test_too_many_are_refused() -> None:
    feed = Feed({"live": (Numbers(), 0.5)})
    held = [feed.stream("demo") for _ in range(MOST_STREAMS)]
    with pytest.raises(TooMany):
        feed.stream("demo")
    held.pop().close()  # type: ignore[attr-defined]
    assert feed.stream("demo")


def test_a_reader_that_fails_says_so_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    numbers = Numbers()

    def failing(project: str) -> dict[str, Any]:
        found = numbers(project)
        if numbers.reads == 1:
            raise OSError("locked")
        return found

    stream = events(Feed({"live": (failing, 0.05)}).stream("demo"))
    assert next(stream) == PROBLEM
    assert next(stream) == ("live", {"project": "demo", "value": 0})
    assert "locked" not in json.dumps([record.message for record in caplog.records])


def test_numbers_of_before_a_problem_are_no_news_to_whoever_comes_later() -> None:
    numbers = Numbers()
    feed = Feed({"live": (numbers, 0.05)})
    first = events(feed.stream("demo"))
    assert next(first) == ("live", {"project": "demo", "value": 0})
    numbers.is_failing = True
    assert next(first) == PROBLEM
    assert next(events(feed.stream("demo"))) == PROBLEM
    numbers.is_failing = False
    told = ("live", {"project": "demo", "value": 0})
    assert next(first) == told, "it is read again, and as it was"
    assert next(events(feed.stream("demo"))) == told, "and the problem is over"


def test_one_that_fails_does_not_silence_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "_BEAT_S", 0.2)
    live, ledger = Numbers(), Numbers()
    live.is_failing = True
    stream = events(Feed({"live": (live, 0.05), "ledger": (ledger, 0.05)}).stream("demo"))
    assert {next(stream)[0], next(stream)[0]} == {"problem", "ledger"}
    assert next(stream) == ("beat", ["ledger"])
    live.is_failing = False
    assert ("beat", ["live", "ledger"]) in (next(stream) for _ in range(20))


def test_a_reader_that_hangs_has_no_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "_BEAT_S", 0.2)
    monkeypatch.setattr(feeds, "_LATE_S", 0.5)
    numbers = Numbers()
    feed = Feed({"live": (numbers, 0.05)})
    stream = events(feed.stream("demo"))
    assert next(stream) == ("live", {"project": "demo", "value": 0})
    assert next(stream) == ("beat", ["live"])
    numbers.goes_on.clear()
    assert ("beat", []) in (next(stream) for _ in range(20))
    late = events(feed.stream("demo"))
    assert next(late) == ("beat", []), "what was read long ago is not told as new"
    numbers.goes_on.set()
    assert ("live", {"project": "demo", "value": 0}) in (next(late) for _ in range(20))
