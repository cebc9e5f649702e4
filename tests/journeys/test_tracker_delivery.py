"""tracker.js in Chromium against the running collector, killed, busy, away: nothing is lost."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Error as PlaywrightError

from tests.journeys.site import (
    Visitor,
    answers,
    context_of,
    once,
    queued,
    stored,
    ticks,
    track_ticks,
)
from tests.system import System, wait_for

pytestmark = [pytest.mark.journey, pytest.mark.browser]


@pytest.fixture
def restarted(collector: System) -> Iterator[Callable[..., None]]:
    """Starts the collector anew with other settings; at the end with the usual ones."""
    usual = dict(collector.environ)

    def restart(**settings: object) -> None:
        collector.kill("collector", signal.SIGTERM)
        collector.environ = {
            **usual,
            **{f"HEADWATER_{k.upper()}": str(v) for k, v in settings.items()},
        }
        collector.start_collector()

    yield restart
    restart()


def test_offline_and_online_again(visitor: Visitor) -> None:
    page = visitor.land("offline")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    visitor.context.set_offline(True)
    track_ticks(page, 1, 30)
    page.wait_for_timeout(1500)
    assert asked == []
    assert queued(page) == 30
    visitor.context.set_offline(False)
    visitor.wait_until_arrived("offline", {"page": 1, **ticks(1, 30)})
    assert len(visitor.arrived("offline")) == 31  # and nothing was sent twice
    wait_for(lambda: queued(page) == 0, seconds=5, what="an empty queue")


def test_a_full_queue_keeps_the_oldest_and_says_how_many_it_did_not(visitor: Visitor) -> None:
    page = visitor.land("full")
    visitor.context.set_offline(True)
    track_ticks(page, 1, 1005)
    assert queued(page) == 1000
    visitor.context.set_offline(False)
    visitor.wait_until_arrived("full", {"page": 1, **ticks(1, 1000)})
    wait_for(lambda: queued(page) == 0, seconds=5, what="an empty queue")
    assert "r" not in stored(page)  # dozens of requests in a row, and none had to wait
    page.evaluate("headwater.track('Next'); headwater.track('One More')")
    *_, after, more = visitor.wait_until_arrived(
        "full", {"page": 1, **ticks(1, 1000), "Next": 1, "One More": 1}
    )
    assert context_of(after)["dropped"] == "5"
    assert "dropped" not in context_of(more)


def test_a_collector_killed_and_started_again_loses_nothing(visitor: Visitor) -> None:
    page = visitor.visit("/killed/")
    page.evaluate("let n = 0; window.going = setInterval(() => headwater.track('Tick ' + ++n), 40)")
    page.wait_for_timeout(1500)
    visitor.system.kill("collector")
    page.wait_for_timeout(1000)
    page.goto(f"{visitor.origin}/killed/next")  # what the page had waits for the next one
    page.wait_for_function("window.headwater && headwater.version")
    track_ticks(page, 1001, 1010)
    page.wait_for_timeout(500)
    visitor.system.start_collector()
    last = wait_for(
        lambda: max(
            (int(row["name"][5:]) for row in visitor.arrived("killed") if row["name"]), default=0
        ) == 1010,
        seconds=20,
        what="the last event",
    )  # fmt: skip
    assert last
    wait_for(lambda: queued(page) == 0, seconds=10, what="an empty queue")
    counted = Counter(row["name"] for row in once(visitor.arrived("killed")))
    numbers = sorted(int(name[5:]) for name in counted if name)
    before = [n for n in numbers if n < 1000]
    assert len(before) > 40
    assert before == list(range(1, len(before) + 1))
    assert numbers[len(before) :] == list(range(1001, 1011))
    assert set(counted.values()) == {1, 2}
    assert counted[None] == 2  # the two page views


def test_503_and_413_of_the_collector_are_obeyed(
    visitor: Visitor, restarted: Callable[..., None]
) -> None:
    restarted(max_waiting_events=1, max_batch_events=3)
    page = visitor.visit("/busy/")
    seen = answers(page)
    track_ticks(page, 1, 2)  # two at once are more than may wait: 503, Retry-After: 1
    wait_for(lambda: queued(page) and seen, seconds=10, what="the first 503")
    page.goto(f"{visitor.origin}/busy/again")  # the next page must not knock earlier, either
    page.wait_for_function("window.headwater && headwater.version")
    page.evaluate("headwater.flush()")
    page.wait_for_timeout(2500)
    statuses, times = zip(*seen, strict=True)
    assert set(statuses) == {503}
    assert len(statuses) >= 2
    # 1 s told and at least half a second of its own; a backoff of its own alone is within 1 s
    assert 1.4 < times[1] - times[0] < 3
    assert visitor.arrived("busy") == []
    restarted(max_batch_events=3)
    visitor.wait_until_arrived("busy", ticks(1, 2))
    page.goto(f"{visitor.origin}/halved/")
    page.wait_for_function("window.headwater && headwater.version")
    seen.clear()
    track_ticks(page, 1, 8)
    visitor.wait_until_arrived("halved", ticks(1, 8))
    wait_for(lambda: queued(page) == 0, seconds=5, what="an empty queue")
    assert Counter(status for status, _ in seen)[413] in (1, 2)
    assert len(visitor.arrived("halved")) == 8


def test_what_no_retry_can_mend_is_dropped_and_said(visitor: Visitor) -> None:
    page = visitor.context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    seen = answers(page)
    page.goto(f"{visitor.origin}/unknown/")
    wait_for(lambda: queued(page) == 0 and seen, seconds=10, what="401 and an empty queue")
    page.wait_for_timeout(1500)
    assert [status for status, _ in seen] == [401]
    assert "warning: headwater: 401 dropped 1" in said


@pytest.mark.parametrize("how", ["leave", "close"])
def test_a_page_that_is_left_at_once(visitor: Visitor, how: str) -> None:
    page = visitor.land(how)
    track_ticks(page, 1, 2)
    if how == "leave":
        page.goto("about:blank")
    else:
        page.close()
    wanted = {"page": 1, **ticks(1, 2)}
    visitor.wait_until_arrived(how, wanted)  # nothing else but the beacon can have brought them
    assert len(visitor.arrived(how)) == 3
    page = visitor.visit(f"/{how}/again")
    visitor.wait_until_arrived(how, {**wanted, "page": 2})
    wait_for(lambda: queued(page) == 0, seconds=5, what="an empty queue")
    # Nobody confirmed the beacon: the next page sent them once more, with the same ids.
    names = Counter(row["name"] for row in visitor.arrived(how))
    assert names == {None: 2, "Tick 1": 2, "Tick 2": 2}


def test_what_a_beacon_does_not_take_waits_for_the_next_page(visitor: Visitor) -> None:
    page = visitor.visit("/large/")
    # Three bytes a character: one of these fills a request, two are more than a browser takes.
    page.evaluate(
        "() => { for (const n of [1, 2, 3]) headwater.track('Tick ' + n, {t: '€'.repeat(15e3)}) }"
    )
    page.goto("about:blank")
    visitor.wait_until_arrived("large", ticks(1, 1))
    page.goto(f"{visitor.origin}/large/again")
    visitor.wait_until_arrived("large", ticks(1, 3))


def test_a_page_that_may_store_nothing(visitor: Visitor) -> None:
    page = visitor.context.new_page()
    # A sandboxed frame has an opaque origin: storage and locks throw, the origin is "null".
    page.goto(f"{visitor.origin}/framed/")
    frame = wait_for(lambda: page.frames[1:], seconds=5, what="the frame")[0]
    frame.wait_for_function("window.headwater && headwater.version")
    with pytest.raises(PlaywrightError, match="sandboxed"):
        frame.evaluate("localStorage.length")
    frame.evaluate("headwater.track('Still Here'); headwater.identify('user 5')")
    frame.evaluate("headwater.track('And Here')")
    rows = visitor.wait_until_arrived(
        "blocked", {"page": 1, "Still Here": 1, "identify": 1, "And Here": 1}
    )
    assert len({row["anonymous_id"] for row in rows}) == 1
    assert rows[-1]["user_id"] == "user 5"


def test_a_full_storage(visitor: Visitor) -> None:
    page = visitor.land("quota")
    page.evaluate(
        """() => {
          for (let size = 1 << 22; size; size >>= 1)
            try { for (let n = 0; ; n++) localStorage['fill' + size + n] = 'x'.repeat(size) }
            catch (error) {}
        }"""
    )
    before = len(stored(page))
    track_ticks(page, 1, 3)
    assert len(stored(page)) <= before
    visitor.wait_until_arrived("quota", {"page": 1, **ticks(1, 3)})
    page.evaluate("localStorage.clear()")
    track_ticks(page, 4, 4)
    assert queued(page) == 1  # there is room again
    visitor.wait_until_arrived("quota", {"page": 1, **ticks(1, 4)})
    assert len(visitor.arrived("quota")) == 5


def test_two_tabs_share_the_queue(visitor: Visitor) -> None:
    one = visitor.visit("/tabs/one")
    two = visitor.visit("/tabs/two")
    visitor.wait_until_arrived("tabs", {"page": 2})
    visitor.context.set_offline(True)
    for page, first in ((one, 1), (two, 1001)):
        page.evaluate(
            """first => {
              let n = 0;
              const going = setInterval(() => {
                headwater.track('Tick ' + (first + n));
                if (++n == 60) clearInterval(going);
              }, 10);
            }""",
            first,
        )
    wait_for(lambda: queued(one) == 120, seconds=10, what="120 events of both tabs")
    visitor.context.set_offline(False)  # both start to send, at once
    wanted = {"page": 2, **ticks(1, 60), **ticks(1001, 1060)}
    rows = visitor.wait_until_arrived("tabs", wanted)
    assert len({row["anonymous_id"] for row in rows}) == 1
    assert len({context_of(row)["sessionId"] for row in rows}) == 1
    wait_for(lambda: queued(one) == 0, seconds=5, what="an empty queue")
    # What one tab took out of the storage, the other may see a moment later: it sends a request
    # of 30 events or so again. Without the lock each tab would send all 120.
    assert len(visitor.arrived("tabs")) < 122 + 60
