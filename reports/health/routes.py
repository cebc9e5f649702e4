"""The health page and its JSON; and the dead letters: list, inspect, fix, replay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import urlencode

import msgspec
from flask import Blueprint, Flask, Response, abort, current_app, jsonify, request
from flask.typing import ResponseReturnValue

from catalog.settings import Settings
from reports.access.needs import needs
from reports.access.record import record
from reports.access.scope import sees_all_projects
from reports.health import error_pages, quality_pages
from reports.health.letters import PAGE_ROWS, STATES, Chosen, LetterError, one, page_of
from reports.health.probes import Health, Probes
from reports.health.replays import Busy, Replay, ReplayError, Replays
from reports.present import when
from reports.query.here import body, page, takes, user, zone_of
from reports.warehouse.engine import Warehouse
from transforms.failures import Reason

bp = Blueprint("system_health", __name__, url_prefix="/p/<project>")


class StartReplay(msgspec.Struct, frozen=True):
    """Letters to try again. reason, source: empty for all; from, to: UTC days of receipt.

    edits: TOML, see docs/pipelines.md; preview: say what would become of them, and change nothing
    """

    reason: str = ""
    source: str = ""
    first: str = msgspec.field(default="", name="from")
    last: str = msgspec.field(default="", name="to")
    edits: str = ""
    preview: bool = True


@dataclass(frozen=True)
class _Collaborators:
    probes: Probes
    replays: Replays
    warehouse: Warehouse


def install(app: Flask, settings: Settings, warehouse: Warehouse) -> None:
    """Put the routes onto the app."""
    others = app.extensions["reports"]
    app.extensions["health"] = _Collaborators(
        Probes(settings, warehouse, others.books, others.live_path), Replays(settings), warehouse
    )
    app.register_blueprint(bp)
    app.register_blueprint(error_pages.bp)
    app.register_blueprint(quality_pages.bp)


def _with() -> _Collaborators:
    found: _Collaborators = current_app.extensions["health"]
    return found


def _now() -> int:
    now: int = current_app.extensions["reports"].clock()
    return now


# -- Health


@bp.get("/health")
@needs("viewer")
def health_page(project: str) -> str:
    """Every part of the system with its state and what to do; and the runs of scheduled jobs."""
    return page("health.html", project, health=_health(project))


@bp.get("/api/health")
@needs("viewer")
def health_json(project: str) -> Response:
    """{"state", "checks": [{name, title, state, said, remedy, figures}], "runs": [...], "note"}.

    state is ok, unknown, late or down: that of the part that is worst off. What could not be looked
    at is unknown, and never ok. Numbers over all projects, and runs, are for admins of everything;
    `note` says so to others.
    """
    return jsonify(_health(project))


def _health(project: str) -> dict[str, Any]:
    zone, now = zone_of(project), _now()
    found: Health = _with().probes.look(project, now, whole=sees_all_projects())
    return {
        "state": found.state,
        "as_of": when(now, zone),
        "time_zone": zone,
        "note": found.note,
        "checks": [asdict(check) for check in found.checks],
        "runs": [
            {
                "job": run.job,
                "flags": list(run.flags),
                "started_at": when(run.started_at, zone),
                "seconds": round((run.ended_at - run.started_at) / 1e6, 1),
                "outcome": run.outcome,
                "exit_code": run.exit_code,
                "message": run.message,
            }
            for run in found.runs
        ],
    }


# -- Dead letters


@bp.get("/dead-letters")
@needs("analyst")
def letters_page(project: str) -> str:
    """What was refused: ?reason=&source=&state=&q=&from=&to=&page=."""
    chosen, found = _chosen(), _letters(project)
    others = {name: value for name, value in request.args.items() if name != "page" and value}

    def at(number: int) -> str:
        return "?" + urlencode({**others, "page": number})

    return page(
        "dead_letters.html",
        project,
        zone=zone_of(project),
        chosen=chosen,
        found=found,
        others=others,
        at=at,
        every_reason=[reason.value for reason in Reason],
        states=STATES,
        replays=[_told(one, zone_of(project)) for one in _newest(project)],
    )


@bp.get("/api/dead-letters")
@needs("analyst")
def letters_json(project: str) -> Response:
    """The same as JSON: {"letters", "total", "page", "pages", "reasons", "sources"}."""
    return jsonify(**_letters(project), page=_chosen().page)


@bp.get("/dead-letters/one")
@needs("analyst")
def letter_page(project: str) -> str:
    """One letter whole; ?id=."""
    zone = zone_of(project)
    return page("dead_letter.html", project, letter=_letter(project, zone), zone=zone)


@bp.get("/api/dead-letters/one")
@needs("analyst")
def letter_json(project: str) -> Response:
    """One letter whole, with the remedy for its reason; ?id=."""
    return jsonify(_letter(project, zone_of(project)))


@bp.get("/dead-letters/original")
@needs("analyst")
def letter_original(project: str) -> Response:
    """The bytes of a letter as they were received, to save; ?id=."""
    zone_of(project)
    found = one(_with().warehouse, project, request.args.get("id", ""))
    if found is None:
        abort(404, "There is no dead letter of that id.")
    answer = Response(found["original"] or b"", mimetype="application/octet-stream")
    answer.headers["Content-Disposition"] = 'attachment; filename="original.bin"'
    return answer


def _chosen() -> Chosen:
    try:
        return Chosen.read(request.args)
    except LetterError as error:
        abort(400, str(error))


def _letters(project: str) -> dict[str, Any]:
    zone = zone_of(project)
    found = page_of(_with().warehouse, project, _chosen())
    return {
        "letters": [
            {**{n: v for n, v in row.items() if n != "total"},
             "received_time": when(row["received_time"], zone)}
            for row in found.rows
        ],
        "total": found.total,
        "pages": -(-found.total // PAGE_ROWS),
        "reasons": [{"reason": reason, "letters": number} for reason, number in found.reasons],
        "sources": found.sources,
        "as_of": when(found.as_of, zone),
    }  # fmt: skip


def _letter(project: str, zone: str) -> dict[str, Any]:
    id_ = request.args.get("id", "")
    found = one(_with().warehouse, project, id_)
    if found is None:
        abort(404, f"There is no dead letter {id_[:200]!r} in {project}.")
    times = {name: when(found[name], zone) for name in ("received_time", "replayed_time")}
    return {n: v for n, v in {**found, **times}.items() if n not in ("original", "original_text")}


# -- Replays


@bp.post("/api/replays")
@needs("analyst")
@takes(StartReplay)
def start_replay(project: str) -> ResponseReturnValue:
    """Try letters again, or preview that: 202 {"id"}; 409 while another one is under way."""
    zone_of(project)
    try:
        asked = msgspec.convert(body(), StartReplay, strict=True)
        chosen = Chosen.read(
            {"reason": asked.reason, "source": asked.source, "from": asked.first, "to": asked.last}
        )
        if not asked.preview:
            record("dead_letters.replay", " ".join(chosen.flags()) or "all")
        started = _with().replays.start(
            project,
            replace(chosen, page=1).flags(),
            asked.edits,
            is_preview=asked.preview,
            author=user(),
            now=_now(),
        )
    except Busy as error:
        return jsonify(message=str(error)), 409
    except (msgspec.ValidationError, LetterError, ReplayError) as error:
        return jsonify(message=str(error)), 400
    return jsonify(id=started), 202


@bp.get("/api/replays")
@needs("analyst")
def replays_json(project: str) -> Response:
    """The newest ten of the project."""
    zone = zone_of(project)
    return jsonify(replays=[_told(found, zone) for found in _newest(project)])


@bp.get("/api/replays/<replay>")
@needs("analyst")
def replay_json(project: str, replay: str) -> Response:
    """How one is going: state, done, total, output; counts of a preview, result of a replay."""
    zone = zone_of(project)
    found = _with().replays.find(project, replay)
    if found is None:
        abort(404, f"There is no replay {replay!r} in {project}.")
    return jsonify(_told(found, zone))


def _newest(project: str) -> list[Replay]:
    return _with().replays.newest(project)


def _told(found: Replay, zone: str) -> Mapping[str, Any]:
    return {**asdict(found), "started_at": when(found.started_at, zone)}
