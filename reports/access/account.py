"""One's own account: password, tokens, sessions."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, abort, g, jsonify, make_response, render_template
from flask.typing import ResponseReturnValue

from catalog.sessions import id_of
from catalog.store import CatalogError
from catalog.tokens import Scope, Token
from catalog.users import Person
from reports.access.caller import rank
from reports.access.cookie import begin, finish
from reports.access.needs import Role, needs
from reports.access.parts import access, address, caller
from reports.access.record import record
from reports.access.sent import field, sent, texts, whole

bp = Blueprint("account", __name__)
# The role that a scope is worth something with.
_WORTH: dict[Scope, Role] = {
    "read": "viewer",
    "sql": "analyst",
    "export": "analyst",
    "write": "analyst",
    "admin": "admin",
}
SCOPE_TEXTS: dict[Scope, str] = {
    "read": "look at pages and ask what dashboards ask",
    "sql": "run SQL",
    "export": "make and fetch exports",
    "write": "save queries, dashboards, cohorts, schemas",
    "admin": "people and settings of the project",
}


@bp.get("/account")
@needs("viewer", browser=True)
def page() -> ResponseReturnValue:
    """Password, tokens and sessions of whoever is signed in."""
    me, parts = _me(), access()
    mine = id_of(g.session_secret)
    return render_template(
        "account.html",
        me=me,
        projects=_projects(),
        tokens=parts.tokens.of(me.id),
        sessions=[(one, one.id == mine) for one in parts.sessions.of(me.id)],
        scopes=SCOPE_TEXTS,
        now=parts.clock(),
    )


@bp.post("/api/account/password")
@needs("viewer", browser=True)
def change_password() -> ResponseReturnValue:
    """Change {"old"} into {"new"}; all other browsers are signed out."""
    me, parts, given = _me(), access(), sent()
    old, new = field(given, "old"), field(given, "new")
    wait = parts.attempts.begin(me.email, address())
    if wait:
        answer = make_response(jsonify(message=f"Too many tries; wait {wait} seconds."), 429)
        answer.headers["Retry-After"] = str(wait)
        return answer
    if parts.users.with_password(me.email, old) is None:
        record("password.change", me.email, "refused")
        abort(400, "old: that is not your password.")
    parts.attempts.succeeded(me.email)
    try:
        parts.users.set_password(me.email, new)
    except CatalogError as error:
        abort(400, f"new: {error}")
    record("password.change", me.email)
    done = jsonify(changed=True)
    begin(done, me.id)
    return done


@bp.get("/api/account/tokens")
@needs("viewer", browser=True)
def list_tokens() -> Response:
    """{"tokens": [{id, name, project, scopes, created_at, expires_at, used_at}]}."""
    return jsonify(tokens=[_shown(one) for one in access().tokens.of(_me().id)])


@bp.post("/api/account/tokens")
@needs("viewer", browser=True)
def make_token() -> ResponseReturnValue:
    """Make one: {"name", "project", "scopes": ["read", …], "days"}; 201 with its secret, once."""
    me, given = _me(), sent()
    project, scopes = field(given, "project"), texts(given, "scopes")
    role = caller().role_in(project)
    if project not in _projects() or role is None:
        abort(400, f"project={project[:63]!r} is none of yours.")
    for scope in scopes:
        if scope in _WORTH and rank(role) < rank(_WORTH[scope]):
            abort(400, f"scope {scope} needs the role {_WORTH[scope]} in {project}; yours: {role}.")
    try:
        secret, made = access().tokens.make(
            me.email, project, field(given, "name"), scopes, whole(given, "days")
        )
    except CatalogError as error:
        abort(400, str(error))
    record("token.make", f"{made.id} {made.name!r}: {' '.join(made.scopes)}", project=project)
    return jsonify(token=secret, **_shown(made)), 201


@bp.delete("/api/account/tokens/<int:token_id>")
@needs("viewer", browser=True)
def revoke_token(token_id: int) -> Response:
    """Refuse one of one's own from now on."""
    try:
        gone = access().tokens.revoke(token_id, _me().id)
    except CatalogError as error:
        abort(404, str(error))
    record("token.revoke", f"{gone.id} {gone.name!r}", project=gone.project)
    return jsonify(revoked=gone.id)


@bp.delete("/api/account/sessions/<session_id>")
@needs("viewer", browser=True)
def end_session(session_id: str) -> Response:
    """Sign one of one's browsers out."""
    try:
        access().sessions.end_one(_me().id, session_id)
    except CatalogError as error:
        abort(404, str(error))
    record("session.end", session_id)
    return jsonify(ended=session_id)


@bp.post("/api/account/sign-out-everywhere")
@needs("viewer", browser=True)
def sign_out_everywhere() -> Response:
    """Sign all of one's browsers out, this one too: {"ended": how many, "next": "/login"}."""
    me = _me()
    ended = access().sessions.end_all(me.id)
    record("session.end", "all")
    answer = jsonify(ended=ended, next="/login")
    finish(answer)
    return answer


def _me() -> Person:
    """The user. 409 where there are none and this machine is let in without."""
    if caller().id == 0:
        abort(409, "There are no users yet. Make one: python -m catalog add-user … --admin")
    return access().users.by_id(caller().id)


def _projects() -> list[str]:
    """Those of the caller."""
    return [slug for slug in access().projects() if caller().role_in(slug) is not None]


def _shown(token: Token) -> dict[str, Any]:
    found = asdict(token)
    found.pop("email")
    for name in ("created_at", "expires_at", "used_at"):
        found[name] = found[name] and f"{found[name].isoformat(timespec='seconds')}Z"
    return found
