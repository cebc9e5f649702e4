"""Event schemas against fastavro, which judges the same data by the same schemas its own way."""

from __future__ import annotations

import json
from typing import Any

import fastavro
import pytest
from fastavro.validation import validate
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.avro_strategies import fitting, json_values, misfits, records
from transforms.event_schema import SchemaError, named, read


def schema_of(*fields: dict[str, Any], **more: Any) -> str:
    return json.dumps({"type": "record", "name": "R", "fields": list(fields), **more})


def says(schema: Any, properties: Any) -> str | None:
    text = schema if isinstance(schema, str) else json.dumps(schema)
    return read(text).check(json.dumps(properties).encode())


def accepted_by_fastavro(schema: Any, value: Any) -> bool:
    return validate(value, fastavro.parse_schema(schema), raise_errors=False)


@given(st.data())
def test_what_fits_is_accepted_with_whatever_else_it_carries(data):
    schema = data.draw(records())
    value = data.draw(fitting(schema))
    assert accepted_by_fastavro(schema, value)
    assert says(schema, value) is None


@given(st.data())
def test_one_wrong_property_is_judged_as_fastavro_does(data):
    schema = data.draw(records())
    value = data.draw(misfits(schema))
    missing = [f["name"] for f in schema["fields"] if f["name"] not in value]
    for name in missing:  # absent and null are the same in JSON, but not to fastavro
        field = next(f for f in schema["fields"] if f["name"] == name)
        if isinstance(field["type"], list):
            value[name] = None
    assert (says(schema, value) is None) == accepted_by_fastavro(schema, value)


@given(records(), json_values)
def test_any_value_is_judged_as_fastavro_does(schema, value):
    nullable = [f["name"] for f in schema["fields"] if isinstance(f["type"], list)]
    if isinstance(value, dict):
        value = {**dict.fromkeys(nullable), **value}
    assert (says(schema, value) is None) == accepted_by_fastavro(schema, value)


ORDER = schema_of(
    {"name": "total", "type": "double"},
    {"name": "count", "type": "int"},
    {"name": "paid", "type": ["null", "boolean"], "default": None},
    {"name": "method", "type": {"type": "enum", "name": "M", "symbols": ["card", "cash"]}},
    {
        "name": "items",
        "type": {
            "type": "array",
            "items": {
                "type": "record",
                "name": "Item",
                "fields": [{"name": "sku", "type": "string"}],
            },
        },
    },
    {"name": "sizes", "type": {"type": "map", "values": "long"}, "default": {}},
)
GOOD = {"total": 9.5, "count": 1, "method": "card", "items": [{"sku": "a"}]}


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"total": "12,50"}, 'total: expected float, got str; found "12,50"'),
        ({"count": 1 << 31}, "count: expected int <= 2147483647; found 2147483648"),
        ({"count": 1.5}, "count: expected int, got float; found 1.5"),
        ({"count": True}, "count: expected int, got bool; found true"),
        ({"count": None}, "count: expected int, got null; found null"),
        ({"method": "cheque"}, "method: invalid enum value 'cheque'; found \"cheque\""),
        ({"items": [{"sku": "a"}, {"sku": 7}]}, "items[1].sku: expected str, got int; found 7"),
        ({"items": [{}]}, "items[0].sku: missing"),
        ({"items": {}}, "items: expected array, got object; found {}"),
        ({"sizes": {"s": "1"}}, 'sizes[...]: expected int, got str; found {"s":"1"}'),
    ],
)
def test_the_message_names_the_field_and_what_was_found(change, wanted):
    assert says(ORDER, GOOD) is None
    assert says(ORDER, GOOD | change) == wanted


def test_a_missing_field_no_object_and_no_json():
    del (without := dict(GOOD))["total"]
    assert says(ORDER, without) == "total: missing"
    assert says(ORDER, [GOOD]) == "properties: expected object, got array"
    assert str(read(ORDER).check(b'{"total": 1,')).startswith("properties: ")
    assert str(read(ORDER).check(b"[" * 100_000)).startswith("properties: ")


def test_a_long_value_is_cut_in_the_message():
    said = says(ORDER, GOOD | {"count": "x" * 100_000})
    assert said is not None
    assert len(said) < 120


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ({"type": "int", "logicalType": "date"}, ["2026-02-28", 20_000], ["2026-02-30", "x", 1.5]),
        (
            {"type": "long", "logicalType": "timestamp-micros"},
            ["2026-02-28T10:00:00Z", "2026-02-28T10:00:00.123456+02:00", 1_700_000_000_000_000],
            ["2026-02-28", "10:00", True],
        ),
        (
            {"type": "long", "logicalType": "timestamp-millis"},
            ["2026-02-28T10:00:00Z", 1_700_000_000_000],
            ["soon", [1]],
        ),
        (
            {"type": "string", "logicalType": "uuid"},
            ["8b8a5f40-7a45-4bb5-9f0a-8f3b3c0d4e1f"],
            ["8b8a5f40", 1],
        ),
        (
            {"type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 2},
            [999.99, "999.99", "-0.10", 100, "1.000", 0, "1e2"],
            [1000, "1000.00", 0.001, "1.005", "x", True, "NaN", "Infinity", "1e400", None],
        ),
    ],
)
def test_logical_types(kind, good, bad):
    text = schema_of({"name": "a", "type": kind})
    optional = schema_of({"name": "a", "type": ["null", kind], "default": None})
    for value in good:
        assert says(text, {"a": value}) is None, value
        assert says(optional, {"a": value}) is None, value
    for value in bad:
        assert str(says(text, {"a": value})).startswith("a: "), value
    assert says(optional, {"a": None}) is None
    assert says(optional, {}) is None


def test_a_property_may_have_a_name_that_avro_has_not():
    text = schema_of({"name": "url", "property": "$current url", "type": "string"})
    assert says(text, {"$current url": "x"}) is None
    assert says(text, {"url": "x"}) == "$current url: missing"


def test_a_default_makes_a_property_optional_but_not_null():
    text = schema_of({"name": "n", "type": "long", "default": 0})
    assert says(text, {}) is None
    assert says(text, {"n": None}) == "n: expected int, got null; found null"


@pytest.mark.parametrize("word", ["class", "None", "f0", "self", "_x", "__init__", "import"])
def test_words_of_the_language_are_names_like_others(word):
    text = schema_of({"name": word, "type": "long"}, {"name": "other", "type": "string"})
    assert says(text, {word: 1, "other": ""}) is None
    assert str(says(text, {word: "1", "other": ""})).startswith(f"{word}: ")


def test_named_types_are_used_again():
    money = {"type": "record", "name": "Money", "fields": [{"name": "minor", "type": "long"}]}
    text = schema_of({"name": "net", "type": money}, {"name": "tax", "type": "Money"})
    assert says(text, {"net": {"minor": 1}, "tax": {"minor": "1"}}) == (
        'tax.minor: expected int, got str; found "1"'
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{", "no Avro schema"),
        ('"string"', "the schema is no record"),
        ('["null", "string"]', "the schema is no record"),
        ("[" * 50_000, "nested too deeply"),
        (" " * 300_000, "at most 262,144"),
        (schema_of({"name": "a", "type": "text"}), "Could not make an Avro Schema"),
        (schema_of({"name": "a b", "type": "long"}), 'a b: Avro names have .* "property": "a b"'),
        (schema_of({"name": "a", "type": "bytes"}), "a: JSON has no bytes; use string"),
        (schema_of({"name": "a", "type": ["int", "long"]}), "a: int and long look alike in JSON"),
        (
            schema_of({"name": "a", "type": ["string", {"type": "string", "logicalType": "uuid"}]}),
            "string type already in Union",
        ),
        (
            schema_of({"name": "a", "type": ["long", {"type": "int", "logicalType": "date"}]}),
            "a: long and date look alike",
        ),
        (schema_of({"name": "a", "type": ["string", "null"], "default": None}),
         "a: default null is no string, the first of the union"),
        (schema_of({"name": "a", "type": "int", "default": "0"}), 'a: default "0" is no int'),
        (
            schema_of({"name": "a", "type": {"type": "int", "logicalType": "date"},
                       "default": "2026-01-01"}),
            'default "2026-01-01" is no date',
        ),
        (schema_of({"name": "a", "type": {"type": "array", "items": "R"}}),
         r"a\[\]: record R is inside of itself"),
        (
            schema_of({"name": "a", "type": "int"}, {"name": "b", "property": "a", "type": "int"}),
            "b: property 'a' is there twice",
        ),
        (schema_of(event="Signed Up"), "event: 'Signed Up' is no object"),
        (schema_of(event={"type": "click"}), "type 'click' is none of alias, group"),
        (schema_of(event={"type": "track"}), "needs the name of its event"),
    ],
)  # fmt: skip
def test_a_schema_that_cannot_be_used_names_the_field_and_the_remedy(text, wanted):
    with pytest.raises(SchemaError, match=wanted):
        read(text)


def test_a_schema_says_which_events_it_is_for():
    assert read(schema_of(event={"name": "Signed Up"})).event == ("track", "Signed Up")
    assert read(schema_of(event={"type": "page"})).event == ("page", "")
    assert read(schema_of()).event is None


def test_types_in_words():
    assert [named(field.type) for field in read(ORDER).avro.fields] == [
        "double", "int", "null or boolean", "enum card|cash", "array of record Item",
        "map of long",
    ]  # fmt: skip


def test_a_schema_is_parsed_once() -> None:
    """Every checked event asks for its own."""
    assert read(ORDER) is read(ORDER)
