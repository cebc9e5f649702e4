"""The real report server in its own process, and how its pages look."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
from playwright.sync_api import Page, expect

from tests.system import ROOT, free_port, wait_for

SHOTS = Path(os.environ.get("HEADWATER_SCREENSHOTS", ROOT / "build" / "screenshots"))


def serve(directory: Path, **more: str) -> Iterator[str]:
    """`python -m reports`, as an operator starts it."""
    port = free_port()
    environ = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")}
    given = {"HEADWATER_DATA_DIR": str(directory), "HEADWATER_REPORTS_PORT": str(port)}
    log = (directory / "log").open("wb")
    running = subprocess.Popen(
        [sys.executable, "-m", "reports"], env=environ | given | more, cwd=ROOT, stderr=log
    )
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{address}/health").status_code == 200
        except httpx.TransportError:
            return False

    wait_for(answers, seconds=60, what="the report server")
    yield address
    running.terminate()
    running.wait(timeout=20)
    log.close()


def shown_once(page: Page) -> str:
    """The token or link that the page shows, as soon as it does."""
    expect(page.locator("#made")).to_be_visible()
    return page.locator("#secret").inner_text()
