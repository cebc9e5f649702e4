"""Doing the changes of a plan makes the copy what the original is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transforms.copy_plan import Change, changes

FILES = [f"f{n}" for n in range(8)]
SIZES = {file: 10 * (n + 1) for n, file in enumerate(FILES)}
DAYS = st.dictionaries(
    st.sampled_from(["2026-01-01", "2026-01-02", "2026-01-03"]),
    st.lists(st.sampled_from(FILES), unique=True, min_size=1),
)


def done(copied: dict[str, list[str]], plan: list[Change]) -> dict[str, list[str]]:
    """A partition is a list of files: a change puts an end to it, or adds to it."""
    there = {day: list(files) for day, files in copied.items()}
    for one in plan:
        there[one.day] = ([] if one.replaces else there.get(one.day, [])) + one.files
    return {day: sorted(files) for day, files in there.items() if files}


@given(DAYS, DAYS, st.integers(1, 100))
def test_the_copy_is_as_the_original(copied, current, most) -> None:
    plan = changes(copied, current, SIZES, most)
    assert done(copied, plan) == {day: sorted(files) for day, files in current.items()}
    for part in (part for one in plan for part in one.parts):
        assert len(part) == 1 or sum(SIZES[file] for file in part) <= most


@given(DAYS, DAYS)
def test_what_is_the_same_is_left_alone(copied, current) -> None:
    touched = {one.day for one in changes(copied, current, SIZES, 50)}
    same = {day for day in current if set(copied.get(day, ())) == set(current[day])}
    assert not touched & same


def test_a_day_that_only_grew_is_added_to_and_one_that_lost_a_file_replaced() -> None:
    copied = {"a": ["f0"], "b": ["f1", "f2"], "c": ["f5"], "d": []}
    current = {"a": ["f0", "f3"], "b": ["f4", "f1"], "d": ["f6"], "e": ["f7"]}
    assert changes(copied, current, SIZES, 60) == [
        Change("a", (("f3",),), False),
        Change("b", (("f1",), ("f4",)), True),
        Change("c", (), True),
        Change("d", (("f6",),), False),
        Change("e", (("f7",),), True),
    ]
