"""Splitting JSON that is broken in one place, against Python's own parser where it can read it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.protocols import salvage

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text('a"\\,[]{}:é \n\ud800'),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab,"), inner, max_size=4),
    max_leaves=12,
)
SPACES = st.sampled_from(["", " ", "\n\t"])


def read(text: bytes) -> Any:
    """NaN and lone surrogates are fine with Python's parser; NaN as text, so that it is itself."""
    return json.loads(text, parse_constant=str)


@given(st.lists(VALUES, max_size=5), SPACES)
def test_elements_are_those_of_the_array(values: list[Any], space: str) -> None:
    text = f"{space}{json.dumps(values)}{space}".encode()
    found = salvage.elements(text)
    assert found is not None
    assert [read(part) for part in found] == read(text)


@given(st.dictionaries(st.text("ab,é{"), VALUES, max_size=5), SPACES)
def test_members_are_those_of_the_object(values: dict[str, Any], space: str) -> None:
    text = json.dumps(values, ensure_ascii=True, separators=(f"{space},", f"{space}:{space}"))
    found = salvage.members(text.encode())
    if any("é" in name for name in values):  # a name written with escapes is not looked into
        assert found is None
    else:
        assert found is not None
        assert {name: read(part) for name, part in found.items()} == read(text.encode())


@given(st.binary(max_size=40) | st.text('{}[],:"\\ a1').map(str.encode))
def test_anything_else_is_refused_or_split_without_an_error(text: bytes) -> None:
    for part in salvage.elements(text) or []:
        assert part in text
    for part in (salvage.members(text) or {}).values():
        assert part in text


@pytest.mark.parametrize(
    "text",
    [b"", b"[", b"]", b"[1", b"[1]]", b"[1}", b"[{]}", b'["]', b"[1,]", b"[,1]", b"1", b"{}"],
)
def test_brackets_must_match(text: bytes) -> None:
    assert salvage.elements(text) is None


@pytest.mark.parametrize(
    "text", [b"{", b"[]", b'{"a"}', b"{a:1}", b'{"a":1}}', b'{"a":1,}', b"{1:2}"]
)
def test_members_need_names(text: bytes) -> None:
    assert salvage.members(text) is None


@pytest.mark.parametrize(
    "text", [b"[" * 5_000_000, b"[" + b"[]," * 1_700_000 + b"1]", b'["' + b"\\a" * 2_500_000]
)
def test_hostile_bodies_take_no_time(text: bytes) -> None:
    started = time.process_time()
    assert salvage.elements(text) is None
    assert time.process_time() - started < 3
