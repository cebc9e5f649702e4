"""People of a funnel kept as a cohort: who is on the list, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.reports import access_world, world
from tests.streams import NOON, event

STEPS = [{"name": "view"}, {"name": "cart"}, {"name": "buy"}]
ROOT = "/p/demo/api/cohorts"
# Who did what, in this order.
DID = {"u1": "view cart buy", "u2": "view cart", "u3": "view", "u4": "view", "u5": "cart buy"}


def rows() -> list[dict[str, Any]]:
    return [
        event(f"{who}-{n}", NOON + n * 1_000_000, name=name, user_id=who)
        for who, names in DID.items()
        for n, name in enumerate(names.split())
    ]


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    world.catalogue(tmp_path)
    world.archive(tmp_path, [*rows(), event("o", NOON, name="view", user_id="x", project="other")])
    return world.app(tmp_path).test_client()


def asked(**more: Any) -> dict[str, Any]:
    return {"steps": STEPS, "dates": "last_7_days", "step": 1, **more}


def keep(client: FlaskClient, name: str = "Gone", **more: Any) -> Any:
    return client.post(f"{ROOT}/funnel", json={"name": name, "question": asked(**more)})


@pytest.mark.parametrize(
    ("step", "outcome", "people"),
    [
        (1, "dropped", ["u3", "u4"]),
        (2, "dropped", ["u2"]),
        (1, "reached", ["u1", "u2", "u3", "u4"]),
        (3, "reached", ["u1"]),
    ],
)
def test_those_who_dropped_out_or_went_on(
    client: FlaskClient, step: int, outcome: str, people: list[str]
) -> None:
    made = keep(client, step=step, outcome=outcome)
    assert made.status_code == 201, made.get_json()
    assert made.get_json()["size"] == len(people)
    found = client.get(f"{ROOT}/{made.get_json()['id']}/people").get_json()
    assert (found["people"], found["size"]) == (people, len(people))


def test_all_of_them_whatever_page_was_looked_at(client: FlaskClient) -> None:
    assert keep(client, limit=1, after="u3").get_json()["size"] == 2


def test_questions_take_it_and_the_page_says_what_it_is(client: FlaskClient) -> None:
    made = keep(client, " Gone ").get_json()
    assert made["name"] == "Gone"
    question = {"series": [{"measure": "people"}], "dates": "last_7_days", "cohort": "Gone"}
    answer = client.post("/p/demo/api/insights/trend", json=question).get_json()
    assert answer["rows"][-1][2] == 2
    shown = client.get(f"{ROOT}/{made['id']}").get_json()
    assert shown["description"].startswith("Of a funnel from ")
    assert shown["description"].endswith(": who dropped out after step 1. view")
    assert shown["definition"]["rule"]["is"] == "upload"


def test_who_comes_later_is_not_on_it(client: FlaskClient, tmp_path: Path) -> None:
    made = keep(client).get_json()
    world.archive(tmp_path, [event("late", NOON, name="view", user_id="u9")])
    assert client.post(f"{ROOT}/{made['id']}/refresh").get_json()["size"] == 2


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({"name": "A", "question": asked(step=3)}, "nobody drops out after it"),
        ({"name": "A", "question": asked(step=4)}, "the funnel has 3 steps"),
        ({"name": "A", "question": asked(dates="2020-01-01..2020-01-02")}, "nobody dropped out"),
        ({"name": "A", "question": {"steps": STEPS}}, "step"),
        ({"name": "A", "question": asked(dates="soon")}, "dates='soon'"),
        ({"name": "A"}, '"question"'),
        ({"name": " ", "question": asked()}, '"name"'),
        ({"name": 3, "question": asked()}, '"name"'),
        ({"name": "x" * 201, "question": asked()}, "1 to 200 characters"),
        ([], '"name"'),
    ],
)
def test_what_cannot_be_kept_is_refused(client: FlaskClient, sent: Any, message: str) -> None:
    answer = client.post(f"{ROOT}/funnel", json=sent)
    assert answer.status_code == 400
    assert message in answer.get_json()["message"]
    assert client.get(ROOT).get_json()["cohorts"] == []


def test_a_step_may_have_a_very_long_name(client: FlaskClient) -> None:
    steps = [{"name": "view", "label": "x" * 5_000}, {"name": "cart"}]
    assert keep(client, steps=steps).status_code == 201


def test_a_name_is_taken_once(client: FlaskClient) -> None:
    keep(client)
    again = keep(client, step=2)
    assert (again.status_code, "another cohort" in again.get_json()["message"]) == (400, True)


def test_only_those_who_may_write_cohorts(tmp_path: Path) -> None:
    place = access_world.place(tmp_path / "data")
    world.archive(place.directory, rows())
    sent = {"name": "Gone", "question": asked()}
    assert place.browser("vic").post(f"{ROOT}/funnel", sent).status_code == 403
    assert place.browser("eve").post(f"{ROOT}/funnel", sent).status_code == 404
    assert place.nobody().post(f"{ROOT}/funnel", json=sent).status_code == 401
    assert place.browser("lyn").post(f"{ROOT}/funnel", sent).status_code == 201
    for who, is_there in (("vic", False), ("lyn", True)):
        page = place.browser(who).get("/p/demo/explore/funnel").get_data(as_text=True)
        assert ('id="keep-people"' in page, 'id="keeping"' in page) == (is_there, is_there)
    trend = place.browser("lyn").get("/p/demo/explore/trend").get_data(as_text=True)
    assert 'id="keep-people"' not in trend
