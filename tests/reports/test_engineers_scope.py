"""Errors, vitals and quality of a cohort: as of an archive that holds nobody else's events."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient

from tests.reports import world
from tests.reports.test_insight_errors import ROWS as ERRORS
from tests.reports.test_insight_errors import WEEK
from tests.reports.test_insight_vitals import ROWS as VITALS

ROWS = [
    {**row, "event_id": f"{kind}-{row['event_id']}", "user_id": f"u{n % 3}"}
    for kind, rows in (("x", ERRORS), ("z", VITALS))
    for n, row in enumerate(rows)
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    directory = tmp_path_factory.mktemp("scope")
    world.archive(directory, ROWS)
    made = world.app(directory).test_client()
    kept = made.post("/p/demo/api/cohorts/lists", json={"ids": ["u1"]}).get_json()["list"]
    rule = {"name": "A & B", "definition": {"rule": {"is": "upload", "list": kept}}}
    assert made.post("/p/demo/api/cohorts", json=rule).status_code == 201
    return made


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    """Where only their events are."""
    directory = tmp_path_factory.mktemp("alone")
    world.archive(directory, [row for row in ROWS if row["user_id"] == "u1"])
    return world.app(directory).test_client()


def tables(client: FlaskClient, path: str) -> list[str]:
    """What the tables of a page say."""
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return [
        " ".join(re.sub(r"<[^>]*>", " ", found).split())
        for found in re.findall(r"<tbody>.*?</tbody>", answer.text, re.DOTALL)
    ]


@pytest.mark.parametrize(
    "page", ["errors", "errors/vitals", "quality", "quality?type=track&event=Error"]
)
def test_a_page_of_a_cohort(client: FlaskClient, alone: FlaskClient, page: str) -> None:
    path = f"/p/demo/{page}{'&' if '?' in page else '?'}dates={WEEK['dates']}"
    theirs = tables(client, f"{path}&cohort=A+%26+B")
    assert theirs == tables(alone, path) != tables(client, path)
    assert theirs[0]


def test_a_group_of_a_cohort_by_its_link(client: FlaskClient, alone: FlaskClient) -> None:
    page = client.get(f"/p/demo/errors?dates={WEEK['dates']}&cohort=A+%26+B").text
    assert "<option selected>A &amp; B</option>" in page
    link = re.findall(r'href="(/p/demo/errors/\w+\?[^"]*)"', page)[0].replace("&amp;", "&")
    assert "cohort=A+%26+B" in link
    assert tables(client, link) == tables(alone, link.replace("&cohort=A+%26+B", ""))


def test_a_cohort_that_is_none_is_refused_and_without_any_there_is_no_choice(
    client: FlaskClient, alone: FlaskClient
) -> None:
    answer = client.get("/p/demo/errors?cohort=Nope")
    assert answer.status_code == 400
    assert "there is none of that name in demo" in answer.text.replace("&#39;", "'")
    assert 'name="cohort"' not in alone.get("/p/demo/errors").text
