"""The audit log, for handlers: what somebody did, written down before they are answered."""

from __future__ import annotations

import logging

from flask import g, has_request_context, request

from reports.access.parts import access, address, caller

log = logging.getLogger(__name__)


def record(
    action: str,
    target: str = "",
    outcome: str = "ok",
    *,
    actor: str | None = None,
    project: str | None = None,
) -> None:
    """Write down that the caller did something: record("export.download", "orders.csv").

    action:  what, as noun.verb; target: to what, by name or id
    project: that of the address where it is not given; actor: the caller
    Never put a password, a token or a value of somebody's query into any of these. Raises where
    it cannot be written, and the caller gets 500: call it before what shall not happen unrecorded.
    """
    audit = access().audit
    if not audit.exists():
        log.warning("not in the audit log, for there is no catalogue yet: %s", action)
        return
    in_request = has_request_context()
    if project is None:
        project = (request.view_args or {}).get("project", "") if in_request else ""
    if actor is None:
        actor = caller().actor if in_request else "system"
    audit.add(
        action,
        target,
        outcome,
        actor=actor,
        address=address() if in_request else "",
        project=project,
    )
    if in_request:
        g.recorded = True


def record_refusal(action: str, target: str, outcome: str, *, actor: str | None = None) -> None:
    """The same for what was refused, where it is not only repeated: nobody can flood the log."""
    who = caller().actor if actor is None else actor
    key, now = (who, address(), action, target), access().clock().timestamp()
    if access().refused.is_news(key, now):
        record(action, target, outcome, actor=actor)
