"""Which ids are one person: edges with their evidence, and what is joined by them.

An identify, group or alias event with two ids says that they are one person. The previous id of an
alias may be a device's or an older user id; it is joined as both. What a group is called joins
nobody: it is a company. The result is a function of the set of events, whatever their order.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Set
from hashlib import sha256
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

LINKING = ("alias", "group", "identify")
NEEDS = ("project", "type", "event_id", "event_time", "user_id", "anonymous_id")
USER, ANONYMOUS = "user", "anonymous"
KINDS = (USER, ANONYMOUS)
# What apps send in place of an id when there is none, in any case and with spaces around.
ILLEGAL = frozenset(
    {
        *("", "0", "-1", "00000000-0000-0000-0000-000000000000", "nan", "n/a", "na", "nil"),
        *("null", "none", "undefined", "(null)", "(none)", "(not set)", "not set", "not_set"),
        *("true", "false", "[object object]", "{}", "[]", "unknown", "unidentified"),
        *("anonymous", "anon", "guest", "visitor", "user", "userid", "user_id", "id"),
        *("distinctid", "distinct_id", "anonymousid", "anonymous_id", "email", "test"),
        *("not_authenticated", "unauthenticated", "logged_out"),
    }
)
ILLEGAL_ID, TOO_MANY_LINKS, TAKEN_BACK = "illegal_id", "too_many_links", "taken_back"

PAIR = ("project", "left_kind", "left_id", "right_kind", "right_id")
EDGES = {
    **dict.fromkeys((*PAIR, "type"), pl.String()),
    "events": pl.Int64(),
    "first_time": pl.Int64(),
    "last_time": pl.Int64(),
    "event_id": pl.String(),
}
_NODE = ("project", "kind", "id")


class Node(NamedTuple):
    """An id within a project."""

    project: str
    kind: str
    id: str


class TakenBackError(ValueError):
    """The list of ids cannot be read; the message names the line and what is wanted."""


def edges_of(rows: pl.DataFrame) -> pl.DataFrame:
    """What events (NEEDS, times in us) say about who is who: EDGES, one row a pair and type."""
    linking = rows.filter(
        pl.col("type").is_in(LINKING),
        pl.col("user_id").is_not_null(),
        pl.col("anonymous_id").is_not_null(),
    )
    devices = linking.select(*NEEDS, other=pl.lit(ANONYMOUS))
    older_ids = linking.filter(
        pl.col("type") == "alias", pl.col("user_id") != pl.col("anonymous_id")
    ).select(*NEEDS, other=pl.lit(USER))
    # Two user ids are a pair in one order only.
    swap = (pl.col("other") == USER) & (pl.col("user_id") > pl.col("anonymous_id"))
    pairs = pl.concat([devices, older_ids]).select(
        "project",
        "type",
        "event_id",
        left_kind=pl.lit(USER),
        left_id=pl.when(swap).then("anonymous_id").otherwise("user_id"),
        right_kind="other",
        right_id=pl.when(swap).then("user_id").otherwise("anonymous_id"),
        events=pl.lit(1, pl.Int64),
        first_time="event_time",
        last_time="event_time",
    )
    return merged([pairs.select(*EDGES)])


def merged(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Edges from different rows together: EDGES, one row a pair and type."""
    first = pl.col("event_id").sort_by("first_time", "event_id").first()
    return (
        pl.concat([pl.DataFrame(schema=EDGES), *parts])
        .group_by(*PAIR, "type")
        .agg(
            pl.col("events").sum(),
            pl.col("first_time").min(),
            pl.col("last_time").max(),
            first,
        )
        .select(*EDGES)
    )


def judged(edges: pl.DataFrame, max_links: int, taken_back: Set[Node]) -> pl.DataFrame:
    """Rows of `identity_edge`, sorted: one a pair, with the reason where it joins nobody.

    max_links: an id with more different others, illegal ones not counted, stands for many people,
               such as a shared device or a default that an app sends
    """
    types = pl.col("type").unique().sort()
    first = pl.col("event_id").sort_by("first_time", "event_id").first()
    pairs = (
        edges.group_by(PAIR)
        .agg(
            types=types,
            events=pl.col("events").sum(),
            first_time=pl.col("first_time").min(),
            last_time=pl.col("last_time").max(),
            event_id=first,
        )
        .sort(PAIR)
        .with_columns(
            types=pl.col("types").map_elements(
                lambda names: json.dumps(names.to_list(), separators=(",", ":")), pl.String
            )
        )
    )
    illegal = _is_illegal("left_id") | _is_illegal("right_id")
    back = pl.DataFrame(sorted(taken_back), schema=dict.fromkeys(_NODE, pl.String), orient="row")
    marked = pairs.with_columns(
        refused=pl.when(_either(pairs, back))
        .then(pl.lit(TAKEN_BACK))
        .when(illegal)
        .then(pl.lit(ILLEGAL_ID))
    )
    ends = _ends(marked.filter(pl.col("refused").is_null()))
    crowded = ends.group_by(_NODE).len().filter(pl.col("len") > max_links).select(_NODE)
    too_many = pl.col("refused").is_null() & _either(marked, crowded)
    return marked.with_columns(
        refused=pl.when(too_many).then(pl.lit(TOO_MANY_LINKS)).otherwise("refused")
    )


def _is_illegal(column: str) -> pl.Expr:
    return pl.col(column).str.strip_chars().str.to_lowercase().is_in(sorted(ILLEGAL))


def _either(pairs: pl.DataFrame, nodes: pl.DataFrame) -> pl.Series:
    """For each pair: is one of its ends among the nodes?"""
    found = pl.repeat(False, pairs.height, eager=True)
    for side in ("left", "right"):
        named = {"kind": f"{side}_kind", "id": f"{side}_id"}
        there = nodes.rename(named).with_columns(_there=pl.lit(True))
        key = ["project", *named.values()]
        joined = pairs.select(key).join(there, on=key, how="left", maintain_order="left")
        found |= joined["_there"].fill_null(False)
    return found


def _ends(pairs: pl.DataFrame) -> pl.DataFrame:
    """Both ends of every pair, one under the other, left ends first."""
    return pl.concat(
        pairs.select("project", "first_time", kind=f"{side}_kind", id=f"{side}_id")
        for side in ("left", "right")
    )


def identities(edges: pl.DataFrame) -> pl.DataFrame:
    """Rows of `identity`, sorted: the person of every id in judged edges that were not refused.

    A person is called after the id that was joined first (by time, then a user id before an
    anonymous one, then by the id): a later event that joins two people keeps the older one's.
    """
    pairs = edges.filter(pl.col("refused").is_null())
    ends = _ends(pairs)
    nodes = (
        ends.group_by(_NODE)
        .agg(pl.col("first_time").min())
        .sort("project", "first_time", pl.col("kind") == ANONYMOUS, "id")
        .with_row_index("node")
    )
    numbers = ends.join(nodes.select("node", *_NODE), on=_NODE, how="left", maintain_order="left")[
        "node"
    ].to_numpy()
    lefts, rights = np.split(numbers, 2)
    graph = coo_array((np.ones(len(lefts), np.int8), (lefts, rights)), (nodes.height,) * 2)
    _, person = connected_components(graph, directed=False)
    found = nodes.with_columns(_person=pl.Series(person, dtype=pl.Int64))
    # Nodes are in order of age: the first of a person names it.
    firsts = found.unique("_person", keep="first", maintain_order=True)
    names = [person_id(Node(*row)) for row in firsts.select(_NODE).iter_rows()]
    named = firsts.select("_person", person_id=pl.Series(names, dtype=pl.String))
    return (
        found.join(named, on="_person", how="left")
        .with_columns(ids=pl.len().over("_person").cast(pl.Int64))
        .select(*_NODE, "person_id", "ids", "first_time")
        .sort(_NODE)
    )


def person_id(first: Node) -> str:
    """Name of the person whose oldest id this is. It does not say the id."""
    return sha256("\0".join(first).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def read_taken_back(text: str) -> frozenset[Node]:
    """Ids that join nobody, from CSV with a header. Raises TakenBackError."""
    reader = csv.DictReader(text.splitlines())
    if reader.fieldnames is None or not set(_NODE) <= set(reader.fieldnames):
        raise TakenBackError(f"line 1: {reader.fieldnames} must have the columns project, kind, id")
    found = set()
    for number, row in enumerate(reader, start=2):
        values = [row[c] for c in _NODE]
        if None in values or row["kind"] not in KINDS:
            raise TakenBackError(f"line {number}: {row} needs project, id and kind user|anonymous")
        found.add(Node(*values))
    return frozenset(found)
