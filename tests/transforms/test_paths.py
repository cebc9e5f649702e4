"""Paths against a walk event by event, on random streams with ties, repeats and window edges."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import date, timedelta
from statistics import median

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.paths import END, OTHER, Stream, Walk, edges, session_numbers
from transforms.sessions import GAP_US, mark_starts

MINUTE_US = 60_000_000
DAY_US = 86_400_000_000


@st.composite
def streams(draw):
    """Rows (person, time, day, node, anchor) in order; gaps are often exactly at the edge."""
    rows = []
    gap = st.sampled_from([0, 0, 1, MINUTE_US, GAP_US - 1, GAP_US, GAP_US + 1, DAY_US])
    for person in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, DAY_US))
        for _ in range(draw(st.integers(0, 9))):
            at += draw(gap)
            rows.append((person, at, at // DAY_US, draw(st.integers(0, 3)), draw(st.booleans())))
    return rows


walks = st.builds(
    Walk,
    direction=st.sampled_from(["after", "before"]),
    steps=st.integers(1, 5),
    shown=st.integers(1, 4),
    collapse=st.booleans(),
    window_us=st.sampled_from([None, None, 0, MINUTE_US, GAP_US, 2 * DAY_US]),
    ends=st.booleans(),
)


def stream_of(rows) -> Stream:
    columns = list(zip(*rows, strict=True)) or [[]] * 5
    whole = [np.array(column, np.int64) for column in columns[:4]]
    return Stream(*whole, np.array(columns[4], np.bool_))


def sessions_by_hand(rows):
    """Lists of rows that belong together."""
    found, last, began = [], None, 0
    for row in rows:
        person, at, day = row[:3]
        goes_on = last is not None and last[0] == person and at - last[1] <= GAP_US
        if not goes_on:
            began = day
        # What is never silent is cut at the second midnight after it began, and at each later one.
        if goes_on and not (day != last[2] and day - began >= 2):
            found[-1].append(row)
        else:
            found.append([row])
        last = row
    return found


def paths_by_hand(rows, walk):
    """Lists of (node, time, person), the anchor first."""
    if walk.window_us is None:
        groups = sessions_by_hand(rows)
    else:
        by_person = defaultdict(list)
        for row in rows:
            by_person[row[0]].append(row)
        groups = list(by_person.values())
    found = []
    for group in groups:
        turned = list(reversed(group)) if walk.direction == "before" else group
        anchors = [i for i, row in enumerate(turned) if row[4]]
        if not anchors:
            continue
        anchor = turned[anchors[0]]
        path = [anchor]
        last_node = anchor[3]
        for row in turned[anchors[0] + 1 :]:
            if walk.window_us is not None and abs(row[1] - anchor[1]) > walk.window_us:
                break
            if walk.collapse and row[3] == last_node:
                continue
            path.append(row)
            last_node = row[3]
        found.append(path[: walk.steps + 1])
    return found


def edges_by_hand(rows, walk):
    """{(depth, from, to): (people, paths, median)}."""
    paths = paths_by_hand(rows, walk)
    kept = []
    for step in range(walk.steps + 1):
        counts = Counter(path[step][3] for path in paths if len(path) > step)
        ranked = sorted(counts, key=lambda node: (-counts[node], node))
        kept.append(set(ranked[: walk.shown]))

    def label(path, step):
        node = path[step][3]
        return node if node in kept[step] else OTHER

    longest = max((len(path) - 1 for path in paths), default=0)
    if walk.ends and paths:
        longest = min(walk.steps, max(len(path) for path in paths))
    found = defaultdict(list)
    for path in paths:
        for step in range(1, walk.steps + 1):
            if len(path) > step:
                took = abs(path[step][1] - path[step - 1][1])
                pair = (label(path, step - 1), label(path, step))
            elif walk.ends and len(path) == step:
                took, pair = None, (label(path, step - 1), END)
            else:
                continue
            depth = step
            if walk.direction == "before":
                depth, pair = longest - step + 1, (pair[1], pair[0])
            found[depth, *pair].append((path[0][0], took))
    return {
        key: (
            len({person for person, _ in taken}),
            len(taken),
            median([t for _, t in taken if t is not None])
            if any(t is not None for _, t in taken) else None,
        )
        for key, taken in found.items()
    }  # fmt: skip


@settings(max_examples=400)
@given(streams(), walks)
def test_edges_are_what_a_walk_finds(rows, walk):
    found = edges(stream_of(rows), walk)
    got = {(d, a, b): rest for d, a, b, *rest in found.iter_rows()}
    wanted = {key: list(value) for key, value in edges_by_hand(rows, walk).items()}
    assert got == wanted


@given(streams(), walks)
def test_what_comes_to_a_step_goes_on_or_ends(rows, walk):
    """With ends shown, as many leave a node as came to it, but for the outermost step."""
    shown = Walk(walk.direction, walk.steps, walk.shown, walk.collapse, walk.window_us, ends=True)
    found = edges(stream_of(rows), shown)
    outer, inner = ("to", "from") if walk.direction == "after" else ("from", "to")
    step = 1 if walk.direction == "after" else -1
    came, left = Counter(), Counter()
    for row in found.iter_rows(named=True):
        came[row["depth"], row[outer]] += row["paths"]
        left[row["depth"], row[inner]] += row["paths"]
    depths = {depth for depth, _ in came}
    for (depth, node), paths in came.items():
        if node != END and depth + step in depths:
            assert left[depth + step, node] == paths


@given(streams())
def test_sessions_are_those_of_the_daily_numbers(rows):
    """transforms.sessions marks starts on batches of events: the same cuts."""
    if not rows:
        return
    epoch = date(1970, 1, 1)
    batch = pl.DataFrame(
        [
            {
                "project": "p",
                "user_id": f"u{person:03}",
                "anonymous_id": None,
                "event_time": at,
                "day": epoch + timedelta(day),
                "event_id": f"{number:05}",
            }
            for number, (person, at, day, _, _) in enumerate(rows)
        ],
        schema_overrides={"anonymous_id": pl.String},
    )
    marked = mark_starts(batch).sort("user_id", "event_time", "event_id")
    numbers = session_numbers(stream_of(rows))
    starts = [True, *(numbers[1:] != numbers[:-1]).tolist()]
    assert marked["session_start"].to_list() == starts


def test_backwards_is_forwards_with_time_reversed():
    rows = [(0, 0, 0, 1, False), (0, 5, 0, 2, False), (0, 9, 0, 3, True)]
    found = edges(stream_of(rows), Walk("before", 4, 5, True, None))
    assert found.rows() == [(1, 1, 2, 1, 1, 5.0), (2, 2, 3, 1, 1, 4.0)]


@pytest.mark.parametrize("ends", [True, False])
def test_no_anchor_no_edges(ends):
    found = edges(stream_of([(0, 0, 0, 1, False)]), Walk("after", 3, 5, True, None, ends))
    assert found.is_empty()
