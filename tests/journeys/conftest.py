"""A collector, and a site whose pages send to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from catalog.store import Catalog
from tests.journeys.site import Site, Variant, Visitor
from tests.system import ROOT, System

# The stub as the documentation has it, and calls before the tracker is there.
STUB = (ROOT / "docs/clients.md").read_text().partition("<script>\n")[2].partition("</script>")[0]
EARLY = STUB + "headwater.identify('early bird'); headwater.track('Before Loading', {n: 1});"
# variant of the page -> how it embeds the tracker
VARIANTS = {
    "spa": "",
    "hash": 'data-hash="true"',
    "calls": 'data-vitals="false"',
    "errors": 'data-vitals="false"',
    "vitals": "",
    "offline": 'data-vitals="false"',
    "full": 'data-vitals="false"',
    "killed": 'data-vitals="false"',
    "busy": 'data-vitals="false" data-pages="false"',
    "halved": 'data-vitals="false" data-pages="false"',
    "leave": 'data-vitals="false"',
    "close": 'data-vitals="false"',
    "large": 'data-vitals="false" data-pages="false"',
    "pending": 'data-consent="pending"',
    "denied": 'data-vitals="false"',
    "gpc": 'data-dnt="true"',
    "blocked": 'data-vitals="false"',
    "quota": 'data-vitals="false"',
    "tabs": 'data-vitals="false"',
    "stub": 'data-vitals="false"',
    "other": "",
}


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A running collector with a source and a write key for every variant."""
    with System(tmp_path_factory.mktemp("tracker") / "data") as system:
        catalog = Catalog(f"sqlite:///{system.data}/catalog.db")
        catalog.migrate()
        catalog.add_project("web")
        for name in VARIANTS:
            catalog.add_key("web", name)
        system.start_collector()
        yield system


@pytest.fixture(scope="module")
def site(collector: System) -> Iterator[Site]:
    """The site; its pages lie at `/<variant>/…`."""
    keys = Catalog(f"sqlite:///{collector.data}/catalog.db").keys()
    variants = {
        owner.source: Variant(
            f'data-key="{key}" {VARIANTS[owner.source]}',
            inline=EARLY if owner.source == "stub" else "",
        )
        for key, owner in keys.items()
    }
    variants["unknown"] = Variant('data-key="hw_nobodys" data-vitals="false"')
    variants["framed"] = Variant(frame="/blocked/frame")
    facts = collector.get(f"{collector.collector}/tracker.json")
    with Site(collector.collector, facts, variants).running() as site:
        yield site


@pytest.fixture
def visitor(collector: System, site: Site, browser: Browser) -> Iterator[Visitor]:
    """One with an empty storage."""
    context = browser.new_context(locale="en-GB", timezone_id="Europe/London")
    yield Visitor(collector, site, context)
    context.close()
