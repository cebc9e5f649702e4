"""Signing in, being refused, tokens and people: Chromium and the real server process."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

from catalog.audit import Audit
from catalog.tokens import Tokens
from catalog.users import Users
from tests.reports import world
from tests.reports.access_served import serve, shown_once
from tests.reports.access_world import PASSWORD, bearer, email, place
from tests.reports.browsing import fits, shot
from tests.system import wait_for

pytestmark = pytest.mark.browser
ANSWERS = ("401", "403", "404", "400", "429")  # of the answers that the tests ask for


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pages")
    place(made)
    return made


@pytest.fixture(scope="module")
def address(directory: Path) -> Iterator[str]:
    yield from serve(directory)


def sign_in(page: Page, name: str, password: str = PASSWORD) -> None:
    page.get_by_label("E-mail address").fill(email(name))
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def test_signing_in_leads_to_what_was_asked_for(address: str, page: Page) -> None:
    page.goto(f"{address}/p/demo/daily?first=2026-01-01")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    shot(page, "access-login")
    sign_in(page, "vic", "not the password")
    expect(page.get_by_role("alert")).to_have_text("That e-mail address and password do not fit.")
    expect(page.get_by_label("E-mail address")).to_have_value(email("vic"))
    shot(page, "access-login-refused")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{address}/p/demo/daily?first=2026-01-01")
    expect(page.get_by_role("heading", name="Daily")).to_be_visible()
    assert fits(page)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto(f"{address}/p/demo/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_who_lacks_a_right_is_told_which(address: str, page: Page) -> None:
    page.goto(f"{address}/login")
    sign_in(page, "vic")
    page.goto(f"{address}/p/demo/sql")
    expect(page.locator("main")).to_contain_text("This needs the role analyst in demo; yours is")
    shot(page, "access-refused")
    page.goto(f"{address}/p/other/")
    expect(page.locator("main")).to_contain_text("There is no project 'other'")
    page.goto(f"{address}/people")
    expect(page.locator("main")).to_contain_text("This needs the role admin of everything")


def test_a_token_is_made_used_and_revoked(address: str, page: Page) -> None:
    page.goto(f"{address}/account")
    sign_in(page, "lyn")
    page.get_by_label("What for").fill("nightly report")
    page.get_by_label("sql", exact=True).check()
    page.get_by_role("button", name="Make a token").click()
    secret = shown_once(page)
    assert re.fullmatch(r"hw_t_[\w-]{43}", secret)
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == secret
    shot(page, "access-account-token")
    sql = {"sql": "SELECT 1 AS one"}
    found = httpx.post(f"{address}/p/demo/api/sql", json=sql, headers=bearer(secret))
    assert found.json()["rows"] == [[1]]
    page.goto(f"{address}/account")
    expect(page.get_by_role("row", name="nightly report")).to_contain_text("read, sql")
    expect(page.get_by_role("row", name="nightly report")).not_to_contain_text("never")
    shot(page, "access-account")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("row", name="nightly report").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("No tokens.")).to_be_visible()
    again = httpx.post(f"{address}/p/demo/api/sql", json=sql, headers=bearer(secret))
    assert again.status_code == 401


def test_an_analyst_runs_sql_on_the_page(address: str, page: Page, directory: Path) -> None:
    page.goto(f"{address}/p/demo/sql")
    sign_in(page, "lyn")
    page.get_by_label("Query", exact=True).fill("SELECT 40 + 2 AS answer")
    page.get_by_role("button", name="Run").click()
    expect(page.locator("#result tbody td")).to_have_text("42")
    page.get_by_label("Query", exact=True).fill("DROP TABLE events")
    page.get_by_role("button", name="Run").click()
    expect(page.locator("#error")).to_contain_text("DROP is not allowed")
    log = Audit(world.catalogue(directory)).find(actor=email("lyn"), project="demo")
    assert "answer" not in str(log)
    assert [entry for entry in log if "/api/sql" in entry.target]


def test_somebody_is_invited_given_a_role_and_disabled(
    address: str, page: Page, browser: Browser, directory: Path, request: pytest.FixtureRequest
) -> None:
    who = f"new-{page.viewport_size['width']}@example.org"  # type: ignore[index]
    page.goto(f"{address}/people")
    sign_in(page, "root")
    page.get_by_label("E-mail address").fill(who)
    page.get_by_label("Name").fill("<b>New</b> somebody")
    page.get_by_role("button", name="Make a link").click()
    link = shown_once(page)
    assert link.startswith(f"{address}/set-password#")
    shot(page, "access-people-link")
    page.goto(f"{address}/people")
    page.get_by_label(f"Role of {who} in demo").select_option("viewer")
    expect(page.get_by_role("alert")).to_be_hidden()
    shot(page, "access-people")
    other = browser.new_context()
    theirs = other.new_page()
    theirs.goto(link)
    expect(theirs).to_have_url(f"{address}/set-password")  # what it proves is shown no longer
    shot(theirs, "access-set-password")
    theirs.get_by_label("New password").fill("a phrase of their own")
    theirs.get_by_label("The same again").fill("a phrase of their way")
    theirs.get_by_role("button", name="Set it").click()
    expect(theirs.get_by_role("alert")).to_have_text("The two are not the same.")
    theirs.get_by_label("The same again").fill("a phrase of their own")
    theirs.get_by_role("button", name="Set it").click()
    expect(theirs.get_by_role("heading", name="Live")).to_be_visible()
    users = Users(world.catalogue(directory))
    wait_for(lambda: users.get(who).roles == {"demo": "viewer"}, seconds=10, what="the role")
    page.goto(f"{address}/people")
    row = page.locator(f"tr[data-email='{who}']")
    row.get_by_role("button", name="Disable").click()
    expect(row).to_contain_text("disabled")
    theirs.goto(f"{address}/p/demo/daily")
    expect(theirs.get_by_role("heading", name="Sign in")).to_be_visible()
    other.close()
    page.get_by_label("root@example.org is admin of everything").click()
    expect(page.get_by_role("alert")).to_contain_text("that is the last admin")
    expect(page.get_by_label("root@example.org is admin of everything")).to_be_checked()
    page.goto(f"{address}/audit?action=user.")
    expect(page.locator("tbody")).to_contain_text(f"{who}: True")
    shot(page, "access-audit")


def test_a_member_is_added_by_an_admin_of_the_project(address: str, page: Page) -> None:
    page.goto(f"{address}/p/demo/people")
    sign_in(page, "adi")
    who = f"member-{page.viewport_size['width']}@example.org"  # type: ignore[index]
    page.get_by_label("E-mail address").fill(who)
    page.locator("#role").select_option("analyst")
    page.get_by_role("button", name="Add").click()
    expect(page.locator("#whom")).to_have_text(who)
    page.goto(f"{address}/p/demo/people")
    expect(page.get_by_label(f"Role of {who} in demo")).to_have_value("analyst")
    shot(page, "access-members")
    page.get_by_label("E-mail address").fill("no address")
    page.goto(f"{address}/p/demo/audit")
    expect(page.locator("tbody")).to_contain_text(f"{who}: analyst")


def test_the_password_is_changed_and_other_browsers_are_signed_out(
    address: str, page: Page, browser: Browser
) -> None:
    # Each width has an account of its own: the password is another one afterwards.
    name = "nob" if page.viewport_size["width"] == 390 else "eve"  # type: ignore[index]
    other = browser.new_context().new_page()
    for one in (page, other):
        one.goto(f"{address}/account")
        sign_in(one, name)
        expect(one.get_by_role("heading", name="Account")).to_be_visible()
    page.get_by_label("Old password").fill("not it at all")
    page.get_by_label("New password").fill("quite another phrase")
    page.get_by_role("button", name="Change it").click()
    expect(page.get_by_role("alert")).to_have_text("old: that is not your password.")
    page.get_by_label("Old password").fill(PASSWORD)
    with page.expect_navigation():
        page.get_by_role("button", name="Change it").click()
    expect(page.get_by_role("heading", name="Account")).to_be_visible()
    other.reload()
    expect(other.get_by_role("heading", name="Sign in")).to_be_visible()
    sign_in(other, name, "quite another phrase")
    expect(other.get_by_role("heading", name="Account")).to_be_visible()
    other.get_by_role("button", name="Sign out everywhere").click()
    expect(other.get_by_role("heading", name="Sign in")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    other.context.close()


# -- Another site's page, in a browser that is signed in.

ATTACK = """<!doctype html><title>waiting</title>
<form id="f" method="post" action="ADDRESS/logout" target="frame"></form>
<iframe name="frame"></iframe>
<script>
const ask = (path, init) => fetch("ADDRESS" + path, {credentials: "include", ...init})
  .then((answer) => answer.type + answer.status, () => "refused");
(async () => {
  const body = JSON.stringify({name: "stolen", project: "demo", scopes: ["read"], days: 9});
  document.getElementById("f").submit();
  const found = [
    await ask("/account"),
    await ask("/api/account/tokens", {method: "POST", body, mode: "no-cors"}),
    await ask("/api/account/tokens", {method: "POST", body,
      headers: {"content-type": "application/json", "x-csrf-token": "guess"}}),
  ];
  document.title = found.join(" ");
})();
</script>"""


@pytest.fixture
def evil(address: str) -> Iterator[str]:
    """Another server on the same host name: to browsers it is even the same site."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(ATTACK.replace("ADDRESS", address).encode())

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_another_sites_page_does_nothing_with_our_session(
    address: str, evil: str, browser: Browser, directory: Path
) -> None:
    context: BrowserContext = browser.new_context()
    page = context.new_page()
    page.goto(f"{address}/account")
    sign_in(page, "lyn")
    expect(page.get_by_role("heading", name="Account")).to_be_visible()
    attacker = context.new_page()
    sent: list[Request] = []
    attacker.on("request", lambda request: sent.append(request))
    attacker.goto(evil)
    expect(attacker).to_have_title("refused refused refused")
    cookies = [r.all_headers().get("cookie", "") for r in sent if r.url.startswith(address)]
    assert any("headwater_session=" in text for text in cookies)  # or nothing was tried
    page.reload()
    expect(page.get_by_role("heading", name="Account")).to_be_visible()  # still signed in
    assert "stolen" not in [token.name for token in Tokens(world.catalogue(directory)).all()]
    context.close()
