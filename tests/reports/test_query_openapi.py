"""The description of the API: every route is in it, and it is what OpenAPI says it should be."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from openapi_spec_validator import OpenAPIV31SpecValidator

from reports.access.needs import needed, needs_browser
from reports.insights.kinds import KINDS
from tests.reports import world


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    return world.app(tmp_path_factory.mktemp("openapi")).test_client()


@pytest.fixture(scope="module")
def document(client: FlaskClient) -> Any:
    answer = client.get("/api/openapi.json")
    assert answer.status_code == 200
    return answer.get_json()


def test_every_route_of_the_api_is_in_it_with_its_methods_and_role(
    client: FlaskClient, document: Any
) -> None:
    app = client.application
    described = 0
    for rule in app.url_map.iter_rules():
        if not re.search(r"/api(/|$)", rule.rule):
            continue
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            operation = document["paths"][path][method.lower()]
            view = app.view_functions[rule.endpoint]
            assert operation["x-role"] == needed(view)
            by_token = operation.get("security", document["security"]) == [{"token": []}]
            assert by_token == (needed(view) != "public" and not needs_browser(view))
            said = " ".join((view.__doc__ or "").split())
            assert said.startswith(operation["summary"]), rule.rule
            names = [one["name"] for one in operation["parameters"]]
            assert sorted(names) == sorted(rule.arguments)
            described += 1
    assert described >= 15


def test_it_is_openapi(document: Any) -> None:
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_bodies_are_described(document: Any) -> None:
    body = document["paths"]["/p/{project}/api/sql"]["post"]["requestBody"]
    name = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert document["components"]["schemas"][name]["required"] == ["sql"]


def test_every_kind_of_question_has_a_path_and_a_schema_of_its_own(document: Any) -> None:
    for name, kind in KINDS.items():
        operation = document["paths"][f"/p/{{project}}/api/insights/{name}"]["post"]
        assert operation["summary"] == kind.title
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        assert schema["$ref"].rpartition("/")[2] in document["components"]["schemas"]
        assert [one["name"] for one in operation["parameters"]] == ["project"]


def test_the_page_lists_every_call(client: FlaskClient, document: Any) -> None:
    text = client.get("/api").text
    for path, methods in document["paths"].items():
        for method in methods:
            assert f"{method.upper()} {path}" in text


def test_an_unknown_method_is_json(tmp_path: Path) -> None:
    answer = world.app(tmp_path).test_client().delete("/api/openapi.json")
    assert answer.status_code == 405
    assert answer.get_json()["message"]
