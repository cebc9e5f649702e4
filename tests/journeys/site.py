"""A web site on another loopback origin than the collector's, and what its visitors left behind."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import polars as pl
from playwright.sync_api import BrowserContext, Page, Response

from beam_pipelines.connectors.spool import ProducerLog
from schemas_avro import block, load
from tests.system import System, wait_for
from transforms.context import promote

# The strictest policy that a page with the tracker can have: no inline script, no wildcard.
POLICY = (
    "default-src 'none'; script-src 'self' {collector}; connect-src {collector}; frame-src 'self'"
)


@dataclass(frozen=True)
class Variant:
    """How a page embeds the tracker. Pages lie at `/<variant>/…`, whatever follows."""

    attributes: str = ""
    inline: str = ""  # an inline script before the tracker's; it needs a looser policy
    frame: str = ""  # a page shown in a sandboxed frame instead


class Site:
    """Serves a page for every path; its first part names the variant."""

    def __init__(self, collector: str, tracker: dict[str, Any], variants: dict[str, Variant]):
        self._collector, self._tracker, self._variants = collector, tracker, variants
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site._answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator[Site]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        first = request.path.split("/")[1].partition("?")[0]
        variant = self._variants.get(first)
        body = "" if variant is None else self._page(variant, request.path)
        policy = POLICY.format(collector=self._collector)
        if variant is not None and variant.inline:
            policy = policy.replace("'self'", "'self' 'unsafe-inline'", 1)
        data = body.encode()
        request.send_response(404 if variant is None else 200)
        request.send_header("Content-Type", "text/html; charset=utf-8")
        request.send_header("Content-Length", str(len(data)))
        request.send_header("Content-Security-Policy", policy)
        request.end_headers()
        request.wfile.write(data)

    def _page(self, variant: Variant, path: str) -> str:
        title = path.partition("?")[0]
        head = f"<!doctype html><html lang=en><title>{title}</title><link rel=icon href='data:,'>"
        if variant.frame:
            return f'{head}<iframe sandbox="allow-scripts" src="{variant.frame}"></iframe>'
        tracker = (
            f'<script async src="{self._tracker["url"]}" crossorigin="anonymous" '
            f'integrity="{self._tracker["integrity"]}" {variant.attributes}></script>'
        )
        inline = f"<script>{variant.inline}</script>" if variant.inline else ""
        return f"{head}{inline}{tracker}<h1>{title}</h1><button>Press</button><p>Text"


def arrived(system: System, source: str) -> list[dict[str, Any]]:
    """Every row of the source in the spool's blocks, copies included, columns as archived."""
    rows: list[dict[str, Any]] = []
    for directory in sorted((system.data / "spool" / "events").iterdir()):
        log = ProducerLog(str(directory))
        for frame in log.read(0):
            _, found = block.decode(load("event"), frame.payload)
            rows += promote(found.filter(pl.col("source") == source)).to_dicts()
        log.close()
    return rows


def once(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows without copies, by id, in the order of their making."""
    by_id = {row["event_id"]: row for row in rows}
    return sorted(by_id.values(), key=lambda row: row["original_time"])


def wait_until_arrived(
    system: System, source: str, wanted: dict[str, int], seconds: float = 15
) -> list[dict[str, Any]]:
    """The source's events without copies, once there are as many of each name as wanted."""

    def look() -> list[dict[str, Any]] | None:
        rows = once(arrived(system, source))
        counted = Counter(row["name"] or row["type"] for row in rows)
        if counted == wanted:
            return rows
        raise AssertionError(f"{dict(counted)} instead of {wanted}")

    found = wait_for(look, seconds=seconds, what=f"events of {source}")
    assert found is not None
    return found


@dataclass(frozen=True)
class Visitor:
    """Somebody with a storage of their own on the site, and what of their visits arrived.

    Arrived is what lies in the collector's blocks. Events have names of their own, so that "each
    exactly once" is counted by name, not by the ids that the tracker itself made.
    """

    system: System
    site: Site
    context: BrowserContext

    @property
    def origin(self) -> str:
        return self.site.origin

    def visit(self, path: str) -> Page:
        """The page, with the tracker loaded."""
        page = self.context.new_page()
        page.goto(self.origin + path)
        page.wait_for_function("window.headwater && headwater.version")
        return page

    def land(self, variant: str) -> Page:
        """The first page of the variant, its view arrived."""
        page = self.visit(f"/{variant}/")
        self.wait_until_arrived(variant, {"page": 1})
        return page

    def arrived(self, source: str) -> list[dict[str, Any]]:
        """See `arrived`."""
        return arrived(self.system, source)

    def wait_until_arrived(
        self, source: str, wanted: dict[str, int], seconds: float = 15
    ) -> list[dict[str, Any]]:
        """See `wait_until_arrived`."""
        return wait_until_arrived(self.system, source, wanted, seconds)


def stored(page: Page) -> dict[str, str]:
    """localStorage, keys without the write key."""
    found: dict[str, str] = page.evaluate("({...localStorage})")
    return {name.rpartition(":")[2]: value for name, value in found.items()}


def queued(page: Page) -> int:
    count: int = page.evaluate("Object.keys(localStorage).filter(k => /:q[^:]*$/.test(k)).length")
    return count


def ticks(first: int, last: int) -> dict[str, int]:
    return {f"Tick {n}": 1 for n in range(first, last + 1)}


def track_ticks(page: Page, first: int, last: int) -> None:
    page.evaluate(
        "([a, b]) => { for (let n = a; n <= b; n++) headwater.track('Tick ' + n) }", [first, last]
    )


def context_of(row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(row["context"])
    return found


def properties_of(row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(row["properties"])
    return found


def answers(page: Page) -> list[tuple[int, float]]:
    """Status and time in s of every answer to a batch from now on."""
    seen: list[tuple[int, float]] = []

    def note(response: Response) -> None:
        if response.url.endswith("/v1/b"):
            seen.append((response.status, time.monotonic()))

    page.on("response", note)
    return seen
