"""How a running job is doing, over HTTP: a page, JSON, and its counters for Prometheus."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from apache_beam.runners.runner import PipelineResult, PipelineState
from flask import Flask, Response, jsonify, render_template_string
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector
from werkzeug.serving import make_server

from beam_pipelines.counters import Counter, totals

log = logging.getLogger(__name__)

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><meta http-equiv="refresh" content="5">
<title>Headwater: {{ job }}</title>
<style>:root{color-scheme:light dark;font:16px/1.5 system-ui}body{max-width:46rem;margin:2rem auto;
padding:0 1rem}td{padding:.2rem .8rem .2rem 0;vertical-align:top}td.n{text-align:right;
font-variant-numeric:tabular-nums}</style>
<h1>{{ job }}</h1><p>State: <strong>{{ state }}</strong>. Counts since this run began; a run that
takes over from one that was killed reads some blocks again.</p>
<table>{% for name, value in counts %}<tr><td class="n">{{ "{:,}".format(value) }}</td>
<td>{{ name.replace("_", " ") }}</td></tr>{% else %}<tr><td>Nothing counted yet.</td></tr>
{% endfor %}</table></html>"""


def counts(result: PipelineResult) -> dict[Counter, int]:
    """The counters now."""
    # A portable result asks its job server once and keeps the answer for ever.
    if hasattr(result, "_metrics"):
        result._metrics = None
    return totals(result)


class _Counts(Collector):
    def __init__(self, result: PipelineResult) -> None:
        self._result = result

    def collect(self) -> Iterator[CounterMetricFamily]:
        for name, value in counts(self._result).items():
            yield CounterMetricFamily(f"headwater_pipeline_{name}", name.replace("_", " "), value)


def create_app(job: str, result: PipelineResult) -> Flask:
    """`/`, `/health` and `/metrics` of a job that runs."""
    app = Flask("pipeline", static_folder=None)
    registry = CollectorRegistry()
    registry.register(_Counts(result))

    @app.get("/")
    def page() -> str:
        # Every job has its own: the zeros of the others' would hide what this one does.
        shown = [(name, value) for name, value in counts(result).items() if value]
        return render_template_string(_PAGE, job=job, state=result.state, counts=shown)

    @app.get("/health")
    def health() -> tuple[Response, int]:
        running = result.state == PipelineState.RUNNING
        said = jsonify(job=job, alive=running, state=result.state, counters=counts(result))
        return said, 200 if running else 503

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return app


@contextmanager
def served(job: str, result: PipelineResult, port: int) -> Iterator[None]:
    """Serve it on 127.0.0.1 until the block ends; 0: not at all.

    A port that is taken is no reason not to count events: it is logged, and the job goes on.
    """
    if not port:
        yield
        return
    try:
        server = make_server("127.0.0.1", port, create_app(job, result), threaded=True)
    except (OSError, SystemExit) as error:  # werkzeug exits on a port in use
        log.warning("%s: no health page on port %d: %s", job, port, error)
        yield
        return
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    thread = threading.Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
