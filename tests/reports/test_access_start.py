"""The first user, an address that others can reach, and a provider: in the real server process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.reports import world
from tests.reports.access_served import serve, shown_once
from tests.reports.access_world import place
from tests.reports.browsing import shot
from tests.system import ROOT, free_port, wait_for

pytestmark = pytest.mark.browser

# -- With a provider of OpenID Connect that others made.


@pytest.fixture
def provider() -> Iterator[str]:
    port = free_port()
    claims = '{"sub": "pia", "email": "pia@example.org", "email_verified": true, "name": "Pia"}'
    command = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(port)]
    running = subprocess.Popen(
        [*command, "--user-claims", claims], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{address}/jwks").status_code == 200
        except httpx.TransportError:
            return False

    wait_for(answers, seconds=60, what="the provider")
    yield address
    running.terminate()
    running.wait(timeout=10)


def test_signing_in_with_a_provider(provider: str, browser: Browser, tmp_path: Path) -> None:
    place(tmp_path)
    given = {
        "HEADWATER_OIDC_ISSUER": provider,
        "HEADWATER_OIDC_CLIENT_ID": "headwater",
        "HEADWATER_OIDC_CLIENT_SECRET": "secret",
        "HEADWATER_OIDC_DOMAINS": "example.org",
        "HEADWATER_OIDC_ROLE": "viewer",
    }
    for address in serve(tmp_path, **given):
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{address}/p/demo/daily")
        page.get_by_role("link", name="Sign in with your organisation").click()
        expect(page).to_have_url(re.compile(f"^{re.escape(provider)}/"))
        page.get_by_role("button", name=re.compile("pia", re.IGNORECASE)).click()
        expect(page).to_have_url(f"{address}/p/demo/daily")
        expect(page.get_by_role("link", name="Pia")).to_be_visible()
        context.close()


# -- Until there is a user.


def test_the_first_user_is_made_in_the_browser(browser: Browser, tmp_path: Path) -> None:
    world.catalogue(tmp_path)
    for address in serve(tmp_path):
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{address}/p/demo/daily")
        expect(page.locator(".open")).to_contain_text("No users yet: open to this machine only")
        shot(page, "access-open")
        page.goto(f"{address}/people")
        page.get_by_label("E-mail address").fill("ann@example.org")
        page.get_by_role("button", name="Make a link").click()
        link = shown_once(page)
        page.goto(f"{address}/p/demo/daily")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        page.goto(link)
        page.get_by_label("New password").fill("a phrase of their own")
        page.get_by_label("The same again").fill("a phrase of their own")
        page.get_by_role("button", name="Set it").click()
        expect(page.get_by_role("heading", name="Live")).to_be_visible()
        page.goto(f"{address}/people")
        expect(page.locator("tbody tr")).to_have_count(1)
        context.close()


def test_an_address_that_others_can_reach_needs_a_user(tmp_path: Path) -> None:
    port = str(free_port())
    environ = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")}
    given = {
        "HEADWATER_DATA_DIR": str(tmp_path),
        "HEADWATER_REPORTS_HOST": "0.0.0.0",
        "HEADWATER_REPORTS_PORT": port,
    }
    failed = subprocess.run(
        [sys.executable, "-m", "reports"],
        env=environ | given,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert failed.returncode == 1
    assert "HEADWATER_REPORTS_HOST=0.0.0.0 can be reached from outside" in failed.stderr
    assert "python -m catalog add-user" in failed.stderr
    place(tmp_path)
    for address in serve(tmp_path, HEADWATER_REPORTS_HOST="0.0.0.0"):
        assert httpx.get(f"{address}/p/demo/").status_code == 302
        named = httpx.get(f"{address}/p/demo/", headers={"host": "evil.example"})
        assert named.status_code == 421
