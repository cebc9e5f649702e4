"""Repeats and what was seen: one copy counts, the same whatever the order."""

from __future__ import annotations

import random
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from tests.brute import first_copies
from transforms.dedup import keep_first, key_hash, shards
from transforms.seen import GENERATION_US, Seen

ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "project": st.sampled_from("pq"),
            "source": st.just("s"),
            "type": st.sampled_from(["track", "page"]),
            "event_id": st.sampled_from("abc"),
            "received_time": st.integers(0, 3),
            "producer": st.sampled_from("xy"),
        }
    ),
    max_size=30,
).map(lambda rows: [{**row, "seq": n, "row": 0} for n, row in enumerate(rows)])
SCHEMA = {
    "project": pl.String, "source": pl.String, "type": pl.String, "event_id": pl.String,
    "received_time": pl.Int64, "producer": pl.String, "seq": pl.Int64, "row": pl.Int32,
}  # fmt: skip


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


@given(ROWS, st.randoms(use_true_random=False))
def test_the_first_received_counts_whatever_the_order(
    rows: list[dict[str, Any]], rng: random.Random
) -> None:
    kept, repeats = keep_first(frame(rng.sample(rows, len(rows))))
    wanted, rest = first_copies(rows)
    assert kept.to_dicts() == wanted
    assert sorted(repeats["seq"]) == sorted(row["seq"] for row in rest)


@given(ROWS, st.integers(1, 5))
def test_copies_meet_in_one_shard(rows: list[dict[str, Any]], count: int) -> None:
    parts = shards(frame(rows), key_hash(), count)
    assert sum(part.height for _, part in parts) == len(rows)
    where: dict[tuple[str, ...], int] = {}
    for shard, part in parts:
        assert 0 <= shard < count
        for row in part.iter_rows():
            assert where.setdefault(row[:4], shard) == shard


def batch(keys: list[int], at: int) -> pl.DataFrame:
    columns = {"key": keys, "received_time": [at] * len(keys)}
    return pl.DataFrame(columns, schema={"key": pl.UInt64, "received_time": pl.Int64})


@given(st.lists(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 5), max_size=8), max_size=8))
def test_seen_lets_each_key_through_once_and_survives_a_reload(batches: list[list[int]]) -> None:
    seen, entries, passed = Seen(), [], []
    for number, keys in enumerate(batches):
        if not keys:
            continue
        if number % 2:
            seen = Seen.load(entries)  # as after a move to another worker
        fresh, entry = seen.add(batch(keys, number * GENERATION_US // 2))
        entries.append(entry)
        passed += fresh["key"].to_list()
    everything = [key for keys in batches for key in keys]
    assert passed == list(dict.fromkeys(everything))
    assert len(Seen.load(seen.dump())) == len(seen) == len(set(everything))


def test_old_generations_are_forgotten_whole() -> None:
    seen = Seen()
    seen.add(batch([1, 2], at=0))
    seen.add(batch([3], at=GENERATION_US))
    assert not seen.forget(before=GENERATION_US - 1)
    assert seen.forget(before=GENERATION_US)
    assert len(seen) == 1
