"""Metrics of one's own in the catalogue, and as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from catalog.__main__ import main
from catalog.metrics import MOST, MetricStore
from catalog.store import Catalog, CatalogError


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADWATER_DATA_DIR", str(tmp_path / "data"))

    def invoke(*words: str) -> Result:
        return CliRunner().invoke(main, words)

    assert invoke("add-project", "shop").exit_code == 0
    return invoke


def test_defined_in_toml_listed_replaced_and_removed(call, tmp_path: Path) -> None:
    file = tmp_path / "m.toml"
    file.write_text('name = "trials"\nstatistic = "count"\nevent = "Trial"\n')
    assert "trials" in call("metric", "put", "shop", str(file)).stdout
    file.write_text('name = "trials"\nstatistic = "count"\nevent = "Trial Started"\n')
    assert call("metric", "put", "shop", str(file)).exit_code == 0
    (line,) = call("metric", "list", "shop").stdout.splitlines()
    assert json.loads(line)["event"] == "Trial Started"
    assert call("metric", "remove", "shop", "trials").exit_code == 0
    assert call("metric", "list", "shop").stdout == ""


@pytest.mark.parametrize("text", ["", "[]", "{", '{"name":"x","statistic":"mean"}'])
def test_a_bad_file_is_refused(call, tmp_path: Path, text: str) -> None:
    file = tmp_path / "m.json"
    file.write_text(text)
    assert isinstance(call("metric", "put", "shop", str(file)).exception, CatalogError)


def test_limits_and_unknown_names(tmp_path: Path) -> None:
    catalog = Catalog(f"sqlite:///{tmp_path}/c.db")
    catalog.migrate()
    catalog.add_project("shop")
    store = MetricStore(catalog)
    for n in range(MOST):
        store.put("shop", json.dumps({"name": f"m{n}", "statistic": "count"}))
    store.put("shop", json.dumps({"name": "m0", "statistic": "count", "event": "E"}))
    with pytest.raises(CatalogError, match="the most"):
        store.put("shop", json.dumps({"name": "more", "statistic": "count"}))
    with pytest.raises(CatalogError, match="no project 'blog'"):
        store.put("blog", json.dumps({"name": "m", "statistic": "count"}))
    with pytest.raises(CatalogError, match="no metric 'gone'"):
        store.remove("shop", "gone")
    assert len(store.all()["shop"]) == MOST
