"""The engine axe-core on pages in Chromium, and a shop where every page has something to show."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Page, expect

from reports.boards.definition import built_in
from reports.exports.work import work_on
from tests.reports import shop
from tests.reports.access_world import COOKIE, Browser, Place, place

AXE = "axe-core@4.14.1"
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
KINDS = ("trend", "funnel", "retention", "paths", "before_after", "lifecycle", "vitals")
BOARD = {
    "title": "Own",
    "panels": [
        {"title": "A line", "kind": "trend", "question": {"series": [{"measure": "events"}]}},
        {"title": "A query", "sql": "SELECT country, COUNT(*) AS n FROM events GROUP BY country"},
        {"title": "Words", "text": "What is said here."},
    ],
}
# Of long tables the first rows: the others are made alike, and each takes its time.
# But menus of panels, which lie over the next panel's buttons; the board's own is like them.
_UNFOLD = """() => {
  document.querySelectorAll("details").forEach(one => { one.open = !one.matches(".panel .menu") });
  document.querySelectorAll("tbody tr:nth-child(n+6)").forEach(row => row.remove());
}"""
_RUN = """([rules, without]) => axe.run(
  {exclude: without}, {runOnly: rules, resultTypes: ["violations"]}
).then(found => found.violations.map(one => [
  `${one.id} (${one.impact})`,
  ...one.nodes.slice(0, 3).map(node => `${node.target.join(" ")}: ${node.failureSummary}`),
].join("\\n")))"""
_LOOKS: tuple[tuple[int, Literal["light", "dark"], list[str], list[str]], ...] = (
    (1440, "light", LEVELS, []),
    (1440, "dark", ["color-contrast"], [".vega"]),
    (390, "dark", ["color-contrast"], [".vega"]),
    (390, "light", LEVELS, [".vega"]),
)
_BUSY = ".loading, .vega:not([data-drawn]), .inside[aria-busy], [aria-busy='true']"


def axe(folder: Path) -> str:
    """The engine's script, from npm. Left out only where there is no npm or no way to it."""
    if shutil.which("npm") is None:
        return _missing("no npm on the PATH")
    (folder / "package.json").write_text("{}")
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", AXE]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode:
        return _missing(f"npm installs nothing: {done.stderr.strip().splitlines()[-1:]}")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


def _missing(what: str) -> str:
    """In CI nothing may be left out."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def opened(page: Page, url: str) -> None:
    """Go there and wait until nothing is asked or drawn any more."""
    page.goto(url)
    if "/explore/" in url:
        answer = page.locator("#shown .trust").or_(page.locator("#error:not([hidden])"))
        expect(answer.first).to_be_visible()
    still(page)


def still(page: Page) -> None:
    expect(page.locator("#state", has_text="Asking…")).to_have_count(0)
    expect(page.locator(_BUSY)).to_have_count(0)


def violations(page: Page, script: str) -> list[str]:
    """What the engine finds at both widths, light and dark, all that is folded unfolded.

    Once it looks at everything. Charts are the same at every width, and dark only colours change.
    """
    page.evaluate(_UNFOLD)
    page.evaluate(script)  # not by an element: the page's policy would refuse it
    found = []
    for width, scheme, rules, without in _LOOKS:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        found += [f"{width} {scheme} {one}" for one in page.evaluate(_RUN, [rules, without])]
    return found


@dataclass(frozen=True)
class Furnished:
    """The small shop with people, and one of everything that people make.

    paths: of the pages, by a short name each
    """

    place: Place
    root: Browser
    paths: dict[str, str]

    def signed_in(self, page: Page, address: str) -> None:
        """As the admin of everything."""
        page.context.add_cookies([{"name": COOKIE, "value": self.root.secret, "url": address}])


def furnished(directory: Path) -> Furnished:
    here = place(directory)
    shop.make(directory)
    exports = here.app.extensions["exports"]
    here.app.extensions["exports"] = replace(exports, start=lambda settings: None)
    here.token("root", "read")
    root, project = here.browser("root"), "/p/demo"

    def made(path: str, body: dict[str, Any]) -> Any:
        answer = root.post(f"{project}/api/{path}", body)
        assert answer.status_code in (200, 201, 202), answer.text
        return answer.get_json()

    made("annotations", {"date": "2026-09-10", "text": "Sale"})
    bought = {"rule": {"is": "did", "event": {"name": "Order Completed"}}}
    cohort = made("cohorts", {"name": "Buyers", "definition": bought})
    board = made("boards", BOARD)
    share = made(f"boards/{board['id']}/shares", {})
    made("sql/queries", {"name": "All", "sql": "SELECT COUNT(*) AS n FROM events"})
    made("exports", {"name": "All", "format": "csv", "sql": "SELECT event_id FROM events"})
    kept = exports.shelf
    for job in kept.open_jobs():
        work_on(job, kept, exports.settings, here.app)
    (letter,) = root.get(f"{project}/api/dead-letters").get_json()["letters"]
    group = re.search(r"/p/demo/errors/(?!vitals)[^\"?]+", root.get(f"{project}/errors").text)
    assert group is not None
    below = {
        "live": "", "daily": "daily", "sql": "sql", "boards": "boards",
        "annotations": "annotations",
        "cohorts": "cohorts", "new cohort": "cohorts/new", "cohort": f"cohorts/{cohort['id']}",
        "exports": "exports", "errors": "errors", "performance": "errors/vitals",
        "quality": "quality", "quality of an event": "quality?event=Product+Viewed",
        "health": "health", "dead letters": "dead-letters",
        "dead letter": f"dead-letters/one?id={letter['dead_letter_id']}",
        "reconciliation": "reconciliation", "members": "people", "audit of demo": "audit",
        "own board": f"boards/{board['id']}",
        **{f"board {name}": f"boards/{name}" for name in built_in()},
        **{f"explore {kind}": f"explore/{kind}" for kind in KINDS},
    }  # fmt: skip
    paths = {name: f"{project}/{path}" for name, path in below.items()}
    paths |= {
        "error": group[0], "account": "/account", "people": "/people", "audit": "/audit",
        "api": "/api", "share": share["path"], "set password": "/set-password", "no page": "/none",
    }  # fmt: skip
    return Furnished(here, root, paths)
