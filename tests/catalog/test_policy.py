"""Privacy, limits and suppressed people in the catalogue."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

import alembic.command
import alembic.config
import click
import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine

import catalog
from catalog import cli_policy, policies
from catalog.policy import DEFAULT_POLICY, SourcePolicy
from catalog.store import Catalog, CatalogError, KeyOwner


@pytest.fixture
def store(tmp_path: Path) -> Catalog:
    made = Catalog(f"sqlite:///{tmp_path}/catalog.db")
    made.migrate()
    made.add_project("shop")
    made.add_project("blog")
    return made


def move(url: str, how: str, revision: str) -> None:
    """Bring the database at `url` to a revision, as an older or newer version would."""
    engine = create_engine(url)
    config = alembic.config.Config()
    config.set_main_option(
        "script_location", str(Path(catalog.__file__ or "").parent / "migrations")
    )
    config.attributes["engine"] = engine
    getattr(alembic.command, how)(config, revision)
    engine.dispose()


def test_a_catalogue_of_before_keeps_its_projects_and_keys_with_careful_defaults(tmp_path):
    file = tmp_path / "catalog.db"
    url = f"sqlite:///{file}"
    move(url, "upgrade", "0002")
    old = sqlite3.connect(file)
    old.execute("INSERT INTO projects (id, slug, name, time_zone) VALUES (7, 'shop', 'S', 'UTC')")
    old.execute(
        "INSERT INTO sources (id, project_id, slug, schema_mode) VALUES (3, 7, 'web', 'warn')"
    )
    old.execute("INSERT INTO write_keys (key, source_id) VALUES ('hw_old', 3)")
    old.execute(
        "INSERT INTO write_keys (key, source_id, revoked_at) VALUES ('hw_gone', 3, '2026-01-01')"
    )
    old.commit()
    old.close()
    store = Catalog(url)
    store.migrate()
    assert store.keys() == {
        "hw_old": KeyOwner("shop", "web", SourcePolicy(schema_mode="warn", ip="none"))
    }
    policies.suppress(store, "shop", ["u1"])
    policies.set_key(store, "hw_old", daily_quota=5)
    move(url, "downgrade", "0002")
    back = sqlite3.connect(file)
    assert back.execute("SELECT id, slug, time_zone FROM projects").fetchall() == [
        (7, "shop", "UTC")
    ]
    assert back.execute("SELECT key, source_id FROM write_keys ORDER BY key").fetchall() == [
        ("hw_gone", 3),
        ("hw_old", 3),
    ]
    back.close()
    store.migrate()
    assert store.keys()["hw_old"].policy.daily_quota is None


def test_a_new_project_stores_no_address_heeds_the_signals_and_flags_bots(store):
    key = store.add_key("shop", "web")
    assert store.keys()[key].policy == DEFAULT_POLICY
    assert SourcePolicy("off", "none", True, "flag", None, None, 1_000) == DEFAULT_POLICY


def test_what_is_set_reaches_every_key_of_the_project_and_no_other(store):
    web, app, blog = (store.add_key(*w) for w in [("shop", "web"), ("shop", "app"), ("blog", "w")])
    policies.set_project(store, "shop", ip="truncated", bots="drop")
    policies.set_project(store, "shop", respect_dnt=False)
    policies.set_key(store, web, rate_limit_per_s=10, daily_quota=1_000)
    policies.set_key(store, web, daily_quota=None, max_properties=7)
    found = store.keys()
    assert found[web].policy == SourcePolicy(
        "off", "truncated", False, "drop", rate_limit_per_s=10, max_properties=7
    )
    assert found[app].policy == SourcePolicy("off", "truncated", False, "drop")
    assert found[blog].policy == DEFAULT_POLICY


def test_a_revoked_key_is_out_of_force_and_stays_so(store):
    key = store.add_key("shop", "web")
    policies.revoke_key(store, key)
    policies.revoke_key(store, key)
    assert store.keys() == {}


def test_what_is_not_there_is_named_but_never_a_whole_key(store):
    for call in (
        lambda: policies.set_project(store, "gone", ip="full"),
        lambda: policies.suppress(store, "gone", ["u1"]),
        lambda: policies.count_suppressed(store, "gone"),
    ):
        with pytest.raises(CatalogError, match="project 'gone' is not in the catalogue"):
            call()
    with pytest.raises(CatalogError) as caught:
        policies.revoke_key(store, "hw_abcdefghijkl")
    assert "hw_abc…" in str(caught.value)
    assert "defgh" not in str(caught.value)
    with pytest.raises(CatalogError, match="daily_quota 0 is below 1"):
        policies.set_key(store, store.add_key("shop", "web"), daily_quota=0)


def test_the_list_holds_digests_of_project_and_id_and_nothing_else(store, tmp_path):
    assert policies.suppress(store, "shop", ["ann@example.com", "ann@example.com", "u2"]) == 2
    assert policies.suppress(store, "shop", ["u2", "u3"]) == 1
    policies.suppress(store, "blog", ["u2"])
    wanted = {
        hashlib.sha256(f"shop\0{i}".encode()).digest() for i in ("ann@example.com", "u2", "u3")
    }
    found = policies.suppressed(store).by_project
    assert found["shop"] == wanted
    assert len(found["blog"]) == 1
    assert found["blog"].isdisjoint(wanted)  # so that projects cannot be matched up
    assert b"ann@example.com" not in (tmp_path / "catalog.db").read_bytes()
    assert policies.is_suppressed(store, "shop", "u3")
    assert not policies.is_suppressed(store, "blog", "u3")


def test_the_list_is_read_anew_only_when_it_has_changed(store):
    empty = policies.suppressed(store)
    assert empty.by_project == {}
    assert policies.suppressed(store, empty) is empty
    policies.suppress(store, "shop", ["u1"])
    one = policies.suppressed(store, empty)
    assert len(one.by_project["shop"]) == 1
    # One goes and one comes: as many as before, but not the same.
    assert policies.unsuppress(store, "shop", ["u1", "never"]) == 1
    policies.suppress(store, "shop", ["u2"])
    other = policies.suppressed(store, one)
    assert other is not one
    assert other.by_project["shop"].isdisjoint(one.by_project["shop"])


@pytest.fixture
def run(store):
    group = click.Group("catalog")
    cli_policy.register(group)

    def call(*words: str) -> str:
        done = CliRunner().invoke(group, words, obj=store)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.output

    return call


def test_commands(run, store):
    key = store.add_key("shop", "web")
    run("set-project", "shop", "--ip=full", "--no-respect-dnt", "--bots=keep")
    run("set-key", key, "--rate-limit=50", "--daily-quota=10000", "--max-properties=20")
    policy = SourcePolicy("off", "full", False, "keep", 50, 10_000, 20)
    assert store.keys()[key].policy == policy
    run("set-key", key, "--rate-limit=0", "--max-properties=0")
    run("set-project", "shop", "--respect-dnt")
    assert store.keys()[key].policy == SourcePolicy("off", "full", True, "keep", None, 10_000)
    assert run("suppress", "shop", "u1", "u2") == "2 suppressed, 0 were already\n"
    assert run("suppress", "shop", "u2", "u3") == "1 suppressed, 1 were already\n"
    assert run("suppressed", "shop") == "3\n"
    assert run("unsuppress", "shop", "u1", "u9") == "1 stored again, 1 were not suppressed\n"
    assert run("suppressed", "shop", "u1", "u2") == "u1  not suppressed\nu2  suppressed\n"
    run("revoke-key", key)
    assert store.keys() == {}


@pytest.mark.parametrize(
    "words",
    [
        ["set-project", "shop", "--ip=some"],
        ["set-project", "shop", "--bots=shoot"],
        ["set-key", "hw_x", "--rate-limit=-1"],
        ["set-key", "hw_x", "--daily-quota=many"],
        ["suppress", "shop"],
    ],
)
def test_a_word_that_means_nothing_is_refused_with_those_that_do(run, words):
    assert "Usage" in run(*words)
