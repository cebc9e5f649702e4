"""Attacks on signing in, on the cookie, and from other sites' pages, on the real app."""

from __future__ import annotations

import base64
import threading
from pathlib import Path
from typing import Literal

import pytest
from argon2 import Parameters, PasswordHasher, extract_parameters

from catalog import attempts, passwords
from reports.access.guard import csrf_of
from tests.reports import world
from tests.reports.access_world import (
    COOKIE,
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


# -- Signing in.


def test_signing_in_and_out(here: Place) -> None:
    client = here.nobody()
    answer = sign_in(client, "vic", then="/p/demo/daily?first=2026-01-01")
    assert (answer.status_code, answer.headers["Location"]) == (
        303,
        "/p/demo/daily?first=2026-01-01",
    )
    set_to = cookie(answer)
    assert "; HttpOnly" in set_to
    assert "; SameSite=Lax" in set_to
    assert "; Path=/" in set_to
    assert "Domain" not in set_to
    page = client.get("/p/demo/daily")
    secret = value(answer)
    assert f'<meta name="csrf" content="{csrf_of(secret)}">' in page.text
    assert secret not in page.text
    assert page.headers["Cache-Control"] == "no-store"
    assert "Cookie" in page.headers["Vary"]
    out = client.post("/logout", data={"csrf": csrf_of(secret)})
    assert (out.status_code, out.headers["Location"]) == (303, "/login")
    client.set_cookie(COOKIE, secret)  # what somebody kept
    assert client.get("/p/demo/daily").status_code == 302


def test_the_address_is_read_as_people_write_it(here: Place) -> None:
    form = {"email": "  VIC@Example.org ", "password": PASSWORD}
    assert here.nobody().post("/login", data=form).status_code == 303


@pytest.mark.parametrize("then", [EVIL, "//evil.example", "/\\evil.example", "/\t/evil.example"])
def test_signing_in_leads_to_no_other_site(here: Place, then: str) -> None:
    assert sign_in(here.nobody(), "vic", then=then).headers["Location"] == "/"
    page = here.nobody().get("/login", query_string={"next": then}).text
    assert 'name="next" value="/"' in page


def test_a_session_that_was_brought_along_is_not_taken_over(here: Place) -> None:
    client = here.nobody()
    client.set_cookie(COOKIE, "chosen-by-somebody-else")
    made = value(sign_in(client, "vic"))
    assert made != "chosen-by-somebody-else"
    other = here.nobody()
    other.set_cookie(COOKIE, "chosen-by-somebody-else")
    assert other.get("/account").status_code == 302
    again = value(sign_in(client, "lyn"))  # in the browser that vic is signed in with
    assert again != made
    other.set_cookie(COOKIE, made)
    assert other.get("/account").status_code == 302


def test_a_tampered_cookie_is_nothing(here: Place) -> None:
    secret = here.browser("root").secret
    digest = passwords.digest(secret)
    wrong = [
        secret[:-1],
        secret + "A",
        secret.swapcase(),
        *(secret[:i] + chr(ord(secret[i]) ^ 1) + secret[i + 1 :] for i in range(0, 43, 7)),
        digest.hex(),  # what somebody who reads the catalogue has
        base64.urlsafe_b64encode(digest).decode().rstrip("="),
        csrf_of(secret),
        "",
        "' OR 1=1 --",
        "%00",
    ]
    for text in wrong:
        client = here.nobody()
        client.set_cookie(COOKIE, text)
        assert client.get("/account").status_code == 302, text


def test_nothing_that_lets_anybody_in_lies_in_the_catalogue(here: Place) -> None:
    client = here.nobody()
    secrets = [
        PASSWORD,
        value(sign_in(client, "vic")),
        here.token("lyn", "read", "sql"),
        here.access.users.make_link(email("nob")),
    ]
    here.nobody().post("/login", data={"email": "my secret passphrase", "password": "typo here"})
    here.nobody().get("/p/demo/api/live", headers=bearer(secrets[2] + "x"))
    here.nobody().get(f"/p/demo/api/live?token={secrets[2]}")
    here.nobody().get("/p/demo/api/live", headers=bearer(secrets[2]))
    everything = b"".join(path.read_bytes() for path in here.directory.glob("catalog.db*"))
    for secret in (*secrets, "my secret passphrase", "typo here"):
        assert secret.encode() not in everything
    assert b"$argon2id$v=19$m=65536,t=3,p=4$" in everything


# -- Another site's pages.


FOREIGN: list[dict[str, str]] = [
    {"Origin": EVIL},
    {"Origin": "null"},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": "http://localhost:8080"},  # another server of this machine
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_another_sites_page_can_change_nothing(here: Place, headers: dict[str, str]) -> None:
    browser = here.browser("lyn")
    proof = {"x-csrf-token": csrf_of(browser.secret)}  # even if it knew that
    wanted = {"name": "x", "project": "demo", "scopes": ["read"], "days": 1}
    answer = browser.client.post("/api/account/tokens", json=wanted, headers=headers | proof)
    assert answer.status_code == 403
    assert here.access.tokens.all() == []
    assert browser.client.post("/logout", headers=headers).status_code == 403
    assert browser.get("/account").status_code == 200
    stranger = here.nobody()
    assert sign_in(stranger, "eve", headers=headers).status_code == 403  # into the attacker's
    link = {"token": here.access.users.make_link(email("nob")), "password": "another long phrase"}
    assert stranger.post("/api/set-password", json=link, headers=headers).status_code == 403


@pytest.mark.parametrize("proof", [None, "", "x", "another", "ü"])
def test_without_the_pages_proof_nothing_changes(here: Place, proof: str | None) -> None:
    browser = here.browser("lyn")
    if proof == "another":
        proof = csrf_of(here.browser("eve").secret)
    headers = {} if proof is None else {"x-csrf-token": proof}
    for method, path in (
        ("POST", "/api/account/tokens"),
        ("POST", "/p/demo/api/sql"),
        ("POST", "/api/account/sign-out-everywhere"),
        ("DELETE", "/api/account/tokens/1"),
        ("POST", "/logout"),
    ):
        answer = browser.client.open(path, method=method, json={}, headers=headers)
        assert answer.status_code == 403, path
        assert "load the page again" in answer.text
    form = browser.client.post("/logout", data={"csrf": proof or ""})
    assert form.status_code == 403
    assert browser.client.post("/logout?csrf=" + csrf_of(browser.secret)).status_code == 403


def test_a_method_in_a_header_is_not_believed(here: Place) -> None:
    browser = here.browser("lyn")
    headers = {"X-HTTP-Method-Override": "DELETE", "X-Method-Override": "DELETE"}
    assert browser.get("/api/account/tokens/1", headers=headers).status_code == 405


@pytest.mark.parametrize("headers", FOREIGN)
def test_without_users_another_sites_page_can_change_nothing_either(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    client = world.app(tmp_path).test_client()
    answer = client.post("/p/demo/api/sql", json={"sql": "SELECT 1"}, headers=headers)
    assert answer.status_code == 403
    assert client.post("/p/demo/api/sql", json={"sql": "SELECT 1"}).status_code == 200


# -- Guessing.


def test_guessing_is_slowed_down_for_an_account_whatever_the_header_says(here: Place) -> None:
    tried = []
    for i in range(attempts.OF_ACCOUNT + 3):
        headers = {"X-Forwarded-For": f"10.0.0.{i}", "X-Real-IP": f"10.0.1.{i}"}
        tried.append(sign_in(here.nobody(), "vic", f"wrong number {i}", headers=headers))
    assert [t.status_code for t in tried] == [401] * attempts.OF_ACCOUNT + [429] * 3
    assert int(tried[-1].headers["Retry-After"]) == 15 * 60
    assert "Wait 15 minutes" in tried[-1].text
    right = sign_in(here.nobody(), "vic")
    assert right.status_code == 429  # not even with the right one
    assert sign_in(here.nobody(), "lyn").status_code == 303  # others are not kept out
    here.clock.forward(10 * 60)
    assert int(sign_in(here.nobody(), "vic").headers["Retry-After"]) == 5 * 60
    here.clock.forward(5 * 60)
    assert sign_in(here.nobody(), "vic").status_code == 303


def test_guessing_is_slowed_down_for_an_address(here: Place) -> None:
    tried = []
    for i in range(attempts.OF_ADDRESS + 1):
        form = {"email": f"nobody{i}@example.org", "password": "x"}
        tried.append(here.nobody().post("/login", data=form).status_code)
    assert tried == [401] * attempts.OF_ADDRESS + [429]
    there = {"REMOTE_ADDR": "10.0.0.9"}
    assert sign_in(here.nobody(), "vic", environ_overrides=there).status_code == 303


def test_behind_a_trusted_proxy_the_address_that_it_saw_counts(tmp_path: Path) -> None:
    here = place(tmp_path, trusted_proxies=1)
    for i in range(attempts.OF_ADDRESS):
        headers = {"X-Forwarded-For": f"1.1.1.{i}, 10.0.0.9"}  # the first is the client's claim
        form = {"email": f"nobody{i}@example.org", "password": "x"}
        assert here.nobody().post("/login", data=form, headers=headers).status_code == 401
    for claimed, status in (("2.2.2.2, 10.0.0.9", 429), ("10.0.0.9, 10.0.0.8", 303)):
        headers = {"X-Forwarded-For": claimed}
        assert sign_in(here.nobody(), "vic", headers=headers).status_code == status


def test_guessing_at_once_gets_no_further_than_one_after_another(here: Place) -> None:
    found: list[int] = []

    def guess(i: int) -> None:
        found.append(sign_in(here.nobody(), "vic", f"wrong number {i}").status_code)

    threads = [threading.Thread(target=guess, args=(i,)) for i in range(attempts.OF_ACCOUNT + 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [401] * attempts.OF_ACCOUNT + [429] * 6


def test_the_old_password_cannot_be_guessed_from_a_session(here: Place) -> None:
    browser = here.browser("vic")
    wish = {"old": "wrong", "new": "a new and longer phrase"}
    found = [browser.post("/api/account/password", wish).status_code for _ in range(11)]
    assert found == [400] * attempts.OF_ACCOUNT + [429]


class Counted(PasswordHasher):
    """How costly what it was asked for is."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Parameters] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002
        self.asked.append(extract_parameters(str(hash)))
        return super().verify(hash, password)


def test_an_unknown_account_takes_as_long_as_a_wrong_password(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One hash of the same cost for each, which is all of the time but a thousandth."""
    here.access.users.set_disabled(email("nob"), True)
    here.access.users.add("invited@example.org")
    hasher = Counted()
    monkeypatch.setattr(passwords, "_HASHER", hasher)
    for address in (email("vic"), "unknown@example.org", email("nob"), "invited@example.org"):
        hasher.asked.clear()
        answer = here.nobody().post("/login", data={"email": address, "password": "wrong one"})
        assert (answer.status_code, "do not fit" in answer.text) == (401, True)
        assert hasher.asked == [extract_parameters(PasswordHasher().hash(PASSWORD))], address


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"email": email("invited"), "password": ""},
        {"email": email("vic"), "password": PASSWORD + " "},
        {"email": email("vic"), "password": "x" * 1_000_000},
        {"email": "x" * 100_000, "password": PASSWORD},
        {"email": "\x00' OR '1'='1", "password": "' OR '1'='1"},
        {"email": email("vic"), "password": "\ud800"},
    ],
)
def test_what_is_no_password_of_theirs_is_refused(here: Place, form: dict[str, str]) -> None:
    sent = {k: v.encode("utf-8", "surrogatepass") for k, v in form.items()}
    answer = here.nobody().post("/login", data=sent)
    assert answer.status_code == 401
    assert "do not fit" in answer.text
