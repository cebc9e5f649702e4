"""What retention took out adds up, in any order, and days that lost events are final."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.retired import Gone, Keeping, Retired

TODAY = date(2026, 11, 25)
gones = st.builds(Gone, st.dates(), *[st.integers(0, 1 << 40)] * 4)
retired = st.dictionaries(st.text(max_size=3), gones, max_size=3).map(Retired)


@given(retired, retired, retired)
def test_it_adds_up_in_any_order(a: Retired, b: Retired, c: Retired) -> None:
    assert (a + b) + c == c + (b + a)
    assert a + Retired() == a
    assert Retired.from_json(a.to_json()) == a
    assert (a + b).total() == a.total() + b.total()


def test_days_that_lost_what_they_are_computed_from_are_final() -> None:
    found = Retired({"a": Gone(TODAY, 5)})
    assert found.is_final("a", TODAY + timedelta(days=32))
    assert not found.is_final("a", TODAY + timedelta(days=33))
    assert not found.is_final("b", date(2000, 1, 1))


def test_projects_keep_what_they_say_and_others_the_default() -> None:
    keeping = Keeping(731, 1827, {"short": (30, None), "long": (None, 9999), "usual": (None, None)})
    assert keeping.days("short") == (30, 1827)
    assert keeping.days("long") == (731, 9999)
    assert keeping.days("usual") == keeping.days("nobody knows") == (731, 1827)
    assert keeping.raw_until("short", TODAY) == date(2026, 10, 25)  # a day more, for the zones
    assert keeping.aggregates_until("short", TODAY) == date(2021, 11, 24)
    assert keeping.latest_raw(TODAY) == date(2026, 10, 25)


@pytest.mark.parametrize("by_project", [{}, {"p": (900, 800)}])
def test_numbers_may_not_go_before_the_events(by_project: dict[str, tuple[int, int]]) -> None:
    aggregate = 1827 if by_project else 700
    with pytest.raises(ValueError, match="keep them as long at least"):
        Keeping(731, aggregate, by_project)
