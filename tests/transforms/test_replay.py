"""Replaying letters as pure columns: company and order change nothing, and nothing trips it."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.candidates import Candidate, Candidates
from transforms.edits import parse
from transforms.failures import Reason
from transforms.judge import Origin, dead_letter_row, judge
from transforms.mapping import parse as parse_mapping
from transforms.replay import Fix, Gate, replay
from transforms.suppression import digest

NOON = 1_709_208_000_000_000
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
NAMES = ("type", "name", "event_id", "user_id", "anonymous_id", "timestamp", "revenue", "currency",
         "order_id", "session_id", "properties", "context", "sent_time", "flags")  # fmt: skip


def letter(number: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "dead_letter_id": f"letter-{number}",
        "project": "shop",
        "source": "web",
        "step": "intake",
        "reason": "bad_time",
        "message": "as it was",
        "original": b"{}",
        "candidate": None,
        "request": None,
        "received_time": NOON + number,
        **fields,
    }


def candidate(number: int, **fields: Any) -> dict[str, Any]:
    made = {"type": "track", "name": "sale", "user_id": "u", "event_id": f"e{number}"}
    return letter(number, candidate=json.dumps({**made, **fields}))


kinds = st.sampled_from(
    [{}, {"name": None}, {"timestamp": "never"}, {"revenue": "1.5"}, {"event_id": None},
     {"revenue": "1.5", "currency": "EUR"}, {"user_id": "gone"}, {"user_id": None},
     {"country": "FR"}, {"properties": {"a": 1}}]
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(kinds, max_size=12), st.randoms())
def test_letters_together_or_alone_come_to_the_same(fields, rng):
    letters = [candidate(n, **one) for n, one in enumerate(fields)]
    gate = Gate(suppressed={"shop": frozenset({digest("shop", "gone")})})
    alone = [replay([one], Fix(), gate) for one in letters]
    order = list(range(len(letters)))
    rng.shuffle(order)
    rows, results = replay([letters[n] for n in order], Fix(), gate)
    assert results == [alone[n][1][0] for n in order]
    one_by_one = pl.concat([alone[n][0] for n in order], how="diagonal") if order else rows
    assert rows.sort("event_id").to_dicts() == [
        {name: row.get(name) for name in rows.columns}
        for row in one_by_one.sort("event_id").to_dicts()
    ]
    assert sum(result.outcome == "returned" for result in results) == rows.height


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(st.sampled_from(NAMES[:10]), values), values, values)
def test_no_mended_letter_trips_it(fields, properties, moved):
    made = {"type": "track", "properties": {"x": properties, "y": moved}}
    text = json.dumps({**made, **{k: v for k, v in fields.items() if isinstance(v, str)}})
    edits = parse(
        '[[edit]]\nrename = { "properties.x" = "user_id", "properties.y" = "timestamp" }\n'
        'set = { name = "{type}", revenue = "{properties.x}" }'
    )
    good = candidate(1)
    _, results = replay([letter(candidate=text), good], Fix(edits), Gate())
    assert results[0].outcome in ("returned", "refused")
    assert results[1].outcome == "returned"


@given(st.binary(max_size=60))
def test_no_original_trips_a_mapping(original):
    mapping = parse_mapping('[event]\ntype = "track"\nname = "{a.b}"\nuser_id = "{c}"\n')
    _, (result,) = replay([letter(original=original)], Fix((), mapping), Gate())
    assert result.outcome == "refused"


@pytest.mark.parametrize("fields", [{"sent_time": NOON - 5}, {"schema_version": 3, "flags": 32}])
def test_what_the_judge_is_given_is_what_a_letter_keeps(fields):
    """A candidate that goes through a letter and back is judged as it was."""
    made = Candidate(type="track", name="sale", user_id="u", event_id="e", timestamp="2024-01-01")
    columns = {name: [value] for name, value in fields.items()}
    origin = Origin("shop", "web", NOON, sent_time=NOON - 60_000_000, columns={"city": "Rome"})
    candidates = Candidates.of([made], [b"{}"]).with_columns(columns)
    direct = judge([(candidates, origin)]).rows
    refused = candidates.refusals({0: (Reason.BAD_TIME, "for the test")})[0]
    row = dead_letter_row(refused, origin, step="intake", dead_letter_id="l")
    rows, (result,) = replay([row], Fix(), Gate())
    assert result.outcome == "returned"
    found = set(direct.columns) - {"schema_version", "flags"}  # found anew
    assert rows.select(sorted(found)).to_dicts() == direct.select(sorted(found)).to_dicts()
