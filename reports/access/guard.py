"""Stands before every handler: who asks, may they, and does their own browser page ask?

One function for all blueprints, so that a new page is guarded by being there: a handler without a
mark of `needs` is for admins.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import replace
from urllib.parse import quote

from flask import Flask, Response, abort, current_app, g, has_request_context, redirect, request
from flask.typing import ResponseReturnValue
from werkzeug.middleware.proxy_fix import ProxyFix

from catalog.settings import Settings
from reports.access import account, audit_page, people, signing
from reports.access.caller import LOCAL, NOBODY, Caller, of_person, of_token, rank
from reports.access.cookie import read_cookie, secure
from reports.access.needs import SAFE, Role, needed, needs_browser, scope_of
from reports.access.origin import host_is_ours, is_foreign, is_here
from reports.access.parts import Access, access
from reports.access.record import record, record_refusal

_FREE = frozenset({"static", "reports.health"})  # tell nothing of anybody
_RECORDED = frozenset({"sql", "export", "write", "admin"})  # scopes whose use is written down
_NO_USERS = (
    "Headwater has no users yet, so it answers only the machine it runs on. There, make the first: "
    "python -m catalog add-user you@example.org --admin"
)
_FOREIGN = "Another site's page sent this, or an old one of ours: load the page again, then repeat."


Projects = Callable[[], Mapping[str, str]]
BLUEPRINTS = (signing.bp, account.bp, people.bp, audit_page.bp)


def install(
    app: Flask, settings: Settings, projects: Projects, clock_us: Callable[[], int]
) -> Projects:
    """Guard every handler of the app, and add the pages about access. Returns the projects as far
    as the caller of a request may see them. Raises SettingError for settings that cannot be used.
    """
    mine = _seen(projects)
    app.extensions["access"] = Access.of(settings, mine, projects, clock_us)
    hops = settings.trusted_proxies
    if hops:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=0)  # type: ignore[method-assign]
    app.before_request(_guard)
    app.after_request(_leave)
    app.context_processor(lambda: {"access": Shown()})
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    return mine


def _seen(projects: Projects) -> Projects:
    """The projects that the caller of a request may see; outside of one, and for handlers that
    need nobody known, all. A second wall: what a handler does not find here, it cannot show.
    """

    def found() -> Mapping[str, str]:
        every = projects()
        if not has_request_context() or not g.get("walled"):
            return every
        return {slug: zone for slug, zone in every.items() if slug in g.user.roles}

    return found


class Shown:
    """What the templates of all pages may know of the caller."""

    @property
    def user(self) -> Caller:
        """Who asks; NOBODY where it is not known yet."""
        found: Caller = g.get("user", NOBODY)
        return found

    @property
    def open(self) -> bool:
        """Whether this machine is let in because there is no user."""
        return self.user.id == 0 and self.user.is_admin

    @property
    def csrf(self) -> str:
        """Proof that a request comes from a page of ours; empty without a session."""
        secret = g.get("session_secret")
        return csrf_of(secret) if secret else ""


def csrf_of(secret: str) -> str:
    """The proof that belongs to a session's secret. The secret does not follow from it."""
    made = hashlib.sha256(b"csrf:" + secret.encode()).digest()
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


def _guard() -> ResponseReturnValue | None:
    g.user, g.session_secret, g.walled, g.recorded = NOBODY, None, False, False
    if request.endpoint in _FREE:
        return None
    parts = access()
    if not host_is_ours(request.headers.get("Host", ""), parts.public):
        abort(
            421,
            "This name is not Headwater's. If it should be, set HEADWATER_PUBLIC_URL to the "
            "address that browsers use: https://stats.example.org",
        )
    who = _who(parts)
    view = current_app.view_functions.get(request.endpoint or "")
    # What has no handler is only said to be nowhere, and that to whoever is signed in.
    role: Role = needed(view) if view is not None else "viewer"
    _check_page(parts, who, role)
    if role == "public":
        g.user = replace(who, role=who.role_in(None) or "public") if who is not NOBODY else who
        return None
    if who is NOBODY:
        return _sign_in()
    g.user = who
    project = (request.view_args or {}).get("project")
    mine = who.role_in(project)
    if mine is None:
        record_refusal("access.refused", _what(), "not their project")
        abort(404, f"There is no project {project!r}. Make one: python -m catalog add-project")
    g.user, g.walled = replace(who, role=mine), not who.is_admin
    _check_rights(g.user, role, project)
    return None


def _who(parts: Access) -> Caller:
    """The caller. 401 for a token that is no longer one: it never falls back on a cookie."""
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        found = parts.tokens.find(secret.strip()) if parts.users.exist() else None
        if found is None:
            record_refusal("token.refused", "", "unknown, run out or revoked", actor="nobody")
            abort(401, "This token is unknown, has run out or was revoked; make another one.")
        return of_token(*found)
    if not parts.users.exist():
        if is_here(request.remote_addr, request.headers.get("Host", ""), request.headers):
            return LOCAL
        abort(403, _NO_USERS)
    cookie = read_cookie()
    person = parts.sessions.find(cookie) if cookie else None
    if person is None:
        return NOBODY
    g.session_secret = cookie
    return of_person(person)


def _check_page(parts: Access, who: Caller, role: Role) -> None:
    """403 where a browser sends it for a page that is not ours. Tokens are not sent unasked."""
    if request.method in SAFE or who.token is not None:
        return
    foreign = is_foreign(request.headers, request.host_url.rstrip("/"), parts.public)
    secret = g.session_secret
    if not foreign and role != "public" and secret is not None:
        sent = request.headers.get("X-Csrf-Token", "")
        if not sent and request.mimetype == "application/x-www-form-urlencoded":
            sent = request.form.get("csrf", "")
        foreign = not hmac.compare_digest(sent.encode(), csrf_of(secret).encode())
    if foreign:
        # Of those not signed in, the address is what anybody likes: it would fill the log.
        what = _what() if who is not NOBODY else ""
        record_refusal("access.refused", what, "not from our page", actor=who.actor)
        abort(403, _FOREIGN)


def _check_rights(who: Caller, role: Role, project: str | None) -> None:
    view = current_app.view_functions.get(request.endpoint or "")
    if who.token is not None and view is not None:
        scope = scope_of(view, _rule(), request.method)
        if needs_browser(view):
            record_refusal("access.refused", _what(), "by token")
            abort(403, "A token cannot do this; sign in to do it.")
        if scope not in who.scopes:
            record_refusal("access.refused", _what(), f"token without {scope}")
            has = ", ".join(sorted(who.scopes))
            abort(403, f"This needs a token with the scope {scope}; this one has {has}.")
    if rank(who.role) < rank(role):
        record_refusal("access.refused", _what(), f"{who.role}, needs {role}")
        where = f"in {project}" if project else "of everything"
        abort(403, f"This needs the role {role} {where}; yours is {who.role}. Ask an admin for it.")


def _sign_in() -> ResponseReturnValue:
    """To the page for signing in and back; a program is told what it lacks."""
    if "/api/" in request.path or request.method not in {"GET", "HEAD"}:
        abort(401, "Sign in first, or send a token: Authorization: Bearer hw_t_…")
    wanted = request.full_path if request.query_string else request.path
    return redirect(f"/login?next={quote(wanted, safe='')}" if wanted != "/" else "/login")


def _rule() -> str:
    return request.url_rule.rule if request.url_rule else ""


def _what() -> str:
    """The address without its query, which may hold values."""
    return f"{request.method} {request.path}"


def _leave(response: Response) -> Response:
    """Write down what changed something, if its handler did not; nobody else keeps a copy."""
    user = g.get("user", NOBODY)
    view = current_app.view_functions.get(request.endpoint or "")
    done = request.method not in SAFE and view is not None and user is not NOBODY
    refused = response.status_code in {401, 403, 404, 421}
    recorded = scope_of(view, _rule(), request.method) in _RECORDED
    if done and recorded and not g.recorded and not refused:
        outcome = "ok" if response.status_code < 400 else str(response.status_code)
        record(str(request.endpoint), request.path, outcome)
    if response.status_code == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if request.endpoint not in _FREE:
        response.headers.setdefault("Cache-Control", "no-store")
        response.vary.add("Cookie")
        if user is not NOBODY and "public" in response.headers["Cache-Control"]:
            response.cache_control.public = False
            response.cache_control.private = True
    if secure():
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    return response
