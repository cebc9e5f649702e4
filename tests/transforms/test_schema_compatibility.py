"""Compatibility against Avro's checker on the whole record, and against fastavro reading data."""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro
import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.transforms.avro_strategies import evolved, fitting, records
from transforms.event_schema import EventSchema, read
from transforms.schema_compatibility import Change, changes, findings


def schema_of(*fields: dict[str, Any], name: str = "R") -> EventSchema:
    return read(json.dumps({"type": "record", "name": name, "fields": list(fields)}))


def field(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


def found(new: EventSchema, old: EventSchema, rule: str) -> list[str]:
    return [str(one) for one in findings(new, old, rule)]  # type: ignore[arg-type]


@given(st.data())
def test_field_by_field_gives_the_verdict_of_avro_on_the_whole(data):
    old = data.draw(records())
    new = data.draw(evolved(old))
    one, other = read(json.dumps(new)), read(json.dumps(old))
    for rule, reader, writer in (("BACKWARD", one, other), ("FORWARD", other, one)):
        whole = ReaderWriterCompatibilityChecker().get_compatibility(reader.avro, writer.avro)
        compatible = whole.compatibility is SchemaCompatibilityType.compatible
        assert (found(one, other, rule) == []) == compatible, rule


@given(st.data())
def test_what_backward_lets_pass_reads_what_was_written(data):
    old = data.draw(records())
    new = data.draw(evolved(old))
    assume(not found(read(json.dumps(new)), read(json.dumps(old)), "BACKWARD"))
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(old), data.draw(fitting(old)))
    buffer.seek(0)
    again = fastavro.schemaless_reader(buffer, fastavro.parse_schema(old), new)
    assert set(again) == {f["name"] for f in new["fields"]}


V1 = schema_of(field("price", "long"), field("sku", "string"))


@pytest.mark.parametrize(
    ("new", "rule", "wanted"),
    [
        ([field("price", "double"), field("sku", "string")], "BACKWARD", []),
        (
            [field("price", "double"), field("sku", "string")],
            "FORWARD",
            ["field price: the old version wants long and cannot read the new one's double"],
        ),
        (
            [field("price", "string"), field("sku", "string")],
            "BACKWARD",
            ["field price: the new version wants string and cannot read the old one's long"],
        ),
        ([field("price", "long")], "BACKWARD", []),
        (
            [field("price", "long")],
            "FORWARD",
            [
                "field sku: the old version needs it and the new one's events lack it; give it a "
                'default, such as "type": ["null", …], "default": null'
            ],
        ),
        ([field("price", "long"), field("sku", "string"), field("size", "string")], "FORWARD", []),
        (
            [field("price", "long"), field("sku", "string"), field("size", ["null", "string"])],
            "BACKWARD",
            [
                "field size: the new version needs it and the old one's events lack it; give it a "
                'default, such as "type": ["null", …], "default": null'
            ],
        ),
        ([field("price", "string"), field("sku", "boolean")], "NONE", []),
    ],
)
def test_rules(new, rule, wanted):
    assert found(schema_of(*new), V1, rule) == wanted


def test_full_is_both():
    new = schema_of(field("price", "double"), field("size", "string"))
    assert found(new, V1, "FULL") == found(new, V1, "BACKWARD") + found(new, V1, "FORWARD")
    assert len(found(new, V1, "FULL")) == 3


def item(kind: Any, nullable: bool = False) -> EventSchema:
    record = {"type": "record", "name": "Item", "fields": [field("price", kind)]}
    items: Any = {"type": "array", "items": record}
    return schema_of(field("items", ["null", items] if nullable else items))


def test_a_nested_field_is_named_by_its_path():
    wanted = ["field items[].price: the new version wants int and cannot read the old one's long"]
    assert found(item("int"), item("long"), "BACKWARD") == wanted
    assert found(item("int", nullable=True), item("long", nullable=True), "BACKWARD") == wanted
    assert found(item("int", nullable=True), item("long"), "BACKWARD") == wanted
    (said,) = found(item("long"), item("long", nullable=True), "BACKWARD")
    assert said.startswith("field items: ")


def long_as(logical: str | None) -> EventSchema:
    kind = {"type": "long", **({"logicalType": logical} if logical else {})}
    return schema_of(field("at", kind))


def test_the_unit_of_a_time_cannot_change_though_avros_checker_lets_it():
    whole = ReaderWriterCompatibilityChecker()
    millis, micros = long_as("timestamp-millis"), long_as("timestamp-micros")
    result = whole.get_compatibility(micros.avro, millis.avro)
    assert result.compatibility is SchemaCompatibilityType.compatible
    assert found(micros, millis, "BACKWARD") == [
        "field at: the new version wants timestamp-micros and cannot read the old one's "
        "timestamp-millis"
    ]
    assert found(micros, long_as(None), "BACKWARD")
    assert found(micros, micros, "FULL") == []


def test_a_uuid_can_become_any_text_but_no_text_a_uuid():
    uuid = schema_of(field("id", {"type": "string", "logicalType": "uuid"}))
    string = schema_of(field("id", "string"))
    assert found(string, uuid, "BACKWARD") == []
    assert len(found(uuid, string, "BACKWARD")) == 1


def test_another_name_of_the_record_or_the_property_is_refused_by_name():
    (said,) = found(schema_of(name="S"), schema_of(name="R"), "BACKWARD")
    assert said.startswith("field (the record): the new version calls the record S and the other R")
    (said,) = found(
        schema_of(field("url", "string", property="$url")), schema_of(field("url", "string")),
        "BACKWARD",
    )  # fmt: skip
    assert said.startswith("field url: it is property '$url' in one version and 'url' in the other")


def test_an_alias_reads_the_old_name():
    new = schema_of(field("sku_id", "string", aliases=["sku"], property="sku"))
    assert found(new, schema_of(field("sku", "string")), "BACKWARD") == []


def test_changes_by_field():
    new = schema_of(field("price", "double"), field("size", ["null", "string"], default=None))
    assert changes(V1, new) == [
        Change("price", "changed", "long", "double"),
        Change("size", "added", None, "null or string, default null"),
        Change("sku", "removed", "string", None),
    ]
    assert changes(item("int"), item("long")) == [Change("items[].price", "changed", "int", "long")]
    assert changes(V1, V1) == []
