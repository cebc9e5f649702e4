"""The collector's Flask app. `create_app` takes its collaborators; `serve` builds the real ones."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from catalog import policies
from catalog import settings as settings_table
from catalog.schemas import SchemaRegistry
from catalog.settings import Settings
from catalog.store import Catalog
from collector import debug, logs
from collector.bus.opened import open_bus
from collector.desk import Collaborators
from collector.front import Front
from collector.gather import Gatherer
from collector.geo import Geo
from collector.guard import Guard
from collector.intake import Intake
from collector.keys import KeyRing
from collector.limits import Limits
from collector.metrics import Metrics, measure
from collector.privacy import Privacy, behind_proxies
from collector.problems import Problem, answer
from collector.protocols import snowplow
from collector.routes import BLUEPRINTS
from collector.suppression import SuppressionList
from collector.validation import Validator
from collector.visitors import Visitors
from transforms.bots import is_bot

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)
_CORS_MAX_AGE_S = 3600
_SWITCH_S = 0.001


@dataclass(frozen=True)
class Parts:
    """What the app is made of. clock: now in us."""

    settings: Settings
    keys: KeyRing
    gatherer: Gatherer
    guard: Guard
    metrics: Metrics
    clock: Callable[[], int]


def create_app(parts: Parts) -> Flask:
    """The app of these parts."""
    settings, keys, guard = parts.settings, parts.keys, parts.guard
    app = Flask("collector", static_folder=None)
    kit = debug.install(app, keys, guard.validator.explain, endpoints=settings.debug_endpoints > 0)
    intake = Intake(
        parts.gatherer, guard, parts.metrics, (kit,), parts.clock, settings.max_batch_events
    )
    visitors = Visitors(settings.path("visitors"), parts.clock)
    app.extensions["collector"] = Collaborators(settings, keys, intake, parts.metrics, visitors)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    app.register_error_handler(Problem, _answer_problem)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(Exception, _answer_bug)
    app.after_request(_allow_origin)
    app.wsgi_app = _without_trailing_slash(app.wsgi_app)  # type: ignore[method-assign, assignment]
    app.wsgi_app = behind_proxies(app.wsgi_app, settings.trusted_proxies)  # type: ignore[method-assign, assignment]
    measure(app, parts.metrics)
    return app


def serve() -> Front:
    """The app of one worker process, on the real catalogue, bus and clock."""
    # What is there now stays; looking through it again and again took a tenth of each request.
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    # Beyond capacity the server's own thread must get a turn, to bring in what is to be refused.
    sys.setswitchinterval(_SWITCH_S)
    is_bot("")  # its patterns take half a second to compile, which is nobody's request
    logs.configure()
    logs.catch_uncaught()
    settings = settings_table.read(os.environ)
    catalog = Catalog(settings.catalog_url)
    metrics = Metrics()
    gatherer = Gatherer(
        open_bus(settings), settings.max_waiting_events, settings.block_interval_s, metrics
    )
    metrics.watch("headwater_collector_waiting_events", gatherer.waiting)
    metrics.watch("headwater_collector_queued_blocks", lambda: gatherer.bus().queued_blocks)
    atexit.register(metrics.close)
    atexit.register(gatherer.close)
    app = create_app(
        Parts(
            settings=settings,
            keys=KeyRing(catalog.keys, settings.key_refresh_s, time.monotonic),
            gatherer=gatherer,
            guard=_guard(settings, catalog),
            metrics=metrics,
            clock=lambda: time.time_ns() // 1000,
        )
    )
    return Front(
        app.wsgi_app,
        metrics.turned_away,
        threads=settings.collector_threads,
        max_bytes=settings.max_body_bytes,
        busy_after_s=settings.busy_after_s,
    )


def _guard(settings: Settings, catalog: Catalog) -> Guard:
    refresh_s = settings.key_refresh_s
    database = settings.geoip_database
    return Guard(
        limits=Limits(settings.path("limits"), time.time),
        privacy=Privacy(Geo(Path(database), time.monotonic) if database else None),
        people=SuppressionList(
            lambda known: policies.suppressed(catalog, known), refresh_s, time.monotonic
        ),
        validator=Validator(SchemaRegistry(catalog).all, refresh_s, time.monotonic),
        max_event_bytes=settings.max_event_bytes,
    )


def _answer_problem(problem: Problem) -> Response:
    response = answer(problem)
    response.status_code = snowplow.softened(problem.status, request.path)
    return response


def _answer_http(error: HTTPException) -> Response:
    status = error.code or 500
    code = (error.name or "error").lower().replace(" ", "_")
    response = _answer_problem(
        Problem(status, code, f"{request.method} {request.path}: {error.description}")
    )
    if isinstance(error, MethodNotAllowed):
        response.allow.update(error.valid_methods or ())
    return response


def _answer_bug(error: Exception) -> Response:
    # The text of an exception may quote an event: its kind and place are enough to find it.
    rule = request.url_rule  # not the path: that may hold a key
    log.error("%s on %s", type(error).__name__, rule, exc_info=_place_only(error))
    return answer(Problem(500, "internal_error", "our fault; try again", 5))


def _place_only(error: Exception) -> tuple[type[Exception], Exception, Any]:
    bare = RuntimeError("text left out: it may quote an event")
    return type(bare), bare, error.__traceback__


def _allow_origin(response: Response) -> Response:
    """CORS for every origin: the write key, not the origin, says whose events they are."""
    environ = request.environ
    origin = environ.get("HTTP_ORIGIN")
    if origin:
        asked = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "authorization, content-type")
        response.headers.update(
            {
                "Access-Control-Allow-Origin": origin,
                "Access-Control-Allow-Credentials": "true",
                "Access-Control-Allow-Headers": asked,
                "Access-Control-Allow-Methods": "GET, POST, HEAD, OPTIONS",
                "Access-Control-Max-Age": str(_CORS_MAX_AGE_S),
            }
        )
        # A page may read no header but those named: it must know when to try again.
        response.headers.setdefault("Access-Control-Expose-Headers", "Retry-After")
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
