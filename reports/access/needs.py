"""Marks a handler with what its caller must be; `reports.access` holds everybody to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args

from catalog.tokens import Scope

Role = Literal["public", "viewer", "analyst", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)  # each may do what those before it may
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})  # methods that change nothing
_View = TypeVar("_View", bound=Callable[..., Any])


def needs(
    role: Role, *, scope: Scope | None = None, browser: bool = False
) -> Callable[[_View], _View]:
    """For a handler: the least role in the project of its address. Without a mark it is admin.

    public:  nobody need be known
    viewer:  look at pages, ask what dashboards ask
    analyst: ask SQL, save, define, export
    admin:   people, tokens, settings; without a project in the address, those of everything
    scope:   what a token must allow, where `scope_of` would not find it by itself
    browser: no token may do it at all
    """

    def mark(view: _View) -> _View:
        setattr(view, "needs", role)  # noqa: B010 - the type of a function has no such field
        setattr(view, "needs_scope", scope)  # noqa: B010
        setattr(view, "needs_browser", browser)  # noqa: B010
        return view

    return mark


def needed(view: Callable[..., Any] | None) -> Role:
    """The mark of a handler."""
    role: Role = getattr(view, "needs", "admin")
    return role


def needs_browser(view: Callable[..., Any] | None) -> bool:
    """Whether a handler is for people only."""
    return bool(getattr(view, "needs_browser", False))


def scope_of(view: Callable[..., Any] | None, rule: str, method: str) -> Scope:
    """What a token must allow for a handler at an address, such as /p/<project>/api/sql."""
    marked: Scope | None = getattr(view, "needs_scope", None)
    role = needed(view)
    if marked is not None:
        return marked
    if role in {"public", "viewer"}:
        return "read"
    if role == "admin":
        return "admin"
    parts = set(rule.split("/"))
    if "sql" in parts:
        return "sql"
    if parts & {"export", "exports"}:
        return "export"
    return "read" if method in SAFE else "write"
