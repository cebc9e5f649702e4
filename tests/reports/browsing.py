"""Pages in Chromium for tests: a server in this process, a page that forgives nothing, pictures."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Flask
from playwright.sync_api import Browser, Page
from werkzeug.serving import make_server

from tests.system import ROOT

SHOTS = Path(os.environ.get("HEADWATER_SCREENSHOTS", ROOT / "build" / "screenshots"))
_VIOLATIONS = (
    "document.addEventListener('securitypolicyviolation', "
    "e => console.error('policy: ' + e.violatedDirective + ' ' + e.blockedURI))"
)


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    """The app's address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def watched(browser: Browser, width: int, *, answers: tuple[str, ...] = ()) -> Iterator[Page]:
    """A page; a script's error or a breach of the policy fails. answers: statuses that may come."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, permissions=["clipboard-read", "clipboard-write"]
    )
    context.add_init_script(_VIOLATIONS)
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "console",
        lambda m: (
            problems.append(f"{m.text} ({m.location['url']})")
            if m.type == "error" and not any(status in m.text for status in answers)
            else None
        ),
    )
    yield page
    context.close()
    assert not problems, problems  # not rewritten by pytest here


def fits(page: Page) -> bool:
    """Nothing makes the page itself scroll sideways."""
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    return bool(page.evaluate(wide) <= 0)


def shot(page: Page, name: str) -> None:
    """Keep how it looks, light and dark."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    width = (page.viewport_size or {"width": 0})["width"]
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(250)  # charts are drawn again
        page.screenshot(path=SHOTS / f"{name}-{width}-{scheme}.png", full_page=True)
    assert fits(page), f"{name} is wider than {width} px"
