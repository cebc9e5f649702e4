"""Paths: what people do one after the other, from a chosen event on or up to it.

A path begins with an anchor and takes the following events of the same person as its steps, as long
as they belong to the same session, or lie within a length of time from the anchor. A session, or a
person where a length of time is asked, gives one path: from its first anchor, or, backwards, from
its last. Backwards is the same with time reversed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from transforms.sessions import GAP_US

Direction = Literal["after", "before"]
OTHER, END = 1 << 40, (1 << 40) + 1  # in place of a node's number; after all of them
EDGES = {
    "depth": pl.Int64(),
    "from": pl.Int64(),
    "to": pl.Int64(),
    "people": pl.Int64(),
    "paths": pl.Int64(),
    "median_us": pl.Float64(),
}


@dataclass(frozen=True)
class Walk:
    """How paths go.

    steps:     most steps after the anchor
    shown:     nodes kept at each step; the others are one, OTHER
    collapse:  equal nodes in a row are one, at the time nearest to the anchor
    window_us: longest time from the anchor, inclusive; None: the session
    ends:      also where paths end before the last step: an edge to END
    """

    direction: Direction
    steps: int
    shown: int
    collapse: bool
    window_us: int | None
    ends: bool = False


@dataclass(frozen=True)
class Stream:
    """Events of people, those of each person together and in order.

    person: any number; time: us; day: number of the local day; node: number, 0 or above;
    anchor: may a path begin here?
    """

    person: NDArray[np.int64]
    time: NDArray[np.int64]
    day: NDArray[np.int64]
    node: NDArray[np.int64]
    anchor: NDArray[np.bool_]


def session_numbers(stream: Stream) -> NDArray[np.int64]:
    """The session of each event, as transforms.sessions has them: equal for events of one."""
    if not len(stream.person):
        return np.zeros(0, np.int64)
    new = _changes(stream.person)
    start = new | (np.diff(stream.time, prepend=stream.time[0]) > GAP_US)
    places = np.arange(len(start))
    began = stream.day[np.maximum.accumulate(np.where(start, places, 0))]
    next_day = ~new & _changes(stream.day)
    return np.cumsum(start | (next_day & (stream.day - began >= 2)))


def edges(stream: Stream, walk: Walk) -> pl.DataFrame:
    """EDGES, sorted by depth and size: who went from where to where.

    depth: from 1, in the order of time: the last edge of paths before an anchor has the highest
    people, paths: that went this way; median_us: time between the two events, null for an end
    """
    place = _walked(stream, walk)
    levels = [_labels(stream.node, at, walk.shown) for at in place]
    time, who = stream.time, stream.person
    found = []
    for depth in range(1, len(place)):
        before, now = place[depth - 1], place[depth]
        there = (before >= 0) if walk.ends else (now >= 0)
        if not there.any():
            break
        at, came = now[there], before[there]
        took = np.abs(time[at] - time[came]).astype(np.float64)
        sides = (levels[depth - 1][there], np.where(at >= 0, levels[depth][there], END))
        one = pl.DataFrame(
            {
                "depth": np.full(len(at), depth),
                "from": sides[0],
                "to": sides[1],
                "person": who[came],
                "took": np.where(at >= 0, took, np.nan),
            }
        )
        if walk.direction == "before":
            one = one.rename({"from": "to", "to": "from"})
        found.append(one)
    if not found:
        return pl.DataFrame(schema=EDGES)
    if walk.direction == "before":
        found = [
            one.with_columns(depth=pl.lit(len(found) - number, pl.Int64))
            for number, one in enumerate(found)
        ]
    return (
        pl.concat(one.select("depth", "from", "to", "person", "took") for one in found)
        .group_by("depth", "from", "to")
        .agg(
            people=pl.col("person").n_unique().cast(pl.Int64),
            paths=pl.len().cast(pl.Int64),
            median_us=pl.col("took").fill_nan(None).median(),
        )
        .select(*EDGES)
        .sort(
            "depth", "paths", "people", "from", "to", descending=[False, True, True, False, False]
        )
    )


def _changes(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Is each another than the one before it? The first is."""
    changed = np.ones(len(values), np.bool_)
    changed[1:] = values[1:] != values[:-1]
    return changed


def _walked(stream: Stream, walk: Walk) -> list[NDArray[np.int64]]:
    """Place in the stream of each path's anchor, first step, …; -1 where it has ended."""
    whole = stream.person if walk.window_us is not None else session_numbers(stream)
    backwards = walk.direction == "before"
    turn = slice(None, None, -1 if backwards else 1)
    whole, node = whole[turn], stream.node[turn]
    time = -stream.time[turn] if backwards else stream.time
    anchors = np.flatnonzero(stream.anchor[turn])
    anchors = anchors[_changes(whole[anchors])]  # the first of each session or person
    begins = _changes(whole)
    begins |= _changes(node) if walk.collapse else True
    run, starts = np.cumsum(begins) - 1, np.flatnonzero(begins)
    place = [anchors]
    alive = np.ones(len(anchors), np.bool_)
    for step in range(1, walk.steps + 1):
        number = run[anchors] + step
        alive &= number < len(starts)
        at = starts[np.where(alive, number, 0)] if len(starts) else anchors
        alive &= whole[at] == whole[anchors]
        if walk.window_us is not None:
            alive &= time[at] - time[anchors] <= walk.window_us
        place.append(np.where(alive, at, -1))
    last = len(node) - 1
    return [np.where(at >= 0, last - at, -1) if backwards else at for at in place]


def _labels(node: NDArray[np.int64], at: NDArray[np.int64], shown: int) -> NDArray[np.int64]:
    """Node of each path at a step: the most frequent by number, OTHER for the rest."""
    there = at >= 0
    nodes = node[at[there]]
    names, counts = np.unique(nodes, return_counts=True)
    kept = names[np.lexsort((names, -counts))[:shown]]
    labels = np.full(len(at), END, np.int64)
    labels[there] = np.where(np.isin(nodes, kept), nodes, OTHER)
    return labels
