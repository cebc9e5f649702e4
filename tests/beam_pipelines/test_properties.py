"""What must not matter: order of merging, cuts into blocks and files, arrival order, repeats."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import apache_beam as beam
import polars as pl
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beam_pipelines.connectors.frames import Frame
from beam_pipelines.steps.archive import Archive
from beam_pipelines.steps.live import MeasureLive, Merge
from beam_pipelines.steps.panes import LiveSink, WriteLive
from schemas_avro.tables import EVENTS
from tests import brute, exact_brute, observed
from tests.beam_pipelines import test_rollup
from tests.streams import NOON, AtOnce, event, frame_of, order
from transforms.dedup import key_hash
from transforms.grid import GRAINS
from transforms.positions import Positions
from transforms.seen import Seen
from transforms.statistics import DistinctSketch, Statistic, Total

MINUTE_US = 60_000_000
SLOW = settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def events(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Some events of a quarter of an hour, received up to twelve minutes late, some repeated."""
    rows: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 40))):
        at = NOON + draw(st.integers(0, 15 * MINUTE_US))
        late = draw(st.integers(0, 12 * MINUTE_US))
        who = {"user_id": draw(st.sampled_from(["ann", "bob", None])), "anonymous_id": "a"}
        if draw(st.booleans()):
            pence = draw(st.integers(-10_000, 10_000))
            row = order(f"e{number}", at, pence, received_time=at + late, **who)
        else:
            name = draw(st.sampled_from(["view", "cart", ""]))
            row = event(f"e{number}", at, received_time=at + late, name=name, **who)
        rows.append(row)
        again = draw(st.lists(st.integers(0, 12 * MINUTE_US), max_size=2))
        rows += [{**row, "received_time": at + late} for late in again]
    return rows


def in_blocks(rows: Sequence[dict[str, Any]], rng: random.Random) -> list[Frame]:
    """The rows in any order, cut at random over three producers, the blocks in any order too."""
    shuffled = rng.sample(rows, len(rows))
    frames, seqs, at = [], Counter[str](), 0
    while at < len(shuffled):
        part = shuffled[at : at + rng.randint(1, 9)]
        producer = rng.choice("abc")
        frames.append(frame_of(part, producer, seqs[producer]))
        seqs[producer] += 1
        at += len(part)
    return rng.sample(frames, len(frames))


def run_live(data: Path, frames: list[Frame]) -> None:
    with beam.Pipeline(FnApiRunner()) as root:
        live = root | beam.Create(frames) | MeasureLive(AtOnce())
        live | WriteLive((LiveSink(f"sqlite:{data}/live.db", token=1),), run=1)


@SLOW
@given(events(), st.randoms(use_true_random=False))
def test_live_values_are_those_of_the_loop(rows: list[dict[str, Any]], rng: random.Random) -> None:
    with tempfile.TemporaryDirectory() as directory:
        run_live(Path(directory), in_blocks(rows, rng))
        assert observed.live_differences(Path(directory), brute.live(rows)) == []


@SLOW
@given(events(), st.randoms(use_true_random=False))
def test_the_archive_holds_every_copy_once_however_often_blocks_come(
    rows: list[dict[str, Any]], rng: random.Random
) -> None:
    frames = in_blocks(rows, rng)
    with tempfile.TemporaryDirectory() as directory:
        some = rng.sample(frames, rng.randint(1, len(frames)))
        for batch in (some, frames):  # as after a rewind
            with beam.Pipeline(FnApiRunner()) as root:
                (
                    root
                    | beam.Create(batch)
                    | Archive(f"{directory}/archive", EVENTS, Positions(), shards=rng.randint(1, 3))
                )
        wanted = Counter((row["event_id"], row["received_time"]) for row in rows)
        assert observed.archived(Path(directory)) == wanted


@SLOW
@given(events(), st.randoms(use_true_random=False))
def test_exact_tables_are_those_of_the_loop_however_events_come(
    rows: list[dict[str, Any]], rng: random.Random
) -> None:
    """In any order, cut anywhere, in one go or in parts with a rollup after each."""
    rows = rng.sample(rows, len(rows))
    frames = test_rollup.in_blocks(rows, rng)
    frames = rng.sample(frames, len(frames))
    cuts = sorted(rng.randint(0, len(frames)) for _ in range(rng.randint(0, 2)))
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for first, last in zip([0, *cuts], [*cuts, len(frames)], strict=True):
            if first < last:
                test_rollup.archive(directory, frames[first:last])
                test_rollup.run(directory)
        assert test_rollup.table(directory) == test_rollup.expected(rows)
        assert test_rollup.repeats(directory) == test_rollup.expected_repeats(rows)
        for grain in GRAINS:
            found = test_rollup.table(directory, grain)
            assert found == exact_brute.periods(rows, grain, test_rollup.ZONE), grain


def statistic(draw: st.DrawFn, kind: type) -> Statistic:
    if kind is Total:
        return Total(draw(st.integers(-(10**9), 10**9)))
    people = draw(st.lists(st.sampled_from([f"u{n}" for n in range(30)]), max_size=9))
    return DistinctSketch.of(pl.Series(people, dtype=pl.String))


@st.composite
def values(draw: st.DrawFn) -> list[Statistic]:
    kind = draw(st.sampled_from([Total, DistinctSketch]))
    return [statistic(draw, kind) for _ in range(draw(st.integers(1, 12)))]


@given(values(), st.randoms(use_true_random=False))
def test_the_order_of_merging_changes_nothing(values: list[Statistic], rng: random.Random) -> None:
    merge = Merge()
    expected = reduce(add, values)
    accumulators: list[Statistic | None] = [merge.create_accumulator() for _ in range(4)]
    for value in rng.sample(values, len(values)):
        at = rng.randrange(4)
        accumulators[at] = merge.add_input(accumulators[at], value)
    rng.shuffle(accumulators)
    cut = rng.randint(0, 4)
    halves = [merge.merge_accumulators(accumulators[:cut]),
              merge.merge_accumulators(accumulators[cut:])]  # fmt: skip
    assert merge.extract_output(merge.merge_accumulators(halves)) == expected


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 25), st.integers(0, 40)), min_size=1), max_size=12)
)
def test_what_is_remembered_of_seen_keys_is_their_set(
    blocks: list[list[tuple[int, int]]],
) -> None:
    """Rebuilt from its entries after every block, it says the same; forgetting takes whole ages."""
    seen, entries, known = Seen(), list[bytes](), set[int]()
    for block in blocks:
        minutes = [minute * MINUTE_US for _, minute in block]
        rows = pl.DataFrame(
            {"id": [str(key) for key, _ in block], "received_time": minutes}
        ).with_columns(key=key_hash(("id",)))
        fresh, entry = seen.add(rows)
        assert sorted(fresh["id"]) == sorted({str(key) for key, _ in block} - set(map(str, known)))
        known |= {key for key, _ in block}
        entries.append(entry)
        again = Seen.load(entries)
        assert len(again) == len(seen) == len(known)
        assert again.add(rows)[0].height == 0
    if blocks:
        newest = max(minute for block in blocks for _, minute in block) * MINUTE_US
        assert not seen.forget(before=seen.oldest_us - 1)
        assert seen.forget(before=newest + 5 * MINUTE_US)
        assert (len(seen), seen.oldest_us) == (0, 0)
