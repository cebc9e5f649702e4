"""Sessions against a plain loop: the edge of the gap, one midnight and the second, money, pages."""

from __future__ import annotations

import json
import random
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from tests import exact_brute
from tests.streams import DAY_US, NOON
from transforms.grid import add_local_day
from transforms.sessions import GAP_US, NEEDS, mark_starts, sessions_of

ZONE = "Europe/London"
TYPES = {c: pl.Int64() if c in ("event_time", "revenue_minor") else pl.String() for c in NEEDS}
EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "user_id": st.sampled_from(["u", None]),
            "anonymous_id": st.sampled_from(["a", "b", None]),
            # Half a gap each, over days: at the gap, above it, and through midnights.
            "event_time": st.integers(0, 60).map(lambda n: NOON + n * GAP_US // 2),
            "type": st.sampled_from(["page", "track", "screen"]),
            "page_path": st.sampled_from(["/", "/buy", None]),
            "revenue_minor": st.sampled_from([None, 5, -2]),
            "currency": st.sampled_from(["GBP", "EUR"]),
        }
    ),
    max_size=40,
)
Row = dict[str, Any]


def filled(rows: list[Row]) -> list[Row]:
    shared = {"project": "p", "source": "web", "name": "home", "order_id": None}
    made = [{**shared, **row, "event_id": f"{n:05}"} for n, row in enumerate(rows)]
    for row in made:
        if row["revenue_minor"] is None:
            row["currency"] = None
        elif row["revenue_minor"] > 0:
            row["order_id"] = f"o{row['event_id']}"
    return made


def frame(rows: list[Row]) -> pl.DataFrame:
    return add_local_day(pl.DataFrame(rows, schema=TYPES, orient="row"), {"p": ZONE})


def expected(rows: list[Row]) -> list[Row]:
    found = []
    for events in exact_brute.sessions(rows, ZONE):
        shown = [e["page_path"] or e["name"] for e in events if e["type"] in ("page", "screen")]
        money: dict[str, int] = {}
        for e in events:
            if e["revenue_minor"] is not None:
                money[e["currency"]] = money.get(e["currency"], 0) + e["revenue_minor"]
        found.append(
            {
                "person": events[0]["user_id"] or events[0]["anonymous_id"],
                "day": exact_brute.local(events[0]["event_time"], ZONE).date(),
                "started_at": events[0]["event_time"],
                "ended_at": events[-1]["event_time"],
                "duration_us": events[-1]["event_time"] - events[0]["event_time"],
                "first_event_id": events[0]["event_id"],
                "events": len(events),
                "views": len(shown),
                "entry_page": shown[0] if shown else None,
                "exit_page": shown[-1] if shown else None,
                "orders": sum(e["order_id"] is not None for e in events),
                "revenue": json.dumps(dict(sorted(money.items())), separators=(",", ":")),
                "bounce": int(len(events) == 1),
            }
        )
    return sorted(found, key=lambda s: (s["person"], s["started_at"]))


@given(EVENTS, st.randoms(use_true_random=False))
def test_the_loop_finds_the_same_sessions_in_any_order(
    events: list[Row], rng: random.Random
) -> None:
    rows = filled(events)
    found = sessions_of(frame(rng.sample(rows, len(rows)))).sort("person", "started_at")
    wanted = expected(rows)
    names = list(wanted[0]) if wanted else []
    assert found.select(names).to_dicts() == wanted
    assert mark_starts(frame(rows))["session_start"].sum() == len(wanted)


def test_what_is_never_silent_ends_at_every_midnight_but_the_first() -> None:
    ten_minutes = GAP_US // 3
    rows = filled(
        [
            {"event_time": NOON + n * ten_minutes, "user_id": "robot", "anonymous_id": None,
             "type": "track", "page_path": None, "revenue_minor": None, "currency": None}
            for n in range(5 * DAY_US // ten_minutes)
        ]
    )  # fmt: skip
    found = sessions_of(frame(rows)).sort("started_at")
    assert found.height == 5  # noon to the second midnight, three whole days, and half of one
    assert found["duration_us"].max() < 2 * DAY_US
    assert found.select("events").to_dicts() == [{"events": s["events"]} for s in expected(rows)]
    # Each can be found without what lies more than two days before its day.
    late = [r for r in rows if r["event_time"] > NOON + DAY_US * 3 // 2]
    some = sessions_of(frame(late)).sort("started_at")
    assert some["started_at"].to_list()[1:] == found["started_at"].to_list()[3:]


def test_without_days_only_the_gap_counts() -> None:
    rows = pl.DataFrame(
        {"project": "p", "user_id": "u", "anonymous_id": None, "event_id": ["a", "b", "c"],
         "event_time": [0, GAP_US, 2 * GAP_US + 1]},
    )  # fmt: skip
    assert mark_starts(rows)["session_start"].to_list() == [True, False, True]


def test_nobody_has_no_session() -> None:
    assert sessions_of(frame([])).is_empty()
