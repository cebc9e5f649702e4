"""The ledger against a loop over single rows: every row has one place, and no two errors cancel."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms import ledger
from transforms.ledger import DEAD_LETTERS, EVENTS, LINE, NUMBERS, Books
from transforms.positions import Positions

MINUTE = 60_000_000
NOW = 100 * MINUTE
PRODUCERS = ("collector-0-a", "collector-1-b")

Row = dict[str, Any]


def frame(rows: list[Row]) -> pl.DataFrame:
    types = {"producer": pl.String, "seq": pl.Int64, "row": pl.Int64, "project": pl.String,
             "source": pl.String, "received_time": pl.Int64, "erased": pl.Boolean,
             "key": pl.UInt64}  # fmt: skip
    return pl.DataFrame(rows, schema=types, orient="row")


@st.composite
def worlds(draw: st.DrawFn) -> tuple[str, list[Row], list[Row], set[tuple[str, int]]]:
    """(topic, rows on the bus, rows in the archive, blocks held)."""
    topic = draw(st.sampled_from([EVENTS, DEAD_LETTERS]))
    bus, archive, held = [], [], set()
    for producer in PRODUCERS:
        for seq in range(draw(st.integers(0, 4))):
            is_held = draw(st.booleans())
            if is_held:
                held.add((producer, seq))
            for row in range(draw(st.integers(1, 5))):
                one = {
                    "producer": producer, "seq": seq, "row": row,
                    "project": draw(st.sampled_from(["p", "q"])),
                    "source": draw(st.sampled_from(["web", "app"])),
                    "received_time": draw(st.integers(90, 93)) * MINUTE + row,
                    "erased": draw(st.booleans()), "key": draw(st.integers(0, 9)),
                }  # fmt: skip
                bus.append(one)
                fate = draw(st.sampled_from(["there", "there", "there", "gone", "twice"]))
                if is_held:
                    archive += [one] * {"there": 1, "gone": 0, "twice": 2}[fate]
    return topic, bus, archive, held


def expected(
    topic: str, bus: list[Row], archive: list[Row], held: set[tuple[str, int]]
) -> dict[tuple[int, str, str], Counter[str]]:
    """Unit by unit: how many of its rows are where."""
    found: dict[tuple[int, str, str], Counter[str]] = defaultdict(Counter)
    units: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in bus:
        minute = row["received_time"] // MINUTE * MINUTE
        units[row["producer"], row["seq"], row["project"], row["source"], minute].append(row)
    first: dict[int, tuple[Any, ...]] = {}
    for row in archive:
        order = (row["received_time"], row["producer"], row["seq"], row["row"])
        first[row["key"]] = min(first.get(row["key"], order), order)
    for (producer, seq, project, source, minute), rows in units.items():
        line = found[minute, project, source]
        line["received"] += len(rows)
        if (producer, seq) not in held:
            line["in_flight"] += len(rows)
            continue
        there = [r for r in archive if (r["producer"], r["seq"]) == (producer, seq)
                 and (r["project"], r["source"]) == (project, source)
                 and r["received_time"] // MINUTE * MINUTE == minute]  # fmt: skip
        kept = min(len(there), len(rows))
        copies = 0
        for key in {r["key"] for r in there}:
            same = {(r["received_time"], producer, seq, r["row"]) for r in there if r["key"] == key}
            copies += len(same) - (first[key] in same)
        copies = min(copies, kept)
        if topic == EVENTS:
            line["archived"] += kept - copies
            line["duplicates"] += copies
        else:
            line["dead_lettered"] += kept
        line["doubled"] += len(there) - kept
        short = len(rows) - kept
        erased = min(short, sum(r["erased"] for r in rows))
        line["suppressed"] += erased
        line["missing"] += short - erased
    return found


def books(
    topic: str, bus: list[Row], archive: list[Row], held: set[tuple[str, int]], cuts: int = 1,
    **more: Any,
) -> pl.DataFrame:  # fmt: skip
    def counted(rows: list[Row]) -> pl.DataFrame:
        return ledger.total(ledger.count_rows(topic, frame(rows[n::cuts])) for n in range(cuts))

    copies = ledger.later_copies(frame(archive), pl.Series([], dtype=pl.UInt64))
    given = {"from_us": 0, "now_us": NOW, "patience_us": 100 * MINUTE,
             "bus_prefix": "collector-", **more}  # fmt: skip
    return Books(
        counted(bus), counted(archive), ledger.total([ledger.count_rows(topic, copies)]),
        {topic: Positions.of((p, s, s) for p, s in held)}, **given,
    ).lines()  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(worlds(), st.integers(1, 3))
def test_every_row_has_its_place(
    world: tuple[str, list[Row], list[Row], set[tuple[str, int]]], cuts: int
) -> None:
    lines = books(*world, cuts=cuts)
    found = {row[:3]: row[3:12] for row in lines.select(*LINE, *NUMBERS).iter_rows()}
    wanted = {line: tuple(n[name] for name in NUMBERS) for line, n in expected(*world).items()}
    assert found == wanted
    parts = lines.select(pl.sum_horizontal(set(NUMBERS) - {"received", "doubled", "imported"}))
    assert parts.to_series().to_list() == lines["received"].to_list()
    wrong = lines.filter((pl.col("missing") > 0) | (pl.col("doubled") > 0))
    assert wrong["problems"].is_not_null().all()


def row(producer: str, seq: int, n: int = 0, at: int = 90, **more: Any) -> Row:
    return {"producer": producer, "seq": seq, "row": n, "project": "p", "source": "web",
            "received_time": at * MINUTE, "erased": False, "key": seq * 10 + n, **more}  # fmt: skip


def test_missing_and_doubled_blocks_are_named_and_do_not_cancel() -> None:
    bus = [row(PRODUCERS[0], seq) for seq in range(6)]
    archive = [bus[0], bus[0], bus[4], bus[5]]
    lines = books(EVENTS, bus, archive, {(PRODUCERS[0], seq) for seq in range(6)})
    assert lines.select("received", "archived", "missing", "doubled").row(0) == (6, 3, 3, 1)
    assert lines["problems"].to_list() == [
        "1 doubled in events collector-0-a:0; 3 missing in events collector-0-a:1-3"
    ]


def test_on_its_way_is_no_problem_until_patience_ends() -> None:
    bus = [row(PRODUCERS[0], seq) for seq in range(3)]
    known = {(PRODUCERS[0], 0), (PRODUCERS[0], 2)}
    archive = [bus[0], bus[2]]
    young = books(EVENTS, bus, archive, known, now_us=91 * MINUTE, patience_us=5 * MINUTE)
    assert young.select("in_flight", "problems").row(0) == (1, None)
    old = books(EVENTS, bus, archive, known, patience_us=5 * MINUTE)
    assert old["problems"].to_list() == ["1 passed over in events collector-0-a:1"]
    behind = books(EVENTS, bus, archive[:1], {(PRODUCERS[0], 0)}, patience_us=5 * MINUTE)
    assert behind["problems"].to_list() == ["2 waiting in events collector-0-a:1-2"]


def test_what_never_was_on_the_bus_and_what_left_it_is_held_against_nobody() -> None:
    bus = [row(PRODUCERS[0], seq) for seq in range(5, 7)]
    trimmed = [row(PRODUCERS[0], 3)]
    imported = [row("import-1", 0, n) for n in range(4)]
    wiped = [row("collector-7-old", 0)]
    held = {(PRODUCERS[0], seq) for seq in range(7)}
    lines = books(EVENTS, bus, [*bus, *trimmed, *imported, *wiped], held)
    assert lines.select("received", "archived", "imported", "doubled").row(0) == (2, 2, 4, 0)
    assert lines["problems"].to_list() == [None]


def test_rows_that_damage_took_are_dead_lettered() -> None:
    damaged = ledger.count_damaged(EVENTS, PRODUCERS[0], 3, 7, 90 * MINUTE + 5)
    bus = ledger.total([damaged, ledger.count_rows(EVENTS, frame([row(PRODUCERS[0], 4)]))])
    archive = ledger.total([ledger.count_rows(EVENTS, frame([row(PRODUCERS[0], 4)]))])
    held = {EVENTS: Positions.of([(PRODUCERS[0], 0, 4)])}
    none = ledger.total([])
    lines = Books(bus, archive, none, held, 0, NOW, MINUTE, "collector-").lines()
    found = {line["source"]: line for line in lines.iter_rows(named=True)}
    assert found[PRODUCERS[0]]["received"] == found[PRODUCERS[0]]["dead_lettered"] == 7
    assert found["web"]["archived"] == 1
    assert lines["problems"].is_null().all()


def test_a_copy_received_before_the_window_makes_all_in_it_later_ones() -> None:
    rows = frame([row("c", 0, n, key=k) for n, k in enumerate([1, 1, 2, 2, 3])])
    earlier = pl.Series([1, 9], dtype=pl.UInt64)
    assert ledger.later_copies(rows, earlier)["row"].to_list() == [0, 1, 3]


def test_open_minutes() -> None:
    types = {"minute": pl.Int64, "in_flight": pl.Int64, "problems": pl.String}

    def of(*lines: tuple[int, int, str | None]) -> int | None:
        return ledger.open_from(pl.DataFrame(list(lines), schema=types, orient="row"))

    assert of() is None
    assert of((1, 0, None), (2, 0, None)) is None
    assert of((1, 0, None), (2, 3, None), (3, 0, "1 missing")) == 2


def test_nothing_is_balanced() -> None:
    assert books(EVENTS, [], [], set()).is_empty()
