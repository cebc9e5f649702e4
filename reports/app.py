"""The report server's Flask app. `create_app` takes its collaborators; `serve` the real ones."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa
from flask import Flask, Response, render_template
from jinja2 import StrictUndefined
from werkzeug.exceptions import HTTPException

from catalog import settings as settings_table
from catalog.settings import Settings
from catalog.store import Catalog
from reports.live.store import LiveStore
from reports.present import percent
from reports.routes import Collaborators, bp
from reports.warehouse.engine import Warehouse

log = logging.getLogger(__name__)

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
_LIVE_WINDOW_US = 24 * 3_600_000_000


@dataclass(frozen=True)
class _Minutes:
    """The last day's live minutes of a project, for the SQL table `live_minutes`."""

    live_path: str
    clock: Callable[[], int]

    def __call__(self, project: str) -> pa.Table:
        now = self.clock()
        return LiveStore(self.live_path, project).as_table(now - _LIVE_WINDOW_US, now)


def create_app(
    settings: Settings,
    projects: Callable[[], Mapping[str, str]],
    clock: Callable[[], int],
) -> Flask:
    """The app. projects: time zone by project; clock: now in us."""
    app = Flask("reports", root_path=os.path.dirname(__file__))
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters["percent"] = percent
    app.jinja_env.filters["number"] = lambda value: f"{value:,}"
    live_path = str(settings.path("live.db"))
    app.extensions["reports"] = Collaborators(
        settings=settings,
        projects=projects,
        clock=clock,
        live_path=live_path,
        warehouse=Warehouse(settings, _Minutes(live_path, clock)),
    )
    app.register_blueprint(bp)
    app.register_error_handler(HTTPException, _sorry)
    app.register_error_handler(Exception, _our_fault)
    app.after_request(_guard)
    return app


def serve() -> Flask:
    """The app of one worker process, on the real catalogue and clock."""
    settings = settings_table.read(os.environ)
    catalog = Catalog(settings.catalog_url)
    return create_app(settings, catalog.time_zones, lambda: time.time_ns() // 1000)


def _guard(response: Response) -> Response:
    response.headers.update(_HEADERS)
    return response


def _sorry(error: HTTPException) -> tuple[str, int]:
    page = render_template("error.html", title=error.name, text=error.description)
    return page, error.code or 500


def _our_fault(error: Exception) -> tuple[str, int]:
    log.exception("page failed: %s", type(error).__name__)
    text = "This is our fault, not yours. The log of the reports process says what happened."
    return render_template("error.html", title="That went wrong", text=text), 500
