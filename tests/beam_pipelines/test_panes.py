"""Every pane of the live numbers as a story: what came when, and what was then on the screen.

Minute 0 is 12:00. An expected pane is (timing, minute, statistic, dimension, value), computed by
hand; it holds all of its minute, so the last one is what stays on the screen. The horizon is ten
minutes. Times are seconds after 12:00, those of the watermark too: it follows receipt.
"""

from __future__ import annotations

from pathlib import Path

from beam_pipelines.connectors.warehouse import Warehouse
from schemas_avro.tables import EVENTS
from tests.streams import NOON, Story, event, order, taken_in

SECOND, MINUTE = 1_000_000, 60_000_000


def test_nobody_waits_a_minute_for_a_first_number() -> None:
    story = Story()
    story.receives(event("1", NOON + 5 * SECOND), event("2", NOON + 6 * SECOND))
    story.waits(2)
    story.receives(event("3", NOON + 20 * SECOND))
    story.waits(2)
    story.watermark(61)
    story.shows(
        ("early", 0, "events", "view", 2),
        ("early", 0, "events", "view", 3),
        ("on_time", 0, "events", "view", 3),
    )


def test_a_late_event_within_the_horizon_corrects_its_minute() -> None:
    story = Story()
    story.receives(order("1", NOON, 100))
    story.watermark(61)
    story.receives(order("2", NOON + 1, 250, received_time=NOON + 9 * MINUTE))
    story.watermark(10 * 60)
    story.receives(order("3", NOON + 2, -50, received_time=NOON + 10 * MINUTE))
    story.shows(
        ("on_time", 0, "revenue", "GBP", 100),
        ("late", 0, "revenue", "GBP", 350),
        ("late", 0, "revenue", "GBP", 300),
    )


def test_later_than_the_horizon_is_counted_and_archived_but_moves_nothing(tmp_path: Path) -> None:
    story = Story(archive=tmp_path)
    story.receives(order("1", NOON, 100))
    story.watermark(61)
    exactly = order("2", NOON, 20, received_time=NOON + 10 * MINUTE)
    a_microsecond_more = order("3", NOON, 7, received_time=NOON + 10 * MINUTE + 1)
    story.receives(exactly, a_microsecond_more)
    story.waits(2)
    story.shows(
        ("on_time", 0, "revenue", "GBP", 100),
        ("late", 0, "revenue", "GBP", 120),
    )
    assert story.counters()["events_late"] == 1
    assert archived(tmp_path) == ["1", "2", "3"]


def test_an_idle_source_does_not_keep_a_minute_open() -> None:
    story = Story()
    story.receives(event("1", NOON + 5 * SECOND))
    story.watermark(60)  # nothing more was received: the watermark follows the clock alone
    story.waits(1)
    story.receives(event("2", NOON + 20 * MINUTE))
    story.watermark(21 * 60)
    story.shows(("on_time", 0, "events", "view", 1), ("on_time", 20, "events", "view", 1))


def test_an_empty_minute_has_no_pane() -> None:
    story = Story()
    story.receives(event("1", NOON), event("2", NOON + 2 * MINUTE))
    story.watermark(4 * 60)
    story.shows(("on_time", 0, "events", "view", 1), ("on_time", 2, "events", "view", 1))


def test_a_hot_key_does_not_hold_back_a_cold_one() -> None:
    story = Story()
    story.receives(event("cold", NOON, project="quiet"), producer="b-0")
    for number in range(20):
        busy = [event(f"{number}-{n}", NOON + n, name="hot", project="busy") for n in range(50)]
        story.receives(*busy)
    story.waits(2)
    story.receives(*[event(f"more-{n}", NOON + n, name="hot", project="busy") for n in range(50)])
    story.waits(2)
    story.watermark(61)
    story.shows(
        ("early", 0, "events", "view", 1),
        ("early", 0, "events", "hot", 1000),
        ("early", 0, "events", "hot", 1050),
        ("on_time", 0, "events", "view", 1),
        ("on_time", 0, "events", "hot", 1050),
    )


def test_a_clock_that_runs_ahead_counts_when_it_was_received() -> None:
    received = NOON + 30 * SECOND
    story = Story()
    a_day_ahead = "2099-01-01T00:00:00Z"
    story.receives(
        # The sender does not say when it sent: all that is known is when it came.
        taken_in("1", a_day_ahead, received),
        # It says so by the same wrong clock: two minutes on the way, whatever the clock showed.
        taken_in("2", "2098-12-31T23:57:30Z", received, sent="2098-12-31T23:59:30Z"),
    )
    story.watermark(61)
    story.shows(("late", -2, "events", "view", 1), ("on_time", 0, "events", "view", 1))


def test_a_repeat_within_the_horizon_counts_once_wherever_it_comes_from() -> None:
    story = Story()
    once = order("1", NOON + 1, 100)
    story.receives(once, once)
    again = {**once, "received_time": NOON + 9 * MINUTE}
    story.receives(again, producer="b-0")
    story.watermark(61)
    story.receives({**again, "received_time": NOON + 10 * MINUTE}, producer="b-0")
    story.shows(("on_time", 0, "revenue", "GBP", 100))
    assert story.counters()["events_repeated"] == 3


def test_a_repeat_beyond_the_horizon_is_late_with_a_time_of_its_own_and_new_without() -> None:
    dated = order("1", NOON, 100)
    # A sender that gives no time: each copy happened when it was received.
    undated = order("2", NOON, 5, received_time=NOON)
    story = Story()
    story.receives(dated, undated)
    story.watermark(59 * 60)
    story.receives(order("3", NOON + 59 * MINUTE, 1))  # an hour passes, and ids are forgotten
    story.watermark(60 * 60)
    hour = NOON + 60 * MINUTE
    story.receives(
        {**dated, "received_time": hour},
        {**undated, "received_time": hour, "event_time": hour},
    )
    story.watermark(62 * 60)
    # The exact tables count the second copy of "2" once; live numbers have it twice by then.
    story.shows(
        ("on_time", 0, "revenue", "GBP", 105),
        ("on_time", 59, "revenue", "GBP", 1),
        ("on_time", 60, "revenue", "GBP", 5),
    )
    assert story.counters()["events_late"] == 1


def test_a_producer_that_is_an_hour_ahead_does_not_make_another_forget() -> None:
    """After an outage two logs are read at once, and one may be read faster than the other."""
    once = order("1", NOON + 1, 100)
    story = Story()
    story.receives(once, producer="slow-0")
    hour = [order(f"fast {n}", NOON + 60 * MINUTE, 1) for n in range(20)]  # every shard has some
    story.receives(*hour, producer="fast-0")
    story.receives({**once, "received_time": NOON + 2 * MINUTE}, producer="slow-0")
    story.watermark(62 * 60)
    story.shows(("on_time", 0, "revenue", "GBP", 100), ("on_time", 60, "revenue", "GBP", 20))
    assert story.counters()["events_repeated"] == 1


def archived(directory: Path) -> list[str]:
    rows = Warehouse(str(directory)).table(EVENTS).scan().to_arrow()
    return sorted(str(one) for one in rows["event_id"].to_pylist())
