"""The collector's copy of the list: renewed as the keys are, and serving on while it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalog import policies
from catalog.policies import Suppressed
from catalog.store import Catalog
from collector.suppression import SuppressionList
from transforms.candidates import Candidate, Candidates


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def of(*people: str) -> Candidates:
    return Candidates.of([Candidate(type="track", user_id=p) for p in people], [b"{}"] * 9)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    made = Catalog(f"sqlite:///{tmp_path}/catalog.db")
    made.migrate()
    made.add_project("shop")
    return made


def test_a_person_is_suppressed_within_the_refresh_time_and_let_in_again_as_fast(catalog):
    clock = Clock()
    people = SuppressionList(lambda copy: policies.suppressed(catalog, copy), 5, clock)
    given = of("u1", "u2")
    assert people.filter(given, "shop") is given
    policies.suppress(catalog, "shop", ["u1"])
    clock.now = 5.0
    assert people.filter(given, "shop") is given  # five seconds are not over
    clock.now = 5.1
    found = people.filter(given, "shop")
    assert (found.suppressed, list(found.places)) == ({0}, [1])
    assert people.filter(given, "blog") is given
    policies.unsuppress(catalog, "shop", ["u1"])
    clock.now = 11.0
    assert people.filter(given, "shop") is given


def test_while_the_catalogue_is_away_the_copy_serves_on(catalog, caplog):
    clock = Clock()
    policies.suppress(catalog, "shop", ["u1"])
    broken = False

    def load(copy: Suppressed | None) -> Suppressed:
        if broken:
            raise OSError("gone with u1")
        return policies.suppressed(catalog, copy)

    people = SuppressionList(load, 5, clock)
    broken = True
    clock.now = 100.0
    assert people.filter(of("u1"), "shop").suppressed == {0}
    assert "OSError" in caplog.text
    assert "u1" not in caplog.text
    broken = False
    policies.suppress(catalog, "shop", ["u2"])
    assert people.filter(of("u2"), "shop").suppressed == frozenset()  # not asked at each request
    clock.now = 106.0
    assert people.filter(of("u2"), "shop").suppressed == {0}


def test_a_list_that_cannot_be_read_at_the_start_stops_the_start():
    def load(_: Suppressed | None) -> Suppressed:
        raise OSError("no catalogue")

    with pytest.raises(OSError, match="no catalogue"):
        SuppressionList(load, 5, Clock())
