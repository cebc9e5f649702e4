"""Fixtures of all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings
from playwright.sync_api import Browser, sync_playwright

from tests.system import chromium

# How long an example takes says something of the machine and nothing of what is tested.
settings.register_profile("headwater", deadline=None)
settings.load_profile("headwater")

_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium; in CI a missing one is an error, elsewhere the test is left out."""
    path = chromium()
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium on the PATH: scripts/get-chromium installs it")
        pytest.skip("no chromium on the PATH; scripts/get-chromium installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_QUIET))
        yield browser
        browser.close()
