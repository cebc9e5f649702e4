"""Fixtures of the tests of reports: the small shop, served, and pages that forgive nothing.

A module with another world has its own `directory` or `address`; its ANSWERS are the statuses
that its tests ask for, and that a page's console may therefore tell of.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from reports.insights import parts
from tests.reports import shop, world
from tests.reports.browsing import serving, watched


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shop.make(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def address(directory: Path) -> Iterator[str]:
    with serving(world.app(directory)) as found:
        yield found


@pytest.fixture(params=[1440, 390], ids=["wide", "narrow"])
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page of a desktop's and of a phone's width."""
    with watched(browser, request.param, answers=_answers(request)) as made:
        yield made


@pytest.fixture
def wide(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """For what does not depend on the width."""
    with watched(browser, 1440, answers=_answers(request)) as made:
        yield made


def _answers(request: pytest.FixtureRequest) -> tuple[str, ...]:
    found: tuple[str, ...] = getattr(request.module, "ANSWERS", ())
    return found


@pytest.fixture(params=[parts.AT_ONCE, 200], ids=["at once", "in parts"])
def at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many events are read at a time, of so many people; more, part by part."""
    monkeypatch.setattr(parts, "AT_ONCE", request.param)
