"""The catalogue on its real database."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text, update
from sqlalchemy.orm import Session

from catalog.models import Base, WriteKey
from catalog.store import Catalog, CatalogError, KeyOwner


@pytest.fixture
def url(tmp_path) -> str:
    return f"sqlite:///{tmp_path}/deep/catalog.db"


@pytest.fixture
def catalog(url) -> Catalog:
    made = Catalog(url)
    made.migrate()
    return made


def test_migrations_from_nothing_make_what_the_models_say(catalog, url):
    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_the_comparison_finds_a_difference(catalog, url):
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE projects ADD COLUMN extra TEXT"))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata)
    engine.dispose()


def test_migrating_again_keeps_what_is_there(catalog, url):
    catalog.add_project("shop")
    catalog.migrate()
    other = Catalog(url)
    other.migrate()
    assert other.time_zones() == {"shop": "UTC"}


TOGETHER = """
import sys, time
from catalog.store import Catalog
catalog = Catalog(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
catalog.migrate()
"""


def test_processes_that_start_together_migrate_once(url):
    command = [sys.executable, "-c", TOGETHER, url]
    pipe = subprocess.PIPE
    started = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(4)
    ]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate()[1] for process in started]
    assert [process.returncode for process in started] == [0] * 4, errors
    assert Catalog(url).time_zones() == {}


def test_a_migration_that_fails_leaves_nothing_half_done(url, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as broken:
        broken.setattr("alembic.runtime.migration.HeadMaintainer.update_to_step", fail)
        with pytest.raises(RuntimeError, match="power cut"):
            Catalog(url).migrate()
    again = Catalog(url)
    again.migrate()
    assert again.time_zones() == {}


def test_keys_belong_to_their_source_and_project(catalog):
    catalog.add_project("shop", name="The shop", time_zone="Europe/London")
    catalog.add_project("blog")
    web, app, blog = (
        catalog.add_key(*where) for where in [("shop", "web"), ("shop", "app"), ("blog", "web")]
    )
    assert catalog.keys() == {
        web: KeyOwner("shop", "web"),
        app: KeyOwner("shop", "app"),
        blog: KeyOwner("blog", "web"),
    }
    assert list(catalog.time_zones().items()) == [("shop", "Europe/London"), ("blog", "UTC")]


def test_a_source_can_have_many_keys_and_each_is_another(catalog):
    catalog.add_project("shop")
    made = {catalog.add_key("shop", "web") for _ in range(20)}
    assert len(made) == 20
    assert set(catalog.keys()) == made
    assert all(key.startswith("hw_") and len(key) == 27 for key in made)


def test_a_revoked_key_is_out_of_force(catalog, url):
    catalog.add_project("shop")
    kept, revoked = catalog.add_key("shop", "web"), catalog.add_key("shop", "web")
    engine = create_engine(url)
    with Session(engine) as session, session.begin():
        at = datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)
        session.execute(update(WriteKey).where(WriteKey.key == revoked).values(revoked_at=at))
    engine.dispose()
    assert set(catalog.keys()) == {kept}


def test_a_source_is_made_once(catalog):
    catalog.add_project("shop")
    catalog.ensure_source("shop", "import")
    catalog.ensure_source("shop", "import")
    key = catalog.add_key("shop", "import")
    assert catalog.keys() == {key: KeyOwner("shop", "import")}


@pytest.mark.parametrize(
    "slug",
    ["", "-shop", "Shop", "shöp", "a b", "a/b", "../x", "a" * 64, "shop\n", "'; drop table"],
)
def test_a_bad_slug_is_named_with_what_is_wanted(catalog, slug):
    with pytest.raises(CatalogError) as caught:
        catalog.add_project(slug)
    assert repr(slug) in str(caught.value)
    assert "a-z, 0-9" in str(caught.value)
    catalog.add_project("good")
    with pytest.raises(CatalogError):
        catalog.add_key("good", slug)
    assert catalog.keys() == {}


@pytest.mark.parametrize("slug", ["a", "0", "a-b_c", "a" * 63])
def test_good_slugs(catalog, slug):
    catalog.add_project(slug)
    assert slug in catalog.time_zones()


def test_a_taken_project_an_unknown_one_and_an_unknown_zone(catalog):
    catalog.add_project("shop")
    with pytest.raises(CatalogError, match="project 'shop' is there already"):
        catalog.add_project("shop")
    with pytest.raises(CatalogError, match="make it: python -m catalog add-project gone"):
        catalog.add_key("gone", "web")
    with pytest.raises(CatalogError, match="'London' is unknown; use an IANA name"):
        catalog.add_project("other", time_zone="London")
    assert list(catalog.time_zones()) == ["shop"]
