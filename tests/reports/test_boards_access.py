"""Who may do what with dashboards: by role, with a link, and for programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from catalog.documents import Documents
from reports.boards.shares import KIND, Shares
from tests.reports import access_world, world
from tests.reports.access_world import Place
from tests.streams import NOON, event

BOARD = {"title": "Ours", "panels": [{"title": "P", "kind": "trend", "question": {}}]}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return access_world.place(tmp_path / "data")


def test_a_viewer_looks_and_an_analyst_makes(place: Place) -> None:
    viewer, analyst = place.browser("vic"), place.browser("lyn")
    assert viewer.post("/p/demo/api/boards", BOARD).status_code == 403
    made = analyst.post("/p/demo/api/boards", BOARD)
    assert made.status_code == 201
    board = made.get_json()["id"]
    address = f"/p/demo/api/boards/{board}"
    assert viewer.get(f"/p/demo/boards/{board}").status_code == 200
    assert viewer.get(f"{address}/panels/0").status_code == 200
    for method, path in (
        ("PUT", ""), ("DELETE", ""), ("POST", "/panels"), ("POST", "/shares"), ("GET", "/shares"),
    ):  # fmt: skip
        assert viewer.send(method, f"{address}{path}", BOARD).status_code == 403, path
    assert viewer.post("/p/demo/api/boards/preview", {"sql": "SELECT 1"}).status_code == 403


FUNNEL = {"steps": [{"name": "view"}, {"name": "Order Completed"}], "step": 1}


@pytest.mark.parametrize(
    ("kind", "question"),
    [("funnel_people", FUNNEL), ("trend", {"breakdown": "user_id"}),
     ("funnel", {"steps": FUNNEL["steps"], "breakdown": "anonymous_id"}),
     ("revenue", {"split": "property", "split_property": "user_id"})],
)  # fmt: skip
def test_ids_of_people_are_for_analysts(place: Place, kind: str, question: dict[str, Any]) -> None:
    viewer, analyst, stranger = place.browser("vic"), place.browser("lyn"), place.nobody()
    board = {"title": "Who", "panels": [{"title": "P", "kind": kind, "question": question}]}
    board_id = analyst.post("/p/demo/api/boards", board).get_json()["id"]
    link = analyst.post(f"/p/demo/api/boards/{board_id}/shares", {}).get_json()["path"]
    asked, panel = f"/p/demo/api/insights/{kind}", f"/p/demo/api/boards/{board_id}/panels/0"
    # The analyst first: the answer is remembered then.
    assert analyst.post(asked, question).status_code == 200
    assert analyst.get(panel).status_code == 200
    assert viewer.post(asked, question).status_code == 403
    assert "shown to analysts of demo only" in viewer.get(panel).get_json()["message"]
    for whoever in (stranger, viewer, analyst):  # a link shows the same to all
        refused = whoever.get(f"{link}/panels/0")
        assert (refused.status_code, refused.get_json()) == (
            400, {"message": "This panel lists people, whom a link does not show."},
        )  # fmt: skip


def test_suggestions_and_errors_name_people_to_analysts_alone(place: Place) -> None:
    failed = event("broken", NOON, name="Error", properties='{"message": "no"}')
    world.archive(place.directory, [failed])
    seen = {}
    for who in ("vic", "lyn"):
        browser = place.browser(who)
        ids = browser.get("/p/demo/api/vocabulary/values?property=user_id")
        found = browser.post("/p/demo/api/insights/errors", {"dates": "last_30_days"}).get_json()
        ((group, *_),) = found["rows"]
        shown = browser.get(f"/p/demo/api/errors/{group}?dates=last_30_days").get_json()
        seen[who] = (ids.status_code, [one["person"] for one in shown["newest"]])
    assert seen == {"vic": (403, [None]), "lyn": (200, ["u1"])}


def test_a_link_needs_no_signing_in_and_opens_nothing_else(place: Place) -> None:
    analyst, stranger = place.browser("lyn"), place.nobody()
    board = analyst.post("/p/demo/api/boards", BOARD).get_json()["id"]
    share = analyst.post(f"/p/demo/api/boards/{board}/shares", {"days": 7}).get_json()
    assert stranger.get(share["path"]).status_code == 200
    assert stranger.get(f"{share['path']}/panels/0").status_code == 200
    assert stranger.get("/charts/themes.json").status_code == 200
    assert stranger.get(f"/p/demo/boards/{board}").status_code == 302
    for path in (f"boards/{board}", f"boards/{board}/panels/0", "vocabulary", "live/events"):
        assert stranger.get(f"/p/demo/api/{path}").status_code == 401, path


def test_another_projects_people_see_none_of_it(place: Place) -> None:
    board = place.browser("lyn").post("/p/demo/api/boards", BOARD).get_json()["id"]
    eve = place.browser("eve")
    for path in (f"boards/{board}", "boards", "explore/trend"):
        assert eve.get(f"/p/demo/{path}").status_code == 404
    for path in (f"boards/{board}", "vocabulary", "live/events", "live/tiles", "charts/trend.svg"):
        assert eve.get(f"/p/demo/api/{path}").status_code == 404, path
    assert eve.get(f"/p/other/api/boards/{board}").status_code == 404


def test_the_author_is_kept_and_the_menu_shows_what_one_may_see(place: Place) -> None:
    analyst = place.browser("lyn")
    board = analyst.post("/p/demo/api/boards", BOARD).get_json()["id"]
    found = place.app.extensions["boards"].documents.get("demo", "dashboard", board)
    assert found.author == place.access.users.get(access_world.email("lyn")).name
    for name, is_there in (("vic", False), ("lyn", True)):  # buttons that would be refused
        page = place.browser(name).get(f"/p/demo/boards/{board}").text
        assert ('id="share"' in page, 'id="edit"' in page) == (is_there, is_there)
        assert ('id="new"' in place.browser(name).get("/p/demo/boards").text) is is_there
        assert ('id="save"' in place.browser(name).get("/p/demo/explore/trend").text) is is_there
    menus = {name: place.browser(name).get("/p/demo/boards").text for name in ("vic", "adi")}
    assert 'href="/p/demo/sql"' not in menus["vic"]
    assert 'href="/p/demo/sql"' in menus["adi"]
    assert 'href="/p/demo/explore"' in menus["vic"]


def test_a_link_is_looked_up_alone_and_those_that_are_over_go(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = Documents(place.catalog)
    links = Shares(documents)
    over, share = links.make("demo", "b", days=1, author="a")
    body = {"board": "b", "expires_at": "2020-01-01T00:00:00+00:00"}
    name = documents.all("demo", KIND)[0].name
    documents.put("demo", KIND, name, body, known=share.id)
    kept, _ = links.make("demo", "b", days=None, author="a")
    theirs, _ = links.make("other", "b", days=7, author="a")
    assert len(documents.every(KIND)) == 2
    monkeypatch.setattr(Documents, "every", lambda *_: pytest.fail("all links were read"))
    assert links.opened(over) is None
    assert [one and one.project for one in map(links.opened, (kept, theirs))] == ["demo", "other"]
    assert links.opened("unknown") is None
