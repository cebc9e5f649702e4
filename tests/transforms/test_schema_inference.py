"""Drafts fit what they were drafted from."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.avro_strategies import json_values
from transforms.event_schema import SchemaError, read
from transforms.schema_inference import infer, shown


def drafted(*samples: Any) -> dict[str, Any]:
    made = infer([json.dumps(sample).encode() for sample in samples], "track", "Order Completed")
    return {field["name"]: field["type"] for field in made["fields"]}


NAMES = st.sampled_from(["a", "b b", "$c", "c", "class", "", "é", "0", "_", "a_b", "a b"])
TIMES = st.datetimes().map(lambda t: f"{t.isoformat()}Z") | st.dates().map(str)
VALUES = json_values | TIMES | st.uuids().map(str)


@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=5), min_size=1, max_size=5))
def test_a_draft_is_a_schema_that_its_samples_fit(samples):
    texts = [json.dumps(sample).encode() for sample in samples]
    schema = read(shown(infer(texts, "track", "X")))
    assert [schema.check(text) for text in texts] == [None] * len(texts)
    assert schema.event == ("track", "X")


def test_kinds():
    first = {"i": 1, "d": 1, "s": "x", "b": True}
    assert drafted(first, {"i": 2, "d": 1.5, "s": "", "b": False}) == {
        "i": "long",
        "d": "double",
        "s": "string",
        "b": "boolean",
    }  # fmt: skip


def test_what_is_not_always_there_may_be_null():
    assert drafted({"a": 1, "n": None}, {"n": "x"}) == {
        "a": ["null", "long"],
        "n": ["null", "string"],
    }
    made = infer([b'{"a": 1}', b"{}"], "track", "X")
    assert made["fields"] == [
        {"name": "a", "type": ["null", "long"], "default": None, "doc": "In 1 of 2."}
    ]


@pytest.mark.parametrize(
    ("values", "logical"),
    [
        (["2026-01-01", "2026-02-28"], "date"),
        (["2026-01-01T10:00:00Z"], "timestamp-micros"),
        (["8b8a5f40-7a45-4bb5-9f0a-8f3b3c0d4e1f"], "uuid"),
        (["2026-01-01", "soon"], None),
        (["2026-01-01", "2026-01-01T10:00:00Z"], None),
        (["20260101"], None),
    ],
)
def test_texts_that_all_look_alike(values, logical):
    kind = drafted(*({"t": value} for value in values))["t"]
    assert (kind["logicalType"] if logical else kind) == (logical or "string")


def test_mixed_kinds_are_a_union():
    assert drafted({"x": 1}, {"x": "one"}, {"x": True})["x"] == ["boolean", "long", "string"]
    assert drafted({"x": "2026-01-01"}, {"x": 3})["x"] == ["long", "string"]


def test_objects_are_records_and_those_with_data_for_names_are_maps():
    inner = drafted({"o": {"a": 1}}, {"o": {"a": 2, "b": "x"}})["o"]
    assert (inner["type"], inner["name"]) == ("record", "O")
    assert [field["type"] for field in inner["fields"]] == ["long", ["null", "string"]]
    by_id = drafted({"o": {f"id {n}": n for n in range(200)}})["o"]
    assert by_id == {"type": "map", "values": "long"}


def test_names_that_avro_has_not_keep_their_property():
    made = infer([b'{"$a b": 1, "a_b": 2, "1st": 3}'], "page", "")
    assert [(f["name"], f.get("property")) for f in made["fields"]] == [
        ("a_b_2", "$a b"), ("a_b", None), ("_1st", "1st"),
    ]  # fmt: skip
    assert (made["name"], made["event"]) == ("Page", {"type": "page", "name": ""})


@pytest.mark.parametrize(
    ("samples", "wanted"),
    [
        ([], "no sample of track 'X'"),
        ([b"{}", b"{"], "sample 2 is no JSON"),
        ([b"[]"], "sample 1 is no JSON object"),
        ([b"{}", b"[" * 50_000], "sample 2 is no JSON"),
    ],
)
def test_bad_samples_are_named(samples, wanted):
    with pytest.raises(SchemaError, match=wanted):
        infer(samples, "track", "X")
