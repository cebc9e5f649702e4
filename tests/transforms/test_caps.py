"""One value too many is the rest."""

from __future__ import annotations

from transforms.caps import capped
from transforms.measure import Key


def test_what_is_admitted_keeps_its_name() -> None:
    key = Key("shop", "events", '{"name":"Searched"}')
    assert capped(key, {'{"name":"Searched"}'}) == key
    assert capped(key, set()) == Key("shop", "events", '{"name":"(other)"}')


def test_all_dimensions_of_the_rest_are_other() -> None:
    key = Key("shop", "m", '{"country":"DE","plan":"pro"}')
    assert capped(key, ()).dimensions == '{"country":"(other)","plan":"(other)"}'


def test_a_number_without_dimensions_is_never_capped() -> None:
    key = Key("shop", "people", "{}")
    assert capped(key, ()) == key
