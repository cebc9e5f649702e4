"""Serves `tracker.js`, the browser's client: without comments, compressed, and under its hash.

What is served is made from `static/tracker.js` once, at the start. A page may pin it by its
hash (subresource integrity), so every address `/tracker.<hash>.js` that was ever handed out must
go on answering with the same bytes: `python -m collector.tracker` keeps the present ones in
`static/released/`, and is to be run before a release that changes the script.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import rjsmin  # type: ignore[import-untyped]
from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import NotFound

bp = Blueprint("tracker", __name__)

_STATIC = Path(__file__).parent / "static"
_HASH_DIGITS = 16
_HOUR_S, _YEAR_S = 3600, 365 * 86_400
_VERSION = re.compile(r"version: ?'([^']+)'")


@dataclass(frozen=True, slots=True)
class Script:
    """The bytes that browsers get, and what follows from them."""

    plain: bytes
    zipped: bytes
    digest: str  # names the address; the browser checks the whole of `integrity`
    integrity: str
    version: str


def script(plain: bytes) -> Script:
    """What belongs to these bytes. Raises ValueError where they name no version."""
    sha = hashlib.sha384(plain)
    found = _VERSION.search(plain.decode())
    if found is None:
        raise ValueError("no tracker: its text has no version: '…'")
    return Script(
        plain=plain,
        zipped=gzip.compress(plain, 9, mtime=0),  # no time: equal bytes from every process
        digest=sha.hexdigest()[:_HASH_DIGITS],
        integrity=f"sha384-{base64.b64encode(sha.digest()).decode()}",
        version=found[1],
    )


@cache
def current() -> Script:
    """The tracker of this version of Headwater."""
    return script(rjsmin.jsmin((_STATIC / "tracker.js").read_text()).encode())


@cache
def by_digest(released: Path = _STATIC / "released") -> dict[str, Script]:
    """Everything that pages may have pinned, the current one too."""
    kept = [script(path.read_bytes()) for path in sorted(released.glob("*.js"))]
    return {one.digest: one for one in (*kept, current())}


@bp.get("/tracker.js")
def get_tracker() -> Response:
    """The browser's client, JavaScript. Browsers ask again after an hour: 304 if it is the same."""
    return _serve(current(), f"public, max-age={_HOUR_S}")


@bp.get("/tracker.<digest>.js")
def get_pinned_tracker(digest: str) -> Response:
    """The same under its hash, for pages that pin it: never changes, cached for a year."""
    found = by_digest().get(digest)
    if found is None:
        raise NotFound("no tracker with this hash; /tracker.json names the present one")
    return _serve(found, f"public, max-age={_YEAR_S}, immutable")


@bp.get("/tracker.json")
def get_tracker_facts() -> Response:
    """Version, hash, sizes and the line to paste: {version, integrity, url, …, snippet}."""
    now = current()
    # Only shown, never trusted: behind a proxy that ends TLS the request itself came by http.
    secure = "https" in (request.scheme, request.headers.get("X-Forwarded-Proto"))
    url = f"{'https' if secure else 'http'}://{request.host}/tracker.{now.digest}.js"
    answer = jsonify(
        version=now.version,
        integrity=now.integrity,
        url=url,
        bytes=len(now.plain),
        gzip_bytes=len(now.zipped),
        snippet=f'<script async src="{url}" integrity="{now.integrity}" '
        'crossorigin="anonymous" data-key="hw_…"></script>',
    )
    return _open(answer, "no-cache")  # it says the host as it was asked for


def _serve(asked: Script, caching: str) -> Response:
    zipped = request.accept_encodings["gzip"] > 0
    response = Response(asked.zipped if zipped else asked.plain, mimetype="text/javascript")
    if zipped:
        response.headers["Content-Encoding"] = "gzip"
    response.vary.add("Accept-Encoding")
    response.headers["X-Content-Type-Options"] = "nosniff"
    # Weak: plain and zipped are the same script.
    response.set_etag(asked.digest, weak=True)
    response.make_conditional(request)
    return _open(response, caching)


def _open(response: Response, caching: str) -> Response:
    # For every page, also where a cache first kept the answer to a request without Origin.
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.headers["Cache-Control"] = caching
    return response


def keep(released: Path = _STATIC / "released") -> Path:
    """Write the present script to where its address is answered from after it has changed."""
    released.mkdir(exist_ok=True)
    path = released / f"{current().version}-{current().digest}.js"
    path.write_bytes(current().plain)
    return path


if __name__ == "__main__":
    print(keep())
