"""Segment's own JavaScript clients, unmodified from npm, against the running collector."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from catalog.store import Catalog
from tests.journeys.site import Site, Variant, arrived, wait_until_arrived
from tests.system import System

pytestmark = pytest.mark.journey

NODE, BROWSER = "@segment/analytics-node@3.1.0", "@segment/analytics-next@1.84.3"

SERVER_SIDE = """
const { Analytics } = require('@segment/analytics-node')
const [writeKey, host] = process.argv.slice(2)
const analytics = new Analytics({ writeKey, host, flushAt: 10 })
const failures = []
analytics.on('error', error => failures.push(error))
analytics.identify({ userId: 'user 1', traits: { plan: 'pro' } })
for (let n = 1; n <= 40; n++)
  analytics.track({ userId: 'user 1', event: 'Tick ' + n, properties: { n } })
analytics.track({
  userId: 'user 1',
  event: 'Order Completed',
  properties: { revenue: 19.99, currency: 'GBP', order_id: 'o-1' },
})
console.log('sending')
analytics.closeAndFlush({ timeout: 30000 }).then(() => console.log(JSON.stringify(failures)))
"""

CLIENT_SIDE = """([writeKey, address]) => {
  const { host, protocol } = new URL(address);
  const analytics = AnalyticsNext.AnalyticsBrowser.load(
    { writeKey, cdnURL: address },
    { integrations: { 'Segment.io': { apiHost: host + '/v1', protocol: protocol.slice(0, -1) } } },
  );
  analytics.page('Home');
  analytics.identify('user 2', { plan: 'free' });
  return analytics.track('Signed Up', { from: 'test' }).then(sent => sent.event.messageId);
}"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """node_modules with both clients. Left out only where there is no npm or no way to it."""
    folder = tmp_path_factory.mktemp("npm")
    if shutil.which("npm") is None:
        return missing("no npm on the PATH")
    (folder / "package.json").write_text("{}")
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", NODE, BROWSER]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode:
        return missing(f"npm installs nothing: {done.stderr.strip().splitlines()[-1:]}")
    return folder / "node_modules"


def missing(what: str) -> Path:
    """In CI nothing may be left out."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with System(tmp_path / "data") as system:
        catalog = Catalog(f"sqlite:///{system.data}/catalog.db")
        catalog.migrate()
        catalog.add_project("shop")
        yield system


@pytest.fixture
def keys(system: System) -> dict[str, str]:
    catalog = Catalog(f"sqlite:///{system.data}/catalog.db")
    return {name: catalog.add_key("shop", name) for name in ("node", "next")}


def test_the_server_client_delivers_to_a_collector_that_comes_up_late(
    system: System, keys: dict[str, str], packages: Path
) -> None:
    script = packages.parent / "server.js"
    script.write_text(SERVER_SIDE)
    client = subprocess.Popen(
        ["node", str(script), keys["node"], system.collector], stdout=subprocess.PIPE, text=True
    )
    assert client.stdout is not None
    assert client.stdout.readline() == "sending\n"
    system.start_collector()
    output, _ = client.communicate(timeout=60)
    assert json.loads(output) == []
    assert client.returncode == 0
    ticks = {f"Tick {n}": 1 for n in range(1, 41)}
    rows = wait_until_arrived(system, "node", {"identify": 1, "Order Completed": 1, **ticks})
    order = next(row for row in rows if row["name"] == "Order Completed")
    assert (order["revenue_minor"], order["currency"], order["order_id"]) == (1999, "GBP", "o-1")
    assert order["library_name"] == "@segment/analytics-node"
    assert {row["user_id"] for row in rows} == {"user 1"}


@pytest.mark.browser
def test_the_browser_client_delivers_without_segments_servers(
    system: System, keys: dict[str, str], packages: Path, browser: Browser
) -> None:
    system.start_collector()
    site = Site(
        system.collector,
        system.get(f"{system.collector}/tracker.json"),
        {"shop": Variant()},
    )
    context = browser.new_context(bypass_csp=True)  # the page cannot serve the bundle itself
    with site.running():
        page = context.new_page()
        page.goto(f"{site.origin}/shop/")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.add_script_tag(path=packages / "@segment/analytics-next/dist/umd/index.js")
        last_id = page.evaluate(CLIENT_SIDE, [keys["next"], system.collector])
        rows = wait_until_arrived(system, "next", {"Home": 1, "identify": 1, "Signed Up": 1})
    context.close()
    assert {url.split("/")[2] for url in asked} == {system.collector.split("/")[2]}
    assert [row["type"] for row in rows] == ["page", "identify", "track"]
    assert (rows[-1]["user_id"], rows[-1]["event_id"]) == ("user 2", last_id)
    assert rows[0]["page_path"] == "/shop/"
    assert len(arrived(system, "next")) == 3
