"""The cookie of a session: a random secret that scripts cannot read and other sites cannot send."""

from __future__ import annotations

from flask import g, request
from werkzeug.wrappers import Response

from reports.access.origin import host_name
from reports.access.parts import access, address

_NAME = "headwater_session"


def secure() -> bool:
    """Whether the browser came by https, as far as proxies that are trusted and settings say."""
    if request.is_secure:
        return True
    here = host_name(request.headers.get("Host", "")) in {"localhost", "127.0.0.1", "::1"}
    return access().public.scheme == "https" and not here


def name_of(plain: str) -> str:
    """Behind https with a prefix, under which browsers let nobody but this host set it."""
    return f"__Host-{plain}" if secure() else plain


def read_cookie() -> str | None:
    """The secret that the browser sent."""
    return request.cookies.get(name_of(_NAME))


def set_cookie(response: Response, plain: str, value: str, max_age_s: int) -> None:
    """For this host, all paths, not for scripts, and not with what other sites send."""
    response.set_cookie(
        name_of(plain),
        value,
        max_age=max_age_s,
        path="/",
        secure=secure(),
        httponly=True,
        samesite="Lax",
    )


def begin(response: Response, user_id: int) -> None:
    """Sign the browser in. What it was signed in as before ends."""
    parts = access()
    old = read_cookie()
    if old:
        parts.sessions.end(old)
    agent = request.headers.get("User-Agent", "")
    made = parts.sessions.start(user_id, address(), agent)
    g.session_secret = made
    set_cookie(response, _NAME, made, int(parts.settings.session_max_h * 3600))


def finish(response: Response) -> None:
    """Sign the browser out."""
    old = read_cookie()
    if old:
        access().sessions.end(old)
    drop_cookie(response, _NAME)


def drop_cookie(response: Response, plain: str) -> None:
    """Have the browser forget it."""
    response.delete_cookie(name_of(plain), path="/", secure=secure(), httponly=True, samesite="Lax")
