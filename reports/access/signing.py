"""Signing in and out, with a password or a provider, and setting a password with a link."""

from __future__ import annotations

import base64
import binascii
import math
from dataclasses import replace
from urllib.parse import quote

import msgspec
from flask import Blueprint, Response, abort, jsonify, make_response, redirect, request
from flask import render_template as render
from flask.typing import ResponseReturnValue

from catalog.store import CatalogError
from reports.access.cookie import begin, drop_cookie, finish, name_of, set_cookie
from reports.access.needs import needs
from reports.access.oidc import Flow, OidcError, Provider
from reports.access.origin import inside
from reports.access.parts import access, address, caller
from reports.access.record import record, record_refusal
from reports.access.sent import field, sent

bp = Blueprint("signing", __name__)
_FLOW = "headwater_oidc"  # the cookie of a sign-in that is under way
_FLOW_S = 600
_LONGEST_EMAIL = 254


@bp.get("/login")
@needs("public")
def login() -> ResponseReturnValue:
    """The page for signing in; ?next=/p/demo/ is where it leads to."""
    if not access().users.exist():
        return redirect("/")
    return _login_page("")


@bp.post("/login")
@needs("public")
def log_in() -> ResponseReturnValue:
    """Sign in with the form fields email, password and next: 303 to there, 401, or 429."""
    email = request.form.get("email", "").strip()[:_LONGEST_EMAIL]
    wait = access().attempts.begin(email, address())
    if wait:
        record_refusal("sign-in", _known(email), "too many tries", actor="nobody")
        minutes = math.ceil(wait / 60)
        text = f"Too many tries. Wait {minutes} minute{'s' * (minutes > 1)}, then try again."
        page = make_response(_login_page(text, email), 429)
        page.headers["Retry-After"] = str(wait)
        return page
    person = access().users.with_password(email, request.form.get("password", ""))
    if person is None:
        record("sign-in", _known(email), "refused", actor="nobody")
        return _login_page("That e-mail address and password do not fit.", email), 401
    access().attempts.succeeded(email)
    record("sign-in", "password", actor=person.email)
    answer = redirect(inside(request.form.get("next", "")), 303)
    begin(answer, person.id)
    return answer


@bp.post("/logout")
@needs("viewer", browser=True)
def log_out() -> ResponseReturnValue:
    """Sign this browser out."""
    record("sign-out")
    answer = redirect("/login", 303)
    finish(answer)
    return answer


@bp.get("/login/oidc")
@needs("public")
def oidc_start() -> ResponseReturnValue:
    """To the OpenID Connect provider, and back to ?next=."""
    provider = _provider()
    try:
        target, flow = provider.start(_redirect_uri(), inside(request.args.get("next", "")))
    except OidcError as error:
        return _login_page(f"Signing in did not work: {error}."), 502
    answer = redirect(target)
    kept = base64.urlsafe_b64encode(msgspec.json.encode(flow)).decode()
    set_cookie(answer, _FLOW, kept, _FLOW_S)
    return answer


@bp.get("/login/oidc/callback")
@needs("public")
def oidc_finish() -> ResponseReturnValue:
    """Back from the provider: sign in, or say at which step it failed."""
    provider = _provider()
    try:
        flow = _flow()
        account = provider.finish(flow, request.args.to_dict(), _redirect_uri())
        person = access().users.with_oidc(
            provider.issuer,
            account.subject,
            account.email,
            name=account.name,
            domains=provider.domains,
            role=provider.role,
        )
    except (OidcError, CatalogError) as error:
        record_refusal("sign-in", "oidc", str(error), actor="nobody")
        page = make_response(_login_page(f"Signing in did not work: {error}."), 401)
        drop_cookie(page, _FLOW)
        return page
    record("sign-in", "oidc", actor=person.email)
    answer = redirect(flow.next, 303)
    drop_cookie(answer, _FLOW)
    begin(answer, person.id)
    return answer


@bp.get("/set-password")
@needs("public")
def set_password_page() -> str:
    """Where a link for setting a password leads; what it proves stands behind its `#`, which
    browsers send to nobody.
    """
    return render("set_password.html")


@bp.post("/api/set-password")
@needs("public")
def set_password() -> Response:
    """Set the password with {"token", "password"}, a link's secret, and sign in: {"next"}."""
    given = sent()
    try:
        person = access().users.use_link(field(given, "token"), field(given, "password"))
    except CatalogError as error:
        abort(400, str(error))
    record("password.set", person.email, actor=person.email)
    answer = jsonify(next="/")
    begin(answer, person.id)
    return answer


def _login_page(problem: str, email: str = "") -> str:
    then = inside(request.values.get("next", ""))
    provider = access().provider
    return render(
        "login.html",
        problem=problem,
        email=email,
        next=then,
        oidc=f"/login/oidc?next={quote(then, safe='')}" if provider else None,
        signed_in=caller().email if caller().id else None,
    )


def _known(email: str) -> str:
    """For the log: an address only where it is a user's, for people type passwords anywhere."""
    try:
        return access().users.get(email).email
    except CatalogError:
        return "no such user"


def _provider() -> Provider:
    found = access().provider
    if found is None:
        abort(404, "No provider is set up; see docs/access.md.")
    return found


def _flow() -> Flow:
    """What this browser kept. Its target is checked again: cookies can be edited."""
    try:
        kept = base64.urlsafe_b64decode(request.cookies.get(name_of(_FLOW), ""))
        found = msgspec.json.decode(kept, type=Flow)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise OidcError("this browser did not start here; sign in again") from None
    if len(found.state) < 32:
        raise OidcError("this browser did not start here; sign in again")
    return replace(found, next=inside(found.next))


def _redirect_uri() -> str:
    return f"{access().public.origin or request.host_url.rstrip('/')}/login/oidc/callback"
