"""HTTP surface of the collector: what it says of itself, and the protocols that it speaks.

Each protocol is one module with its adapter and its routes. Every route is: take, answer.
"""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint, Response, jsonify

from collector import tracker
from collector.desk import collaborators
from collector.protocols import (
    amplitude,
    cloudevents,
    jitsu,
    mixpanel,
    native,
    plausible,
    posthog,
    segment,
    snowplow,
)

bp = Blueprint("collector", __name__)


@bp.get("/health")
def health() -> Response:
    """Alive: touches nothing."""
    return jsonify(alive=True)


@bp.get("/health/bus")
@bp.get("/sink-health")
def bus_health() -> tuple[Response, int]:
    """Ready: can an event be handed over now? 503 if not. Snowplow knows it by the other name."""
    intake = collaborators().intake
    healthy = intake.bus_is_healthy()
    return jsonify(healthy=healthy, **asdict(intake.bus())), 200 if healthy else 503


@bp.get("/metrics")
def metrics() -> Response:
    """Counts of all worker processes, for Prometheus."""
    return collaborators().metrics.answer()


@bp.get("/robots.txt")
def robots() -> Response:
    """Nothing here is for crawlers."""
    return Response("User-agent: *\nDisallow: /\n", mimetype="text/plain")


PROTOCOLS = (
    segment.bp,
    native.bp,
    snowplow.bp,
    posthog.bp,
    cloudevents.bp,
    mixpanel.bp,
    amplitude.bp,
    jitsu.bp,
    plausible.bp,
)
BLUEPRINTS = (bp, tracker.bp, *PROTOCOLS)
