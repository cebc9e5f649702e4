"""The registry of event schemas on its real database."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import alembic.command
import alembic.config
import pytest
from sqlalchemy import Engine, create_engine, inspect, text

import catalog as catalog_package
from catalog.models import Base
from catalog.policy import SourcePolicy
from catalog.schemas import Incompatible, NotThere, Registered, SchemaRegistry
from catalog.store import Catalog, CatalogError


@pytest.fixture
def catalog(tmp_path) -> Catalog:
    made = Catalog(f"sqlite:///{tmp_path}/catalog.db")
    made.migrate()
    made.add_project("shop")
    made.add_project("blog")
    return made


@pytest.fixture
def registry(catalog) -> SchemaRegistry:
    return SchemaRegistry(catalog)


def avro(*fields: tuple[str, Any], name: str = "Signed Up", **more: Any) -> str:
    made = [{"name": field, "type": kind} for field, kind in fields]
    event = {"event": {"type": "track", "name": name}}
    return json.dumps({"type": "record", "name": "R", "fields": made, **event, **more})


def key(one: Registered) -> tuple[str, str, str, int]:
    return one.project, one.type, one.name, one.version


def test_versions_count_from_one_in_each_project_and_name(registry):
    assert key(registry.register("shop", avro(("a", "int")))) == ("shop", "track", "Signed Up", 1)
    assert registry.register("shop", avro(("a", "long"))).version == 2
    assert registry.register("shop", avro(("a", "int"), name="Left")).version == 1
    assert registry.register("blog", avro(("a", "int"))).version == 1
    assert [key(one) for one in registry.newest("shop")] == [
        ("shop", "track", "Left", 1),
        ("shop", "track", "Signed Up", 2),
    ]
    assert [key(one) for one in registry.all()] == [
        ("blog", "track", "Signed Up", 1),
        ("shop", "track", "Left", 1),
        ("shop", "track", "Signed Up", 1),
        ("shop", "track", "Signed Up", 2),
    ]


def test_a_version_is_kept_as_it_was_written(registry):
    written = json.dumps(json.loads(avro(("a", "int"), doc="é")), indent=4, ensure_ascii=False)
    registry.register("shop", written)
    assert registry.version("shop", "track", "Signed Up").avro == written


def test_the_same_again_is_no_new_version(registry):
    first = registry.register("shop", avro(("a", "int")))
    again = registry.register("shop", json.dumps(json.loads(avro(("a", "int"))), indent=1))
    assert again == first
    assert len(registry.all()) == 1


def test_an_incompatible_version_is_refused_with_field_and_reason(registry):
    registry.register("shop", avro(("total", "long"), ("items", "int")))
    with pytest.raises(Incompatible) as caught:
        registry.register("shop", avro(("total", "int"), ("items", "string"), ("x", "string")))
    assert [finding.field for finding in caught.value.findings] == ["total", "items", "x"]
    assert str(caught.value).startswith(
        "track 'Signed Up' is not BACKWARD compatible with version 1: field total: the new version "
        "wants int and cannot read the old one's long; field items: "
    )
    assert len(registry.all()) == 1


def test_a_rule_holds_until_another_is_given(registry):
    def register(rule: Any, *fields: tuple[str, Any]) -> tuple[int, str]:
        made = registry.register("shop", avro(*fields), compatibility=rule)
        return made.version, made.compatibility

    assert register("FORWARD", ("a", "long")) == (1, "FORWARD")
    assert register(None, ("a", "int")) == (2, "FORWARD")
    with pytest.raises(Incompatible, match="not FORWARD"):
        register(None, ("a", "long"))
    assert register("BACKWARD", ("a", "long")) == (3, "BACKWARD")
    assert register("NONE", ("b", "string")) == (4, "NONE")
    assert register("FULL", ("b", "string")) == (5, "FULL")
    with pytest.raises(CatalogError, match="'SOME' is none of BACKWARD, FORWARD, FULL, NONE"):
        register("SOME", ("b", "string"))


def test_what_is_given_goes_before_what_the_record_says(registry):
    made = registry.register("shop", avro(("a", "int")), kind="page", name="Home")
    assert (made.type, made.name) == ("page", "Home")
    made = registry.register("shop", avro(("a", "int")), kind="identify")
    assert (made.type, made.name, made.title) == ("identify", "", "every identify")
    with pytest.raises(CatalogError, match="needs the name of its event; give --name, or the rec"):
        registry.register("shop", '{"type": "record", "name": "R", "fields": []}')


def test_planning_changes_nothing(registry):
    planned = registry.plan("shop", avro(("a", "int")))
    assert (planned.version, planned.compatibility, planned.unchanged) == (1, "BACKWARD", None)
    assert registry.all() == []


def test_what_is_not_there_is_named(registry):
    for ask in (
        lambda: registry.register("gone", avro(("a", "int"))),
        lambda: registry.newest("gone"),
    ):
        with pytest.raises(NotThere, match="project 'gone' is not in the catalogue; make it"):
            ask()
    with pytest.raises(NotThere, match="has no schema of track 'Signed Up'"):
        registry.version("shop", "track", "Signed Up")
    registry.register("shop", avro(("a", "int")))
    with pytest.raises(NotThere, match=r"no version 2 of the schema of .*; there are 1 to 1"):
        registry.diff("shop", "track", "Signed Up", 1, 2)
    with pytest.raises(CatalogError, match="no Avro schema"):
        registry.register("shop", "{")


def test_registering_at_the_same_time_keeps_versions_apart(registry):
    start = threading.Barrier(8)
    done: list[Any] = []

    def register(number: int) -> None:
        start.wait()
        try:
            done.append(registry.register("shop", avro(("a", "int"), doc=str(number))).version)
        except CatalogError as error:
            done.append(str(error))

    threads = [threading.Thread(target=register, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    versions = sorted(d for d in done if isinstance(d, int))
    assert len(done) == 8
    assert versions == list(range(1, len(versions) + 1))
    assert [one.version for one in registry.all()] == versions
    assert all("try again" in d for d in done if isinstance(d, str))


def test_the_mode_of_a_source_comes_with_its_keys(catalog):
    web, app = catalog.add_key("shop", "web"), catalog.add_key("shop", "app")
    assert catalog.keys()[web].policy.schema_mode == "off"
    catalog.set_source("shop", "web", schema_mode="enforce")
    owners = catalog.keys()
    assert (owners[web].policy.schema_mode, owners[app].policy.schema_mode) == ("enforce", "off")
    assert owners[app].policy == SourcePolicy()


# -- Migration.


def migrate(engine: Engine, how: Any, to: str) -> None:
    config = alembic.config.Config()
    folder = Path(catalog_package.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder))
    config.attributes["engine"] = engine
    how(config, to)


def rows(engine: Engine, table: str) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        found = connection.execute(text(f"SELECT * FROM {table} ORDER BY 1"))
        return [dict(row) for row in found.mappings()]


OLD = """
INSERT INTO projects (id, slug, name, time_zone) VALUES (7, 'shop', 'Shop', 'UTC');
INSERT INTO sources (id, project_id, slug) VALUES (3, 7, 'web'), (4, 7, 'app');
INSERT INTO write_keys (key, source_id) VALUES ('hw_a', 3);
INSERT INTO write_keys VALUES ('hw_b', 4, '2026-01-01 00:00:00', '2026-01-02 00:00:00');
"""
TABLES = ("projects", "sources", "write_keys")


def test_an_older_catalogue_keeps_its_rows_and_can_go_back(tmp_path):
    url = f"sqlite:///{tmp_path}/catalog.db"
    engine = create_engine(url)
    migrate(engine, alembic.command.upgrade, "0001")
    with engine.begin() as connection:
        for statement in OLD.strip().splitlines():
            connection.execute(text(statement))
    before = {table: rows(engine, table) for table in TABLES}

    migrate(engine, alembic.command.upgrade, "0002")
    added = {"projects": {}, "sources": {"schema_mode": "off"}, "write_keys": {}}
    assert {table: rows(engine, table) for table in TABLES} == {
        table: [row | added[table] for row in before[table]] for table in TABLES
    }
    assert "event_schemas" in inspect(engine).get_table_names()

    migrate(engine, alembic.command.downgrade, "0001")
    assert {table: rows(engine, table) for table in TABLES} == before
    assert "event_schemas" not in inspect(engine).get_table_names()

    now = Catalog(url)
    now.migrate()
    SchemaRegistry(now).register("shop", avro(("a", "int")))
    assert set(now.keys()) == {"hw_a"}
    assert set(Base.metadata.tables) <= set(inspect(engine).get_table_names())
    engine.dispose()
