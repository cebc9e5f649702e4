"""Persons against networkx's connected components, in any order; what is refused and why."""

from __future__ import annotations

import json
import random
from typing import Any

import networkx as nx
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.identity import (
    ILLEGAL,
    NEEDS,
    Node,
    TakenBackError,
    edges_of,
    identities,
    judged,
    merged,
    read_taken_back,
)

TYPES = {c: pl.Int64() if c == "event_time" else pl.String() for c in NEEDS}
IDS = [*"abcdefgh", "null", " Undefined ", "0"]
EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "project": st.sampled_from(["p", "q"]),
            "type": st.sampled_from(["identify", "alias", "group", "track"]),
            "event_time": st.integers(0, 9),
            "user_id": st.sampled_from([*IDS, None]),
            "anonymous_id": st.sampled_from([*IDS, None]),
        }
    ),
    max_size=30,
)
Event = dict[str, Any]


def numbered(events: list[Event]) -> list[Event]:
    return [{**event, "event_id": f"e{n:03}"} for n, event in enumerate(events)]


def frame(events: list[Event]) -> pl.DataFrame:
    return pl.DataFrame(events, schema=TYPES)


def link(user: str, other: str, at: int = 0, kind: str = "identify") -> Event:
    return {"project": "p", "type": kind, "event_time": at, "event_id": f"{user}-{other}-{at}",
            "user_id": user, "anonymous_id": other}  # fmt: skip


def computed(
    events: list[Event], max_links: int = 100, back: frozenset[Node] = frozenset()
) -> tuple[pl.DataFrame, pl.DataFrame]:
    edges = judged(edges_of(frame(events)), max_links, back)
    return edges, identities(edges)


def groups(people: pl.DataFrame) -> set[frozenset[Node]]:
    by_person = people.group_by("person_id").agg(pl.struct("project", "kind", "id").alias("ids"))
    return {frozenset(Node(**one) for one in ids) for ids in by_person["ids"]}


def expected(events: list[Event], max_links: int = 10**9) -> set[frozenset[Node]]:
    graph = nx.Graph()
    for event in events:
        user, other = event["user_id"], event["anonymous_id"]
        if event["type"] == "track" or user is None or other is None:
            continue
        if {user.strip().lower(), other.strip().lower()} & ILLEGAL:
            continue
        here = Node(event["project"], "user", user)
        graph.add_edge(here, Node(event["project"], "anonymous", other))
        if event["type"] == "alias" and user != other:
            graph.add_edge(here, Node(event["project"], "user", other))
    crowded = {node for node, links in graph.degree if links > max_links}
    kept = nx.Graph(edge for edge in graph.edges if not crowded & set(edge))
    return {frozenset(found) for found in nx.connected_components(kept)}


@given(EVENTS, st.sampled_from([1, 2, 3, 100]))
def test_persons_are_the_connected_components(events: list[Event], max_links: int) -> None:
    _, people = computed(numbered(events), max_links)
    assert groups(people) == expected(events, max_links)
    assert people.group_by("person_id").agg(pl.len() == pl.col("ids").first())["len"].all()


@given(EVENTS, st.randoms(use_true_random=False), st.integers(1, 4))
def test_order_repeats_and_files_change_nothing(
    events: list[Event], rng: random.Random, cuts: int
) -> None:
    rows = numbered(events)
    edges, people = computed(rows)
    shuffled = rng.sample(rows, len(rows))
    parts = [edges_of(frame(shuffled[n::cuts])) for n in range(cuts)]
    again = judged(merged(rng.sample(parts, cuts)), 100, frozenset())
    assert again.equals(edges)
    assert identities(again).equals(people)


def test_evidence_is_kept() -> None:
    events = [link("u", "a", 7), link("u", "a", 3, "group"), link("u", "a", 9)]
    edges, _ = computed(events)
    (edge,) = edges.to_dicts()
    assert json.loads(edge["types"]) == ["group", "identify"]
    assert (edge["events"], edge["first_time"], edge["last_time"]) == (3, 3, 9)
    assert (edge["event_id"], edge["refused"]) == ("u-a-3", None)


@pytest.mark.parametrize(
    "bad",
    [
        *("", " ", "null", "NULL", "undefined", "0", "Anonymous", "NaN", "[object Object]"),
        "00000000-0000-0000-0000-000000000000",
    ],
)
def test_an_id_that_is_none_joins_nobody(bad: str) -> None:
    edges, people = computed([link("u1", bad), link("u2", bad), link(bad, "a1"), link(bad, "a2")])
    assert people.is_empty()
    assert set(edges["refused"]) == {"illegal_id"}


def test_an_id_with_too_many_links_joins_nobody_and_the_rest_stays_joined() -> None:
    kiosk = [link(f"u{n}", "kiosk", n) for n in range(6)]
    own = [link(f"u{n}", f"phone{n}", n) for n in range(6)]
    _, people = computed(kiosk + own, max_links=6)
    assert people["person_id"].n_unique() == 1
    edges, people = computed(kiosk + own, max_links=5)
    assert people["person_id"].n_unique() == 6
    assert (
        edges.filter(pl.col("right_id") == "kiosk")["refused"].to_list() == ["too_many_links"] * 6
    )


def test_what_is_taken_back_is_apart_and_can_come_back() -> None:
    events = [link("u1", "shared", 1), link("u2", "shared", 2), link("u1", "own", 3)]
    _, joined = computed(events)
    assert joined["person_id"].n_unique() == 1
    back = read_taken_back("project,kind,id\np,anonymous,shared\n")
    edges, apart = computed(events, back=back)
    assert groups(apart) == {frozenset({Node("p", "user", "u1"), Node("p", "anonymous", "own")})}
    assert edges.height == 3  # the evidence stays
    assert computed(events)[1].equals(joined)


def test_a_person_keeps_the_name_of_its_oldest_id() -> None:
    first = [link("u1", "a1", 10), link("u2", "a2", 20)]
    _, before = computed(first)
    _, after = computed([*first, link("u2", "a1", 30)])
    names = dict(before.select("id", "person_id").iter_rows())
    assert set(after["person_id"]) == {names["u1"]}
    assert "u1" not in names["u1"]


def test_an_alias_joins_a_device_and_an_older_user_id() -> None:
    events = [link("new", "old", 2, "alias"), link("old", "phone", 1)]
    assert groups(computed(events)[1]) == {
        frozenset({Node("p", "user", "new"), Node("p", "user", "old"),
                   Node("p", "anonymous", "old"), Node("p", "anonymous", "phone")})
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1"),
        ("project,id\n", "line 1"),
        ("project,kind,id\np,device,x\n", "line 2"),
        ("project,kind,id\np,user,x\nq,user\n", "line 3"),
    ],
)
def test_a_list_that_cannot_be_read_says_the_line(text: str, said: str) -> None:
    with pytest.raises(TakenBackError, match=said):
        read_taken_back(text)


def test_a_million_links_take_seconds() -> None:
    count = 300_000
    ids = pl.int_range(count, eager=True)
    rows = pl.DataFrame(
        {"project": "p", "type": "identify", "event_id": pl.Series(ids).cast(pl.String),
         "event_time": ids, "user_id": "u" + (ids // 3).cast(pl.String),
         "anonymous_id": "a" + ids.cast(pl.String)},
    )  # fmt: skip
    people = identities(judged(edges_of(rows), 100, frozenset()))
    assert people["person_id"].n_unique() == count // 3
    assert set(people["ids"]) == {4}
