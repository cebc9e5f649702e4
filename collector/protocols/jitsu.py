"""Jitsu's HTTP API: Segment's messages under other paths."""

from __future__ import annotations

from functools import partial

from flask import Blueprint, Response, jsonify, request

from collector import desk
from collector.keys import key_of_body
from collector.problems import Problem
from collector.protocols import segment
from collector.protocols.fields import members, scalar, text

bp = Blueprint("jitsu", __name__)


@bp.post("/api/s/<kind>")
@bp.post("/api/s/s2s/<kind>")
def post_jitsu(kind: str) -> Response:
    """One message of the type in the path, or of its own where that is `event`; or a `batch`."""
    data = desk.body()
    key = desk.key_of_request() or request.args.get("writekey") or key_of_body(data)
    adapt = segment.batch if kind == "batch" else partial(segment.single, _type(kind, data))
    desk.take_in(data, adapt, key)
    return jsonify(ok=True)


def _type(kind: str, data: bytes) -> str:
    """Raises Problem: 404 for a path that is none, 400 for a body that is no object."""
    if kind == "event":
        return text(scalar(members(data).get("type", b""))) or ""
    if kind not in segment.SHORT.values():
        raise Problem(404, "unknown_route", f"/api/s/{kind} is no route")
    return kind
