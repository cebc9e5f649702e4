"""What a block must keep so that no table refuses its rows."""

from __future__ import annotations

from typing import Any

import pytest

from schemas_avro import load
from schemas_avro.block import BlockError
from tests.streams import NOON, event, frame_of
from transforms.contract import read_rows

EVENT = load("event")


def payload(**fields: Any) -> bytes:
    """Two events, the second with some fields otherwise."""
    return frame_of([event("a", NOON), {**event("b", NOON), **fields}]).payload


@pytest.mark.parametrize("name", [f.name for f in EVENT.fields if f.required])
def test_a_required_field_without_a_value_is_named(name: str) -> None:
    if name == "received_time":  # also what a block is numbered by: the writer cannot leave it out
        rows = read_rows(EVENT, payload())
        assert rows["received_time"].null_count() == 0
        return
    with pytest.raises(BlockError, match=f"1 of 2 rows have no {name}"):
        read_rows(EVENT, payload(**{name: None}))


def test_required_fields_are_looked_at_even_if_others_are_read() -> None:
    with pytest.raises(BlockError, match="no project"):
        read_rows(EVENT, payload(project=None), ["name"])
    assert {"name", "project"} <= set(read_rows(EVENT, payload(), ["name"]).columns)


@pytest.mark.parametrize("at", [2**62, -(2**62)])
def test_a_time_in_no_year_is_named(at: int) -> None:
    with pytest.raises(BlockError, match=f"event_time {at} us is in no year 1-9999"):
        read_rows(EVENT, payload(event_time=at))
