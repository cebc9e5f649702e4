"""Tokens and roles: nobody gets more than they were given, however they ask."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tests.reports.access_world import COOKIE, Place, bearer, email, place


@pytest.fixture
def here(tmp_path: Path) -> Place:
    return place(tmp_path)


# -- Tokens.


def test_a_token_works_in_its_header_only(here: Place) -> None:
    secret = here.token("lyn", "read")
    path = "/p/demo/api/live"
    assert here.nobody().get(path, headers=bearer(secret)).status_code == 200
    for query in (f"token={secret}", f"access_token={secret}", f"authorization=Bearer+{secret}"):
        assert here.nobody().get(f"{path}?{query}").status_code == 401
    basic = base64.b64encode(f"{secret}:".encode()).decode()
    for header in (secret, f"Basic {basic}", f"Token {secret}", f"bearer{secret}"):
        assert here.nobody().get(path, headers={"authorization": header}).status_code == 401
    client = here.nobody()
    client.set_cookie(COOKIE, secret)
    assert client.get(path).status_code == 401


def test_a_bad_token_does_not_fall_back_on_the_cookie(here: Place) -> None:
    browser = here.browser("lyn")
    good = here.token("lyn", "read")
    for secret in ("", "hw_t_", "hw_t_x", good[:-1], good + "x", good.upper(), "hw_" + "x" * 24):
        answer = browser.get("/p/demo/api/live", headers=bearer(secret))
        assert answer.status_code == 401, secret
    here.clock.forward(30 * 86_400)
    assert browser.get("/p/demo/api/live", headers=bearer(good)).status_code == 401


def test_a_token_makes_no_tokens_and_changes_no_password(here: Place) -> None:
    secret = here.token("root", "read", "sql", "export", "write", "admin")
    for method, path in (
        ("POST", "/api/account/tokens"),
        ("POST", "/api/account/password"),
        ("GET", "/account"),
        ("GET", "/people"),
        ("POST", "/api/people"),
        ("GET", "/audit"),
    ):
        answer = here.nobody().open(path, method=method, json={}, headers=bearer(secret))
        assert answer.status_code == 403, path


# -- Roles.


def test_an_admin_of_a_project_gets_no_further_than_it(here: Place) -> None:
    adi = here.browser("adi")
    roles = "/api/people"
    assert (
        adi.send("PUT", f"/p/other{roles}", {"email": email("adi"), "role": "admin"}).status_code
        == 404
    )
    assert adi.post(roles, {"email": "x@example.org", "is_admin": True}).status_code == 403
    root = here.access.users.get(email("root"))
    for method, path in (
        ("PUT", f"{roles}/{root.id}"),
        ("DELETE", f"{roles}/{root.id}"),
        ("POST", f"{roles}/{root.id}/link"),
    ):
        assert adi.send(method, path, {"disabled": True}).status_code == 403
    wish = {
        **{"email": email("adi"), "role": "admin", "is_admin": True, "project": "other"},
        **{"id": root.id, "user_id": root.id, "roles": {"other": "admin"}},
    }
    assert adi.send("PUT", f"/p/demo{roles}?project=other", wish).status_code == 200
    found = here.access.users.get(email("adi"))
    assert (found.is_admin, dict(found.roles)) == (False, {"demo": "admin"})
    for role in ("root", "public", "owner", "Admin", 3, ["admin"], {"role": "admin"}, True):
        wrong = {"email": email("vic"), "role": role}
        assert adi.send("PUT", f"/p/demo{roles}", wrong).status_code == 400
    assert here.access.users.get(email("vic")).roles == {"demo": "viewer"}


def test_an_admin_of_a_project_cannot_take_over_somebody_with_an_invitation(here: Place) -> None:
    adi = here.browser("adi")
    for name in ("root", "eve"):
        wish = {"email": email(name).upper(), "role": "viewer", "invite": True}
        answer = adi.send("PUT", "/p/demo/api/people", wish)
        assert answer.status_code == 200
        assert "link" not in answer.get_json()
    wish = {"email": "new@example.org", "role": "viewer", "invite": True}
    answer = adi.send("PUT", "/p/demo/api/people", wish)
    assert answer.status_code == 201
    assert "/set-password#" in answer.get_json()["link"]
    assert here.access.users.get("new@example.org").roles == {"demo": "viewer"}


def test_a_token_gives_roles_and_opens_no_account(here: Place) -> None:
    head = bearer(here.token("adi", "admin"))
    nobody = here.nobody()
    wish = {"email": "new@example.org", "role": "viewer", "invite": True}
    answer = nobody.put("/p/demo/api/people", json=wish, headers=head)
    assert answer.status_code == 403
    assert "A token cannot invite anybody" in answer.get_json()["message"]
    assert "new@example.org" not in [one.email for one in here.access.users.all()]
    for known in ({"invite": True}, {}):
        wish = {"email": email("eve"), "role": "viewer", **known}
        answer = nobody.put("/p/demo/api/people", json=wish, headers=head)
        assert answer.status_code == 200
        assert "link" not in answer.get_json()
    assert here.access.users.get(email("eve")).roles["demo"] == "viewer"


@pytest.mark.parametrize("name", ["vic", "lyn", "nob", "eve"])
def test_who_is_no_admin_changes_nobodys_role(here: Place, name: str) -> None:
    browser, expected = here.browser(name), 404 if name in {"nob", "eve"} else 403
    wish = {"email": email(name), "role": "admin"}
    assert browser.send("PUT", "/p/demo/api/people", wish).status_code == expected
    assert browser.get("/p/demo/people").status_code == expected
    assert browser.get("/people").status_code == 403
    assert here.access.users.get(email(name)).roles.get("demo") != "admin"


def test_the_last_admin_cannot_go(here: Place) -> None:
    root = here.browser("root")
    path = f"/api/people/{here.access.users.get(email('root')).id}"
    for method, body in (
        ("PUT", {"is_admin": False}),
        ("PUT", {"disabled": True}),
        ("DELETE", None),
    ):
        answer = root.send(method, path, body)
        assert answer.status_code == 400
        assert "last admin" in answer.get_json()["message"]
    assert root.get("/people").status_code == 200


def test_a_token_gets_no_more_than_its_maker_has(here: Place) -> None:
    vic = here.browser("vic")
    wish = {"name": "x", "project": "demo", "scopes": ["read"], "days": 30}
    for changed, text in (
        ({"project": "other"}, "is none of yours"),
        ({"project": "never"}, "is none of yours"),
        ({"scopes": ["read", "sql"]}, "needs the role analyst"),
        ({"scopes": ["admin"]}, "needs the role admin"),
        ({"scopes": ["everything"]}, "must be some of"),
        ({"scopes": []}, "must be some of"),
        ({"scopes": "read"}, "list of texts"),
        ({"days": 0}, "must be 1 to 365"),
        ({"days": 366}, "must be 1 to 365"),
        ({"days": "30"}, "whole number"),
        ({"days": True}, "whole number"),
        ({"name": " "}, "1 to 100 characters"),
        ({"name": None}, "must be a text"),
    ):
        answer = vic.post("/api/account/tokens", wish | changed)
        assert answer.status_code == 400, changed
        assert text in answer.get_json()["message"]
    assert here.access.tokens.all() == []
    eves = here.access.tokens.make(email("eve"), "other", "hers", ["read"], 1)[1]
    assert vic.send("DELETE", f"/api/account/tokens/{eves.id}").status_code == 404
    assert len(here.access.tokens.all()) == 1


def test_the_sql_box_of_another_project_is_not_there(here: Place) -> None:
    lyn = here.browser("lyn")
    assert lyn.post("/p/demo/api/sql", {"sql": "SELECT 1"}).status_code == 200
    for path in ("/p/other/api/sql", "/p/other/api/insights/trends", "/p/other/api/schemas"):
        answer = lyn.post(path, {"sql": "SELECT 1"})
        assert answer.status_code == 404
        assert "There is no project 'other'" in answer.get_json()["message"]
    assert here.browser("vic").post("/p/demo/api/sql", {"sql": "SELECT 1"}).status_code == 403
    page = lyn.get("/p/demo/daily").text
    assert "/p/other/" not in page  # not even by name


@pytest.mark.parametrize(
    "path",
    [
        *("/p/demo/../other/api/live", "//p/other/api/live", "/p/other//api/live"),
        *("/p/demo/%2e%2e/other/api/live", "/p/other%2fapi/live"),
    ],
)
def test_no_spelling_of_an_address_leads_around_the_guard(here: Place, path: str) -> None:
    answer = here.browser("lyn").get(path, follow_redirects=True)
    assert answer.status_code in {404, 421}  # `//p` may be read as a host
