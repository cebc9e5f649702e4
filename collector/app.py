"""The collector's Flask app. `create_app` takes its collaborators; `serve` builds the real ones."""

from __future__ import annotations

import atexit
import logging
import os
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from catalog import settings as settings_table
from catalog.settings import Settings
from catalog.store import Catalog
from collector import tracker
from collector.bus.spool import SpoolPublisher
from collector.desk import Collaborators
from collector.gather import Gatherer
from collector.intake import Intake
from collector.keys import KeyRing
from collector.problems import Problem, answer
from collector.routes import bp

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)
_CORS_MAX_AGE_S = 3600


def create_app(
    settings: Settings, keys: KeyRing, gatherer: Gatherer, clock: Callable[[], int]
) -> Flask:
    """The app. clock: now in us."""
    app = Flask("collector", static_folder=None)
    app.extensions["collector"] = Collaborators(settings, keys, Intake(gatherer, clock, settings))
    app.register_blueprint(bp)
    app.register_blueprint(tracker.bp)
    app.register_error_handler(Problem, answer)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(Exception, _answer_bug)
    app.after_request(_allow_origin)
    app.wsgi_app = _without_trailing_slash(app.wsgi_app)  # type: ignore[method-assign, assignment]
    return app


def serve() -> Flask:
    """The app of one worker process, on the real catalogue, spool and clock."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    settings = settings_table.read(os.environ)
    keys = KeyRing(Catalog(settings.catalog_url).keys, settings.key_refresh_s, time.monotonic)
    publisher = SpoolPublisher(settings.path("spool"), segment_bytes=settings.segment_bytes)
    gatherer = Gatherer(publisher, settings.max_waiting_events)
    atexit.register(gatherer.close)
    return create_app(settings, keys, gatherer, lambda: time.time_ns() // 1000)


def _answer_http(error: HTTPException) -> Response:
    status = error.code or 500
    code = (error.name or "error").lower().replace(" ", "_")
    response = answer(
        Problem(status, code, f"{request.method} {request.path}: {error.description}")
    )
    if isinstance(error, MethodNotAllowed):
        response.allow.update(error.valid_methods or ())
    return response


def _answer_bug(error: Exception) -> Response:
    # The text of an exception may quote an event: its kind and place are enough to find it.
    log.error("%s on %s", type(error).__name__, request.path, exc_info=_place_only(error))
    return answer(Problem(500, "internal_error", "our fault; try again", 5))


def _place_only(error: Exception) -> tuple[type[Exception], Exception, Any]:
    bare = RuntimeError("text left out: it may quote an event")
    return type(bare), bare, error.__traceback__


def _allow_origin(response: Response) -> Response:
    """CORS for every origin: the write key, not the origin, says whose events they are."""
    origin = request.headers.get("Origin")
    if origin:
        asked = request.headers.get("Access-Control-Request-Headers", "authorization, content-type")
        response.headers.update(
            {
                "Access-Control-Allow-Origin": origin,
                "Access-Control-Allow-Credentials": "true",
                "Access-Control-Allow-Headers": asked,
                "Access-Control-Allow-Methods": "GET, POST, PUT, HEAD, OPTIONS",
                "Access-Control-Max-Age": str(_CORS_MAX_AGE_S),
            }
        )
        response.vary.add("Origin")
    return response


def _without_trailing_slash(app: WSGIApplication) -> WSGIApplication:
    """Every path works with and without: SDKs differ, and a redirect would lose the body."""

    def stripped(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if len(path) > 1 and path.endswith("/"):
            environ["PATH_INFO"] = path.rstrip("/") or "/"
        return app(environ, start_response)

    return stripped
