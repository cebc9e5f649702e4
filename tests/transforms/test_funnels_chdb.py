"""Funnels against ClickHouse's `windowFunnel` on random streams, wherever it means the same.

Its window has both ends, as ours. At the same instant it takes the event of the lower step first,
and ours the one whose place comes first: where both are the same, so are the counts. `strict_once`
is our rule that one event takes one step. It never tries several beginnings of a strict funnel,
so people begin one once here. Where it differs by definition, all attempts there are decide.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import chdb
import pytest

from tests.transforms.test_funnels import FAR, A, B, C, D, Event, brute, columns, found
from transforms.funnels import Funnel

PEOPLE, STEPS = 1500, 4


def theirs(path: Path, events: list[Event], window: int, *modes: str) -> dict[int, int]:
    """Steps of everybody who takes one."""
    columns(events).write_parquet(path)
    given = ", ".join([str(window), *(f"'{mode}'" for mode in modes)])
    steps = ", ".join(f"bitTest(bits, {step})" for step in range(STEPS))
    answer = chdb.query(  # type: ignore[no-untyped-call]
        f"""SELECT person, windowFunnel({given})(time::UInt64, {steps}) AS steps
        FROM file('{path}', Parquet) GROUP BY person HAVING steps > 0""",
        "CSV",
    )
    lines = [line.split(",") for line in str(answer).split()]
    return {int(who): int(taken) for who, taken in lines}


def ours(events: list[Event], funnel: Funnel) -> dict[int, int]:
    return {who: steps for who, (steps, _, _) in found(events, funnel).items()}


def stream(rng: random.Random, bits: Sequence[int], count: int, *, times: int) -> list[Event]:
    """So many events of everybody, at different ones of few times, in any order."""
    rows = [
        (who, at, rng.choice(bits))
        for who in range(PEOPLE)
        for at in rng.sample(range(times), count)
    ]
    return [(*row, place) for place, row in enumerate(rng.sample(rows, len(rows)))]


def at_once(rng: random.Random, bits: Sequence[int], count: int, *, times: int) -> list[Event]:
    """The same with many at the same instant; of these the lower steps have the earlier places."""
    rows = [
        (who, rng.randrange(times), rng.choice(bits)) for who in range(PEOPLE) for _ in range(count)
    ]
    return [(*row, place) for place, row in enumerate(sorted(rows))]


def beginning_once(rng: random.Random, bits: Sequence[int]) -> list[Event]:
    """Everybody does the first step once."""
    made: list[Event] = []
    for who in range(PEOPLE):
        times = rng.sample(range(30), 7)
        begins = rng.choice(times)
        for at in times:
            made.append((who, at, A if at == begins else rng.choice(bits), len(made)))
    return made


@pytest.mark.parametrize("modes", [(), ("strict_once",)])
@pytest.mark.parametrize("window", [1, 10, 25])
def test_the_window_has_both_its_ends(tmp_path: Path, window: int, modes: tuple[str, ...]) -> None:
    events = stream(random.Random(window), [A, A, B, C, D, 0], 12, times=40)
    counts = ours(events, Funnel(STEPS, "ordered", window, FAR))
    assert counts == theirs(tmp_path / "e", events, window, *modes)
    assert counts != ours(events, Funnel(STEPS, "ordered", window - 1, FAR))


def test_at_the_same_instant_the_lower_step_is_first(tmp_path: Path) -> None:
    events = at_once(random.Random(2), [A, A, B, C, D], 10, times=12)
    counts = ours(events, Funnel(STEPS, "ordered", 6, FAR))
    assert counts == theirs(tmp_path / "e", events, 6)
    assert set(counts.values()) == {1, 2, 3, 4}
    other = [(who, at, bits, -place) for who, at, bits, place in events]
    assert counts != ours(other, Funnel(STEPS, "ordered", 6, FAR)), "no two lie at one instant"


@pytest.mark.parametrize(
    "bits",
    [
        pytest.param([A | B, A | B, C, D], id="steps 1 and 2 are equal"),
        pytest.param([A | C, B, B, D], id="steps 1 and 3 are equal"),
        pytest.param([A, A | B, B | C, C | D, A | D, A | B | C | D], id="any may fit several"),
    ],
)
def test_an_event_takes_one_step(tmp_path: Path, bits: list[int]) -> None:
    events = stream(random.Random(3), bits, 9, times=40)
    counts = ours(events, Funnel(STEPS, "ordered", 20, FAR))
    assert counts == theirs(tmp_path / "e", events, 20, "strict_once")
    assert min(Counter(counts.values())[steps] for steps in (1, 2, 3, 4)) > 0


@pytest.mark.parametrize("bits", [[B, B, C, D], [B, B, C, D, 0]])
def test_strict_is_strict_order_without_repeats(tmp_path: Path, bits: list[int]) -> None:
    events = beginning_once(random.Random(4), bits)
    counts = ours(events, Funnel(STEPS, "strict", 20, FAR))
    modes = ("strict_order", "strict_deduplication")
    assert counts == theirs(tmp_path / "e", events, 20, *modes)
    assert set(counts.values()) == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("bits", "mode", "modes", "here", "there"),
    [
        pytest.param([A, 0, A, B], "strict", ("strict_order", "strict_deduplication"), 2, 1,
                     id="a second beginning"),
        pytest.param([A, B, B, C], "strict", ("strict_order",), 2, 3, id="a step again"),
        pytest.param([A, B, B, C], "ordered", ("strict_deduplication",), 3, 2, id="what repeats"),
        pytest.param([A | B, C], "ordered", (), 1, 3, id="one event takes two steps"),
    ],
)  # fmt: skip
def test_where_it_means_another_thing_all_attempts_decide(
    tmp_path: Path, bits: list[int], mode: str, modes: tuple[str, ...], here: int, there: int
) -> None:
    events = [(7, at, event, at) for at, event in enumerate(bits)]
    funnel = Funnel(STEPS, mode, 10, FAR)  # type: ignore[arg-type]
    assert found(events, funnel) == brute(events, funnel)
    assert ours(events, funnel) == {7: here}
    assert theirs(tmp_path / "e", events, 10, *modes) == {7: there}


def test_steps_at_one_instant_and_an_earlier_beginning(tmp_path: Path) -> None:
    """`strict_increase` forgets the first A when the second comes, and B is not after that one."""
    events = [(7, 0, A, 0), (7, 5, B, 1), (7, 5, A, 2)]
    funnel = Funnel(STEPS, "ordered", 10, FAR)
    assert found(events, funnel) == brute(events, funnel) == {7: (2, [0, 5], 0)}
    assert theirs(tmp_path / "e", events, 10, "strict_increase") == {7: 1}
    # With the places the other way round the second A leads on at once.
    turned = [(who, at, bits, -place) for who, at, bits, place in events]
    assert ours(turned, funnel) == {7: 2}
    assert theirs(tmp_path / "e", events, 10) == {7: 2}
