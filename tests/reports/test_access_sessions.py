"""Sessions: when they end, with what else, and what they are behind https."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalog.models import User
from catalog.sessions import id_of
from catalog.store import CatalogError
from tests.reports.access_world import (
    PASSWORD,
    Place,
    bearer,
    cookie,
    email,
    place,
    sign_in,
    value,
)

EVIL = "https://evil.example"


@pytest.fixture
def here(tmp_path: Path) -> Place:
    return place(tmp_path)


# -- Sessions and people who go.


def test_a_session_ends_when_it_is_idle_and_in_any_case(tmp_path: Path) -> None:
    here = place(tmp_path, session_idle_h=2, session_max_h=5)
    browser = here.browser("vic")
    for _ in range(4):
        here.clock.forward(3600 * 1.2)
        assert browser.get("/account").status_code == 200  # 4.8 h in all
    here.clock.forward(3600 * 0.3)
    assert browser.get("/account").status_code == 302
    idle = here.browser("vic")
    here.clock.forward(3600 * 2)
    assert idle.get("/account").status_code == 302


def test_who_is_disabled_or_removed_is_out_at_once(here: Place) -> None:
    users = here.access.users
    ends: list[tuple[str, Callable[[], None]]] = [
        ("lyn", lambda: users.set_disabled(email("lyn"), True)),
        ("adi", lambda: users.remove(email("adi"))),
        ("vic", lambda: users.set_role(email("vic"), "demo", None)),
    ]
    for name, end in ends:
        browser, secret = here.browser(name), here.token(name, "read")
        path, headers = "/p/demo/api/live", bearer(secret)
        assert browser.get(path).status_code == 200
        assert here.nobody().get(path, headers=headers).status_code == 200
        end()
        assert browser.get(path).status_code == (404 if name == "vic" else 401)
        assert here.nobody().get(path, headers=headers).status_code == 401
    users.set_disabled(email("lyn"), False)  # comes back, but not what was open then
    assert sign_in(here.nobody(), "lyn").status_code == 303


def test_a_session_that_was_left_over_lets_nobody_disabled_in(here: Place) -> None:
    browser, secret = here.browser("lyn"), here.token("lyn", "read")
    with here.catalog.session() as session, session.begin():  # as if it had not been ended
        lyn = session.query(User).filter_by(email=email("lyn")).one()
        lyn.disabled_at = here.access.clock()
    assert browser.get("/p/demo/api/live").status_code == 401
    answer = here.nobody().get("/p/demo/api/live", headers=bearer(secret))
    assert answer.status_code == 401


def test_who_is_disabled_cannot_come_in_by_any_door(here: Place) -> None:
    link = here.access.users.make_link(email("lyn"))
    here.access.users.set_disabled(email("lyn"), True)
    assert sign_in(here.nobody(), "lyn").status_code == 401
    wish = {"token": link, "password": "a new and longer phrase"}
    assert here.nobody().post("/api/set-password", json=wish).status_code == 400
    with pytest.raises(CatalogError, match="disabled"):
        here.access.users.with_oidc("https://idp.example", "lyn", email("lyn"))


def test_a_new_password_signs_the_others_out(here: Place) -> None:
    mine, other = here.browser("vic"), here.browser("vic")
    wish = {"old": PASSWORD, "new": "a new and longer phrase"}
    answer = mine.post("/api/account/password", wish)
    assert answer.status_code == 200
    assert other.get("/account").status_code == 302
    assert value(answer) != mine.secret
    assert mine.get("/account").status_code == 200  # the client took the new cookie
    assert sign_in(here.nobody(), "vic").status_code == 401
    assert sign_in(here.nobody(), "vic", "a new and longer phrase").status_code == 303


def test_sign_out_everywhere_and_of_one(here: Place) -> None:
    one, two, three = (here.browser("vic") for _ in range(3))
    eve = here.browser("eve")
    path = "/api/account/sessions/"
    assert eve.send("DELETE", path + id_of(one.secret)).status_code == 404
    assert two.send("DELETE", path + id_of(one.secret)).status_code == 200
    assert [b.get("/account").status_code for b in (one, two, three)] == [302, 200, 200]
    assert two.post("/api/account/sign-out-everywhere").get_json() == {"ended": 2, "next": "/login"}
    assert [b.get("/account").status_code for b in (two, three, eve)] == [302, 302, 200]


def test_a_link_sets_a_password_once_within_three_days(here: Place) -> None:
    users, client = here.access.users, here.nobody()
    wish = {"token": users.make_link(email("vic")), "password": "short"}
    assert "12 to 1,024 characters" in client.post("/api/set-password", json=wish).text
    wish["password"] = "a new and longer phrase"
    session = here.browser("vic")
    answer = client.post("/api/set-password", json=wish)
    assert answer.get_json() == {"next": "/"}
    assert client.get("/account").status_code == 200
    assert session.get("/account").status_code == 302
    assert client.post("/api/set-password", json=wish).status_code == 400
    older, newer = users.make_link(email("vic")), users.make_link(email("vic"))
    assert here.nobody().post("/api/set-password", json=wish | {"token": older}).status_code == 400
    here.clock.forward(72 * 3600)
    assert here.nobody().post("/api/set-password", json=wish | {"token": newer}).status_code == 400


# -- Behind https.


def test_behind_https_the_cookie_stays_there(tmp_path: Path) -> None:
    here = place(tmp_path, public_url="https://stats.example.org")
    there: dict[str, Any] = {
        "base_url": "http://stats.example.org",
        "headers": {"Origin": "https://stats.example.org"},
    }
    client = here.nobody()
    answer = sign_in(client, "vic", **there)
    set_to = cookie(answer, "__Host-headwater_session")
    assert "; Secure" in set_to
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    secret = value(answer, "__Host-headwater_session")
    for name, status in (("headwater_session", 302), ("__Host-headwater_session", 200)):
        other = here.app.test_client(use_cookies=False)
        headers = {"Cookie": f"{name}={secret}", "Host": "stats.example.org"}
        assert other.get("/account", headers=headers).status_code == status
    foreign: dict[str, Any] = {"base_url": "http://stats.example.org", "headers": {"Origin": EVIL}}
    assert sign_in(here.nobody(), "vic", **foreign).status_code == 403


def test_a_scheme_that_a_client_claims_is_not_believed(here: Place) -> None:
    answer = sign_in(here.nobody(), "vic", headers={"X-Forwarded-Proto": "https"})
    assert "Secure" not in cookie(answer)
    assert "Strict-Transport-Security" not in answer.headers
