"""Events held to registered schemas, as their source's policy wants it; on a real catalogue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from catalog.policy import SchemaMode, SourcePolicy
from catalog.schemas import SchemaRegistry
from catalog.store import Catalog, KeyOwner
from collector.bus.spool import SpoolPublisher
from collector.gather import Gatherer
from collector.validation import Validator
from tests.collector import blocks
from transforms.candidates import Candidate, Candidates
from transforms.failures import Reason, Rejection
from transforms.flags import Flag
from transforms.judge import Origin

NOW = 1_800_000_000_000_000


@pytest.fixture
def registry(tmp_path: Path) -> SchemaRegistry:
    catalog = Catalog(f"sqlite:///{tmp_path}/catalog.db")
    catalog.migrate()
    catalog.add_project("shop")
    catalog.add_project("blog")
    return SchemaRegistry(catalog)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def avro(name: str, **fields: Any) -> str:
    made = [{"name": field, "type": kind} for field, kind in fields.items()]
    kind, _, called = name.partition(":")
    event = {"type": kind, "name": called}
    return json.dumps({"type": "record", "name": "R", "event": event, "fields": made})


def validator(registry: SchemaRegistry, clock: Clock | None = None) -> Validator:
    return Validator(registry.all, 5.0, clock or Clock())


def owner(mode: SchemaMode, project: str = "shop") -> KeyOwner:
    return KeyOwner(project, "web", SourcePolicy(schema_mode=mode))


def candidates(*events: tuple[str, Any]) -> Candidates:
    """Of ("track:Name", properties); a Rejection among them is one already."""
    made: list[Candidate | Rejection] = []
    originals = []
    for number, (subject, properties) in enumerate(events):
        kind, _, name = subject.partition(":")
        text = json.dumps(properties).encode()
        originals.append(b"original of %d: %s" % (number, text))
        if kind == "broken":
            made.append(Rejection(Reason.UNREADABLE, "broken", originals[-1]))
        else:
            made.append(
                Candidate(type=kind, name=name or None, event_id=f"e{number}", user_id="u",
                          properties=text)
            )  # fmt: skip
    return Candidates.of(made, originals)


MIXED = candidates(
    ("track:Bought", {"total": 1, "unknown": [1]}),
    ("track:Bought", {"total": "one"}),
    ("broken:", {}),
    ("track:Seen", {"total": "no schema"}),
    ("track:Bought", {}),
)


def test_off_or_nothing_registered_changes_nothing(registry):
    held = validator(registry)
    for mode in ("off", "warn", "enforce"):
        assert held.check(MIXED, owner(mode)) is MIXED
    registry.register("shop", avro("track:Bought", total="long"))
    held = validator(registry)
    assert held.check(MIXED, owner("off")) is MIXED
    assert held.check(MIXED, owner("enforce", "blog")) is MIXED
    no_events = candidates()
    assert held.check(no_events, owner("enforce")) is no_events
    other = candidates(("track:Seen", {}), ("page:Bought", {}))
    assert held.check(other, owner("enforce")) is other


def test_warn_flags_and_keeps(registry):
    registry.register("shop", avro("track:Bought", total="long"))
    checked = validator(registry).check(MIXED, owner("warn"))
    assert checked.columns["schema_version"] == [1, None, None, None]
    assert checked.columns["flags"] == [0, Flag.SCHEMA_MISMATCH, 0, Flag.SCHEMA_MISMATCH]
    assert checked.columns["properties"] == MIXED.columns["properties"]
    assert (checked.places, checked.refused) == (MIXED.places, MIXED.refused)


def test_warn_keeps_flags_that_are_there(registry):
    registry.register("shop", avro("track:Bought", total="long"))
    flagged = MIXED.with_columns({"flags": [None, 16, 16, None]})
    checked = validator(registry).check(flagged, owner("warn"))
    assert checked.columns["flags"] == [0, 16 | 32, 16, 32]


def test_enforce_refuses_and_names_the_field(registry):
    registry.register("shop", avro("track:Bought", total="long"))
    checked = validator(registry).check(MIXED, owner("enforce"))
    assert (list(checked.places), checked.count) == ([0, 3], 2)
    assert checked.columns["event_id"] == ["e0", "e3"]
    assert checked.columns["schema_version"] == [1, None]
    said = {at: (one.reason, one.message, one.original) for at, one in checked.refused.items()}
    assert said == {
        1: (
            Reason.SCHEMA_MISMATCH,
            "'Bought' does not fit version 1 of its schema: total: expected int, got str; found "
            '"one"',
            b'original of 1: {"total": "one"}',
        ),
        2: (Reason.UNREADABLE, "broken", b"original of 2: {}"),
        4: (
            Reason.SCHEMA_MISMATCH,
            "'Bought' does not fit version 1 of its schema: total: missing",
            b"original of 4: {}",
        ),
    }
    assert checked.messages == MIXED.messages


def test_the_newest_version_that_fits_is_kept(registry):
    for kind in ("long", "double", ["null", "double", "string"]):
        registry.register("shop", avro("track:Bought", total=kind))
    registry.register("shop", avro("track:Bought", total="boolean"), compatibility="NONE")
    events = candidates(
        *(("track:Bought", {"total": value}) for value in (True, 1, 1.5, "one", None, []))
    )
    checked = validator(registry).check(events, owner("warn"))
    assert checked.columns["schema_version"] == [4, 3, 3, 3, 3, None]
    assert checked.columns["flags"] == [0, 0, 0, 0, 0, Flag.SCHEMA_MISMATCH]
    refused = validator(registry).check(events, owner("enforce")).refused
    assert "version 4 of its schema: total: expected bool, got array" in refused[5].message


def test_a_schema_without_a_name_is_for_all_that_have_none_of_their_own(registry):
    registry.register("shop", avro("page:", path="string"))
    registry.register("shop", avro("page:Home", path="long"))
    registry.register("shop", avro("identify:", plan="string"))
    checked = validator(registry).check(
        candidates(
            ("page:Home", {"path": 1}),
            ("page:Other", {"path": "/"}),
            ("page:", {"path": "/"}),
            ("identify:", {"plan": "free"}),
            ("page:Home", {"path": "/"}),
        ),
        owner("warn"),
    )
    assert checked.columns["schema_version"] == [1, 1, 1, 1, None]


def test_candidates_without_some_columns(registry):
    registry.register("shop", avro("identify:", plan="string"))
    made = Candidates({"type": ["identify", "group"]}, 2, lambda: [b"a", b"b"])
    checked = validator(registry).check(made, owner("enforce"))
    assert {at: one.original for at, one in checked.refused.items()} == {0: b"a"}


def test_a_new_version_is_in_force_after_the_renewal(registry):
    clock = Clock()
    held = validator(registry, clock)
    registry.register("shop", avro("track:Bought", total="long"))
    clock.now = 5.0
    assert held.check(MIXED, owner("enforce")).count == 4
    clock.now = 5.1
    assert held.check(MIXED, owner("enforce")).count == 2


def test_while_the_catalogue_cannot_be_read_the_copy_serves_on(registry):
    registry.register("shop", avro("track:Bought", total="long"))
    clock, broken = Clock(), False

    def load() -> Any:
        if broken:
            raise OSError("disk gone")
        return registry.all()

    held = Validator(load, 5.0, clock)
    broken, clock.now = True, 100.0
    assert held.check(MIXED, owner("enforce")).count == 2


def test_a_schema_that_this_version_cannot_read_does_not_take_the_others_with_it(registry):
    registry.register("shop", avro("track:Bought", total="long"))
    good = registry.all()
    (newer,) = good

    class Newer:
        project, type, name, version, title = "shop", "track", "Seen", 1, "track 'Seen'"
        avro = newer.avro.replace('"long"', '"bytes"')

    held = Validator(lambda: [*good, Newer()], 5.0, Clock())  # type: ignore[list-item]
    assert held.check(MIXED, owner("enforce")).count == 2


def test_explain(registry):
    registry.register("shop", avro("track:Bought", total="long"))
    held = validator(registry)
    said = held.explain("shop", "track", "Bought", b'{"total": null}')
    assert said is not None
    assert said.endswith("total: expected int, got null; found null")
    assert held.explain("shop", "track", "Bought", b'{"total": 1}') is None
    assert held.explain("shop", "track", "Seen", b"{}") is None
    assert held.explain("gone", "track", "Bought", b"{}") is None


@pytest.fixture
def gatherer(tmp_path: Path) -> Iterator[Gatherer]:
    made = Gatherer(SpoolPublisher(tmp_path / "spool", segment_bytes=1 << 30), 1000)
    yield made
    made.close()


def test_what_is_stored_says_which_version_it_fits(registry, gatherer, tmp_path):
    registry.register("shop", avro("track:Bought", total="long"))
    held = validator(registry)
    origin = Origin("shop", "web", NOW)
    for mode in ("warn", "enforce"):
        gatherer.take(held.check(MIXED, owner(mode)), origin, lambda: "{}")
    stored = blocks.rows(tmp_path / "spool" / "events")
    no_time = Flag.NO_TIME.value
    assert [(r["event_id"], r.get("schema_version"), r["flags"] - no_time) for r in stored] == [
        ("e0", 1, 0), ("e1", None, 32), ("e3", None, 0), ("e4", None, 32),
        ("e0", 1, 0), ("e3", None, 0),
    ]  # fmt: skip
    assert json.loads(stored[0]["properties"]) == {"total": 1, "unknown": [1]}
    dead = blocks.rows(tmp_path / "spool" / "dead_letters")
    assert [letter["reason"] for letter in dead] == [
        "unreadable", "schema_mismatch", "unreadable", "schema_mismatch",
    ]  # fmt: skip
