"""The report server's Flask app. `create_app` takes its collaborators; `serve` the real ones."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping

import pyarrow as pa
from flask import Flask, Response, jsonify, render_template, request
from flask.typing import ResponseValue
from jinja2 import StrictUndefined
from werkzeug.exceptions import HTTPException

from catalog import settings as settings_table
from catalog.documents import Documents
from catalog.metrics import MetricStore
from catalog.schemas import SchemaRegistry
from catalog.settings import Settings
from catalog.store import Catalog
from reports import annotated, navigation, reconcile, schemas
from reports.access import guard
from reports.boards import routes as boards
from reports.charts import explore
from reports.charts import routes as charts
from reports.cohorts import of_funnel
from reports.cohorts import routes as cohorts
from reports.exports import routes as exports
from reports.health import routes as system_health
from reports.insights import routes as insights
from reports.ledger import Books
from reports.live import routes as live_routes
from reports.live.store import LiveStore
from reports.present import clock as clock_text
from reports.present import number, percent
from reports.query import routes as query
from reports.routes import Collaborators, bp
from reports.schemas import views_of
from reports.warehouse.engine import QueryFailed, Warehouse

log = logging.getLogger(__name__)

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_LIVE_WINDOW_US = 24 * 3_600_000_000
_MAX_BODY_BYTES = 2 << 20  # the longest query, every character escaped


def create_app(
    settings: Settings,
    projects: Callable[[], Mapping[str, str]],
    clock: Callable[[], int],
) -> Flask:
    """The app. projects: time zone by project; clock: now in us."""
    app = Flask("reports", root_path=os.path.dirname(__file__))
    app.config["MAX_CONTENT_LENGTH"] = _MAX_BODY_BYTES
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(percent=percent, number=number, clock=clock_text)
    live_path = str(settings.path("live.db"))

    def minutes(project: str) -> tuple[pa.Table, int | None]:
        """The last day's live minutes, for the SQL table `live_minutes`."""
        store, now = LiveStore(live_path, project), clock()
        updated_at = store.progress().updated_at  # first: the rows are never older than it says
        return store.as_table(now - _LIVE_WINDOW_US, now), updated_at

    registry = SchemaRegistry(Catalog(settings.catalog_url))
    warehouse = Warehouse(
        settings,
        minutes,
        typed=lambda project: views_of(registry, project),
        zone=lambda project: projects().get(project),
        cohorts=lambda project, names: app.extensions["cohorts"].belonging(project, names),
    )
    projects = guard.install(app, settings, projects, clock)
    app.extensions["reports"] = Collaborators(
        projects=projects,
        clock=clock,
        live_path=live_path,
        warehouse=warehouse,
        books=Books(settings.spool, warehouse.files),
        metrics=MetricStore(Catalog(settings.catalog_url)).of,
    )
    app.register_blueprint(bp)
    app.register_blueprint(insights.bp)
    navigation.install(app)
    charts.install(app, settings)
    app.register_blueprint(explore.bp)
    boards.install(app, settings)
    live_routes.install(app)
    cohorts.install(app, settings, warehouse)
    of_funnel.install(app)
    query.install(app, settings, warehouse)
    documents = Documents(Catalog(settings.catalog_url))
    annotated.install(app, documents)
    exports.install(app, settings, documents)
    app.register_blueprint(reconcile.bp)
    schemas.install(app, registry, warehouse)
    system_health.install(app, settings, warehouse)
    app.register_error_handler(HTTPException, _sorry)
    app.register_error_handler(QueryFailed, _not_now)
    app.register_error_handler(Exception, _our_fault)
    app.after_request(_protect)
    return app


def serve() -> Flask:
    """The app of one worker process, on the real catalogue and clock."""
    settings = settings_table.read(os.environ)
    catalog = Catalog(settings.catalog_url)
    return create_app(settings, catalog.time_zones, lambda: time.time_ns() // 1000)


def _protect(response: Response) -> Response:
    response.headers.update(_HEADERS)
    return response


def _sorry(error: HTTPException) -> tuple[ResponseValue, int]:
    return _problem(error.name, error.description or "", error.code or 500)


def _not_now(error: QueryFailed) -> tuple[ResponseValue, int]:
    """A page's own query found no room."""
    return _problem("Not now", str(error), 503)


def _our_fault(error: Exception) -> tuple[ResponseValue, int]:
    log.exception("page failed: %s", type(error).__name__)
    text = "This is our fault, not yours. The log of the reports process says what happened."
    return _problem("That went wrong", text, 500)


def _problem(title: str, text: str, status: int) -> tuple[ResponseValue, int]:
    """A page for people, JSON for programs."""
    if "/api/" in request.path:
        return jsonify(message=text), status
    return render_template("error.html", title=title, text=text), status
