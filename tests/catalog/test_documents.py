"""Saved documents: each by its name and id, of its own project only."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalog import documents
from catalog.documents import Documents
from catalog.store import Catalog, CatalogError


@pytest.fixture
def shelf(tmp_path: Path) -> Documents:
    catalog = Catalog(f"sqlite:///{tmp_path}/catalog.db")
    catalog.migrate()
    for project in ("demo", "other"):
        catalog.add_project(project)
    return Documents(catalog)


def test_what_is_saved_is_found_by_name_and_id_and_replaced_under_both(shelf: Documents) -> None:
    made = shelf.put("demo", "query", " Mine ", {"sql": "SELECT 1"}, author="ann")
    assert (made.name, made.body, made.author) == ("Mine", {"sql": "SELECT 1"}, "ann")
    again = shelf.put("demo", "query", "Mine", {"sql": "SELECT 2"}, author="bob")
    assert (again.id, again.author, again.created_at) == (made.id, "ann", made.created_at)
    renamed = shelf.put("demo", "query", "Ours", [1, None, "ü"], known=made.id)
    assert shelf.all("demo", "query") == [renamed]
    assert shelf.named("demo", "query", "Mine") is None
    assert shelf.named("demo", "query", "Ours") == renamed == shelf.get("demo", "query", made.id)


def test_a_kind_and_a_project_see_only_their_own(shelf: Documents) -> None:
    mine = shelf.put("demo", "query", "a", 1)
    shelf.put("demo", "cohort", "a", 2)
    theirs = shelf.put("other", "query", "a", 3)
    assert [d.body for d in shelf.all("demo", "query")] == [1]
    assert sorted(d.body for d in shelf.every("query")) == [1, 3]
    assert sorted(d.body for d in shelf.named_anywhere("query", "a")) == [1, 3]
    assert shelf.named_anywhere("query", "b") == []
    assert shelf.get("demo", "query", theirs.id) is None
    for project, kind, known in (("other", "query", mine.id), ("demo", "cohort", mine.id)):
        with pytest.raises(CatalogError, match="no "):
            shelf.remove(project, kind, known)
        with pytest.raises(CatalogError, match="no "):
            shelf.put(project, kind, "b", 4, known=mine.id)
    shelf.remove("demo", "query", mine.id)
    assert shelf.all("demo", "query") == []


def test_what_cannot_be_saved_is_refused_by_name(
    shelf: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = shelf.put("demo", "query", "one", 1)
    shelf.put("demo", "query", "two", 2)
    with pytest.raises(CatalogError, match="another query named 'two'"):
        shelf.put("demo", "query", "two", 3, known=one.id)
    for name in ("", "  ", "x" * 201):
        with pytest.raises(CatalogError, match="1 to 200 characters"):
            shelf.put("demo", "query", name, 1)
    with pytest.raises(CatalogError, match="no project 'none'"):
        shelf.put("none", "query", "a", 1)
    with pytest.raises(CatalogError, match="larger than 1 MB"):
        shelf.put("demo", "query", "big", "x" * documents.MOST_BYTES)
    monkeypatch.setattr(documents, "MOST", 2)
    with pytest.raises(CatalogError, match="remove some first"):
        shelf.put("demo", "query", "three", 3)
    shelf.put("demo", "query", "two", 4)  # replacing needs no room
