"""Fixtures of all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from playwright.sync_api import Browser, expect, sync_playwright

from tests.system import chromium

# How long an example takes says something of the machine and nothing of what is tested.
settings.register_profile("headwater", deadline=None)
settings.load_profile("headwater")
expect.set_options(timeout=20_000)  # in a browser, on a machine that has much to do

# What nobody looks at here. The list takes the place of Playwright's own, whose names are in it.
# The address bar's suggestions are two pages more for every window: a quarter of a browser test.
_WITHOUT = (
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsFirstBalancedModeAutoEnable",
    "HttpsUpgrades",
    "LensOverlay",
    "MediaRouter",
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "PaintHolding",
    "PreconnectToSearch",
    "ThirdPartyStoragePartitioning",
    "WebUIOmniboxAimPopup",
    "WebUIOmniboxPopup",
)
_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--disable-features={','.join(_WITHOUT)}",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with journeys, which wait a lot, between the others, which compute; none at the end."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    journeys = [
        tests for tests in files.values() if any(t.get_closest_marker("journey") for t in tests)
    ]
    others = [tests for tests in files.values() if tests not in journeys]
    every = max(1, len(others) * 2 // 3 // max(1, len(journeys)))
    ordered: list[pytest.Item] = []
    for number, tests in enumerate(others):
        if number % every == 0 and journeys:
            ordered += journeys.pop(0)
        ordered += tests
    items[:] = [*ordered, *(item for tests in journeys for item in tests)]


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
