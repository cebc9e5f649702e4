"""Signing in by OpenID Connect, with a provider that runs as a process and can lie."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from catalog.settings import SettingError
from catalog.users import Users
from reports.access.oidc import provider_of
from reports.app import create_app
from tests.oidc_provider import CLIENT, LIES, SECRET
from tests.reports import world
from tests.reports.access_world import PASSWORD, cookie, value
from tests.reports.world import ZONES
from tests.system import ROOT, free_port, wait_for


@dataclass
class Process:
    address: str
    running: subprocess.Popen[bytes]

    def lie(self, what: str) -> None:
        httpx.post(f"{self.address}/lie", json={"lie": what})


@pytest.fixture(scope="module")
def process() -> Iterator[Process]:
    port = free_port()
    command = [sys.executable, "-m", "tests.oidc_provider", str(port)]
    running = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{address}/jwks").status_code == 200
        except httpx.TransportError:
            return False

    wait_for(answers, seconds=30, what="the provider")
    yield Process(address, running)
    running.terminate()
    running.wait(timeout=10)


@pytest.fixture
def provider(process: Process) -> Iterator[Process]:
    yield process
    process.lie("")


def app(directory: Path, provider: Process, **more: Any) -> FlaskClient:
    """A browser of an app that has the admin root and asks this provider."""
    users = Users(world.catalogue(directory))
    if not users.exist():
        users.add("root@example.org", password=PASSWORD, is_admin=True)
    given = {
        "oidc_client_id": CLIENT,
        "oidc_client_secret": SECRET,
        "oidc_issuer": provider.address,
    }
    made = create_app(
        world.settings(directory, **given | more), lambda: ZONES, lambda: time.time_ns() // 1000
    )
    return made.test_client()


def leave(client: FlaskClient, then: str = "/") -> str:
    """To the provider, and to the address that it sends the browser back to."""
    start = client.get("/login/oidc", query_string={"next": then})
    assert start.status_code == 302
    back = httpx.get(start.headers["Location"])
    assert back.status_code == 302, back.text
    return str(back.headers["location"])


def come_back(client: FlaskClient, address: str) -> TestResponse:
    parts = urlsplit(address)
    assert (parts.hostname, parts.path) == ("localhost", "/login/oidc/callback")
    return client.get(f"{parts.path}?{parts.query}")


def test_who_has_an_account_signs_in(tmp_path: Path, provider: Process) -> None:
    client = app(tmp_path, provider)
    assert "/login/oidc?next=%2Fp%2Fdemo%2F" in client.get("/login?next=/p/demo/").text
    Users(world.catalogue(tmp_path)).add("ann@example.org", is_admin=True)
    answer = come_back(client, leave(client, "/p/demo/daily"))
    assert (answer.status_code, answer.headers["Location"]) == (303, "/p/demo/daily")
    assert "HttpOnly" in cookie(answer)
    assert client.get("/p/demo/daily").status_code == 200
    assert 'value="ann@example.org"' not in client.get("/account").text  # no password to change
    assert "sign in with your organisation" in client.get("/account").text


def test_who_is_of_an_allowed_domain_gets_an_account(tmp_path: Path, provider: Process) -> None:
    client = app(tmp_path, provider, oidc_domains="example.com, Example.org", oidc_role="analyst")
    assert come_back(client, leave(client)).status_code == 303
    made = Users(world.catalogue(tmp_path)).get("ann@example.org")
    assert (made.roles, made.is_admin, made.has_password) == (
        {"demo": "analyst", "other": "analyst"},
        False,
        False,
    )


def test_who_is_of_no_allowed_domain_gets_none(tmp_path: Path, provider: Process) -> None:
    client = app(tmp_path, provider, oidc_domains="example.com")
    answer = come_back(client, leave(client))
    assert answer.status_code == 401
    assert "ann@example.org has no account here; ask an admin" in answer.text
    assert client.get("/account").status_code == 302


def test_an_address_in_the_user_info_does_too(tmp_path: Path, provider: Process) -> None:
    client = app(tmp_path, provider, oidc_domains="example.org")
    provider.lie("userinfo")  # no lie: the standard allows it
    assert come_back(client, leave(client)).status_code == 303


@pytest.mark.parametrize(
    ("lie", "text"),
    [
        ("nonce", "nonce"), ("aud", "aud"), ("azp", "azp"), ("two_audiences", "azp"),
        ("iss", "iss"), ("expired", "exp"), ("future", "iat"), ("no_sub", "sub"),
        ("other_key", "BadSignatureError"), ("none", "id token is no good"),
        ("hmac", "id token is no good"), ("unverified", "verified the e-mail address"),
        ("verified_text", "verified the e-mail address"), ("userinfo_sub", "two different people"),
        ("answer_iss", "another provider"), ("state", "belongs to another try"),
        ("denied", "access_denied"),
    ],
)  # fmt: skip
def test_a_provider_that_lies_lets_nobody_in(
    tmp_path: Path, provider: Process, lie: str, text: str
) -> None:
    client = app(tmp_path, provider, oidc_domains="example.org")
    provider.lie(lie)
    answer = come_back(client, leave(client))
    assert answer.status_code == 401
    assert text in answer.text
    assert client.get("/account").status_code == 302
    assert len(Users(world.catalogue(tmp_path)).all()) == 1
    provider.lie("")
    assert come_back(client, leave(client)).status_code == 303  # it was the lie


def test_every_lie_is_tried() -> None:
    marks = test_a_provider_that_lies_lets_nobody_in.pytestmark  # type: ignore[attr-defined]
    assert {one[0] for one in marks[0].args[1]} == {*LIES, "denied"}


def test_new_keys_are_fetched(tmp_path: Path, provider: Process) -> None:
    client = app(tmp_path, provider, oidc_domains="example.org")
    assert come_back(client, leave(client)).status_code == 303
    httpx.post(f"{provider.address}/rotate")
    assert come_back(client, leave(client)).status_code == 303


def test_an_answer_belongs_to_the_browser_that_asked_and_works_once(
    tmp_path: Path, provider: Process
) -> None:
    client = app(tmp_path, provider, oidc_domains="example.org")
    victim = client.application.test_client()
    address = leave(client)
    assert "did not start here" in come_back(victim, address).text  # the attacker's answer
    leave(victim)
    assert "belongs to another try" in come_back(victim, address).text
    assert victim.get("/account").status_code == 302
    assert come_back(client, address).status_code == 303
    assert come_back(client, address).status_code == 401
    assert "did not start here" in client.get("/login/oidc/callback?code=x&state=").text


@pytest.mark.parametrize("kept", ["", "x", "e30=", "bnVsbA==", "eyJzdGF0ZSI6MX0="])
def test_an_edited_cookie_of_the_way_is_nothing(
    tmp_path: Path, provider: Process, kept: str
) -> None:
    client = app(tmp_path, provider, oidc_domains="example.org")
    address = leave(client)
    client.set_cookie("headwater_oidc", kept)
    answer = come_back(client, address)
    assert answer.status_code == 401
    assert "did not start here" in answer.text


def test_a_session_that_was_brought_along_is_not_taken_over(
    tmp_path: Path, provider: Process
) -> None:
    client = app(tmp_path, provider, oidc_domains="example.org")
    address = leave(client)
    client.set_cookie("headwater_session", "chosen-by-somebody-else")
    assert value(come_back(client, address)) != "chosen-by-somebody-else"


def test_it_leads_to_no_other_site(tmp_path: Path, provider: Process) -> None:
    client = app(tmp_path, provider, oidc_domains="example.org")
    answer = come_back(client, leave(client, "//evil.example"))
    assert answer.headers["Location"] == "/"


def test_what_is_asked_of_the_provider(tmp_path: Path, provider: Process) -> None:
    client = app(tmp_path, provider)
    asked = [
        parse_qs(urlsplit(client.get("/login/oidc").headers["Location"]).query) for _ in range(2)
    ]
    for name in ("state", "nonce", "code_challenge"):
        assert asked[0][name] != asked[1][name]
        assert len(asked[0][name][0]) == 43
    assert asked[0]["code_challenge_method"] == ["S256"]
    assert asked[0]["redirect_uri"] == ["http://localhost/login/oidc/callback"]
    assert SECRET not in str(asked)


def test_behind_a_name_the_browser_comes_back_to_it(tmp_path: Path, provider: Process) -> None:
    client = app(tmp_path, provider, public_url="https://stats.example.org")
    start = client.get("/login/oidc", base_url="https://stats.example.org")
    asked = parse_qs(urlsplit(start.headers["Location"]).query)
    assert asked["redirect_uri"] == ["https://stats.example.org/login/oidc/callback"]
    assert "; Secure" in cookie(start, "__Host-headwater_oidc")


def test_a_wrong_secret_and_a_provider_that_is_not_there(tmp_path: Path, provider: Process) -> None:
    client = app(tmp_path, provider, oidc_client_secret="wrong", oidc_domains="example.org")
    answer = come_back(client, leave(client))
    assert answer.status_code == 401
    assert "answers 400 at /token" in answer.text
    gone = app(tmp_path, Process(f"http://127.0.0.1:{free_port()}", provider.running))
    answer = gone.get("/login/oidc")
    assert answer.status_code == 502
    assert "does not answer: ConnectError" in answer.text
    other = app(
        tmp_path, Process(provider.address.replace("127.0.0.1", "localhost"), provider.running)
    )
    assert "calls itself" in other.get("/login/oidc").text
    none = app(tmp_path, provider, oidc_issuer="")
    assert none.get("/login/oidc").status_code == 404
    assert "organisation" not in none.get("/login").text


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"oidc_issuer": "http://idp.example"}, "must be an https address"),
        ({"oidc_issuer": "https://idp.example"}, "HEADWATER_OIDC_CLIENT_ID is empty"),
        (
            {"oidc_issuer": "https://idp.example", "oidc_client_id": "x", "oidc_role": "admin"},
            "must be viewer, analyst or empty",
        ),
        ({"public_url": "stats.example.org"}, "no address of a site"),
        ({"public_url": "https://stats.example.org/path"}, "no address of a site"),
        ({"public_url": "https://user@stats.example.org"}, "no address of a site"),
    ],
)
def test_settings_that_cannot_be_used(tmp_path: Path, given: dict[str, str], text: str) -> None:
    with pytest.raises(SettingError, match=text):
        create_app(world.settings(tmp_path, **given), lambda: ZONES, lambda: 0)


def test_the_secret_is_never_shown(tmp_path: Path) -> None:
    made = world.settings(tmp_path, oidc_client_secret=SECRET, oidc_issuer="https://idp.example")
    assert SECRET not in repr(made)
    assert made.oidc_client_secret == SECRET
    assert provider_of(world.settings(tmp_path)) is None
