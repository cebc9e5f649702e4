"""Edits: small changes of a candidate's fields, and mistakes that are explained."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.edits import mended, parse
from transforms.mapping import MappingError

LETTER = {"reason": "bad_money", "source": "web"}


def fields() -> dict:
    return {
        "type": "track",
        "name": "sale",
        "revenue": "12",
        "properties": {"uid": 7, "tags": ["a"], "deep": {"plan": "pro", "secret": 1}},
    }


def apply(text: str, **changes) -> dict:
    found = fields() | changes
    mended(found, LETTER, parse(text))
    return found


@pytest.mark.parametrize(
    ("edit", "name", "value"),
    [
        ('set = { currency = "EUR" }', "currency", "EUR"),
        ('set = { user_id = "{properties.uid}" }', "user_id", 7),
        ('set = { user_id = "shop-{properties.uid}" }', "user_id", "shop-7"),
        ('set = { user_id = "{properties.gone}" }', "user_id", None),
        ('rename = { "properties.uid" = "user_id" }', "user_id", 7),
        ('rename = { "properties.gone" = "name" }', "name", "sale"),
        ('drop = ["revenue", "properties.gone.too"]', "revenue", None),
        ('reason = "bad_money"\nset = { name = "x" }', "name", "x"),
        ('reason = "bad_time"\nset = { name = "x" }', "name", "sale"),
        ('source = "web"\ntype = "track"\nname = "sale"\nset = { name = "x" }', "name", "x"),
        ('name = "other"\nset = { name = "x" }', "name", "sale"),
    ],
)
def test_what_an_edit_does_to_a_field(edit, name, value):
    assert apply(f"[[edit]]\n{edit}").get(name) == value


def test_objects_are_reached_into_and_edits_follow_one_another():
    text = """
    [[edit]]
    rename = { "properties.deep.plan" = "properties.plan" }
    drop = ["properties.deep.secret"]
    [[edit]]
    set = { "context.page.path" = "/{properties.plan}", "properties.ok" = true }
    """
    found = apply(text)
    assert found["properties"] == {"uid": 7, "tags": ["a"], "deep": {}, "plan": "pro", "ok": True}
    assert found["context"] == {"page": {"path": "/pro"}}


names = st.sampled_from(["user_id", "properties.uid", "properties.deep.plan", "context.a"])


@given(names, names)
def test_a_rename_back_is_no_change(old, new):
    if old == new or old.startswith(new) or new.startswith(old):
        return
    found = fields()
    before = copy.deepcopy(found)
    if _there(found, new) or not _there(found, old):
        return
    mended(found, LETTER, parse(f'[[edit]]\nrename = {{ "{old}" = "{new}" }}'))
    assert not _there(found, old)
    mended(found, LETTER, parse(f'[[edit]]\nrename = {{ "{new}" = "{old}" }}'))
    assert {k: v for k, v in found.items() if v != {}} == before


def _there(found: dict, name: str) -> bool:
    for part in name.split("."):
        if not isinstance(found, dict) or part not in found:
            return False
        found = found[part]
    return True


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a list of [[edit]]"),
        ("[edit]\nset = {}", "a list of [[edit]]"),
        ("colour = 1\n[[edit]]\ndrop = ['name']", "a list of [[edit]]"),
        ("[[edit", "not TOML"),
        ("[[edit]]\nput = 1", "'put' is no key of an edit"),
        ("[[edit]]\nreason = 'x'", "one of set, rename and drop"),
        ("[[edit]]\nset = { colour = 'x' }", "'colour' is no field"),
        ("[[edit]]\ndrop = ['properties']", "'properties' is no field"),
        ("[[edit]]\ndrop = [3]", "3 is no field"),
        ("[[edit]]\nset = { name = [1] }", "must be a text or a number"),
        ("[[edit]]\nset = 3", "set and rename are tables"),
        ("edit = [3]", "3 is no key"),
    ],
)
def test_a_mistake_names_what_is_wrong(text, message):
    with pytest.raises(MappingError, match=r".") as caught:
        parse(text)
    assert message in str(caught.value)
