"""People: who is there, invited by a link, with roles; for admins of everything or of a project."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, abort, jsonify, render_template, request
from flask.typing import ResponseReturnValue

from catalog.store import CatalogError
from catalog.users import LINK_H, MEMBER_ROLES, MemberRole, Person
from reports.access.needs import needs
from reports.access.parts import access, caller
from reports.access.record import record
from reports.access.sent import field, flag, sent

bp = Blueprint("people", __name__)


@bp.get("/people")
@needs("admin", browser=True)
def page() -> str:
    """Everybody, with their roles in all projects."""
    return render_template(
        "people.html",
        people=access().users.all(),
        projects=list(access().projects()),
        roles=MEMBER_ROLES,
        me=caller().id,
    )


@bp.post("/api/people")
@needs("admin", browser=True)
def invite() -> ResponseReturnValue:
    """Make a user of {"email", "name"?, "is_admin"?}: 201 with a link to set a password, once."""
    given, users = sent(), access().users
    try:
        made = users.add(
            field(given, "email"), name=field(given, "name", ""), is_admin=flag(given, "is_admin")
        )
        record("user.add", made.email + " as admin" * made.is_admin)
        return jsonify(**_shown(made), link=_link(made)), 201
    except CatalogError as error:
        abort(400, str(error))


@bp.put("/api/people/<int:user_id>")
@needs("admin", browser=True)
def change(user_id: int) -> Response:
    """Change {"is_admin"?, "disabled"?} of a user; one who is disabled is signed out at once."""
    given, users = sent(), access().users
    try:
        person = users.by_id(user_id)
        if "is_admin" in given:
            users.set_admin(person.email, flag(given, "is_admin"))
            record("user.admin", f"{person.email}: {flag(given, 'is_admin')}")
        if "disabled" in given:
            users.set_disabled(person.email, flag(given, "disabled"))
            record("user.disabled", f"{person.email}: {flag(given, 'disabled')}")
        return jsonify(_shown(users.by_id(user_id)))
    except CatalogError as error:
        abort(400, str(error))


@bp.post("/api/people/<int:user_id>/link")
@needs("admin", browser=True)
def renew_link(user_id: int) -> Response:
    """A link with which the user can set a password, once; older ones no longer work."""
    try:
        person = access().users.by_id(user_id)
        made = _link(person)
    except CatalogError as error:
        abort(400, str(error))
    record("password.link", person.email)
    return jsonify(link=made)


@bp.delete("/api/people/<int:user_id>")
@needs("admin", browser=True)
def remove(user_id: int) -> Response:
    """Forget a user, with roles, sessions and tokens."""
    users = access().users
    try:
        person = users.by_id(user_id)
        users.remove(person.email)
    except CatalogError as error:
        abort(400, str(error))
    record("user.remove", person.email)
    return jsonify(removed=person.email)


@bp.get("/p/<project>/people")
@needs("admin", browser=True)
def project_page(project: str) -> str:
    """Those with a role in the project."""
    _there(project)
    return render_template(
        "members.html",
        project=project,
        projects=list(access().projects()),
        people=[one for one in access().users.all() if project in one.roles],
        roles=MEMBER_ROLES,
    )


@bp.put("/p/<project>/api/people")
@needs("admin")
def set_role(project: str) -> ResponseReturnValue:
    """Give {"email", "role"} in the project; role null takes it away.

    With "invite": true, somebody who is not known is made a user: 201 with a link to set a
    password. Who is known only gets the role, and no link: that is for admins of everything.
    A token changes roles, and makes no users.
    """
    _there(project)
    given, users = sent(), access().users
    role = given.get("role")
    if role is not None and role not in MEMBER_ROLES:
        abort(400, f"role={str(role)[:40]!r} must be one of {', '.join(MEMBER_ROLES)}, or null.")
    try:
        email = field(given, "email")
        known = any(one.email == email.strip().lower() for one in users.all())
        if not known and flag(given, "invite") and role is not None:
            if caller().token is not None:  # the link opens an account, which outlives the token
                abort(403, "A token cannot invite anybody; sign in to do it.")
            made = users.add(email, name=field(given, "name", ""))
            record("user.add", made.email)
            users.set_role(email, project, role)
            record("role.set", f"{made.email}: {role}")
            return jsonify(email=made.email, role=role, link=_link(made)), 201
        users.set_role(email, project, _checked(role))
        record("role.set", f"{email.strip().lower()}: {role}")
    except CatalogError as error:
        abort(400, str(error))
    return jsonify(email=email.strip().lower(), role=role)


def _checked(role: Any) -> MemberRole | None:
    return next((known for known in MEMBER_ROLES if known == role), None)


def _there(project: str) -> None:
    if project not in access().projects():
        abort(404, f"There is no project {project!r}. Make one: python -m catalog add-project")


def _link(person: Person) -> str:
    """It stands behind a `#`, so that no server in between ever sees it."""
    start = access().public.origin or request.host_url.rstrip("/")
    return f"{start}/set-password#{access().users.make_link(person.email)}"


def _shown(person: Person) -> dict[str, Any]:
    return {
        "id": person.id,
        "email": person.email,
        "name": person.name,
        "is_admin": person.is_admin,
        "disabled": person.disabled,
        "roles": dict(person.roles),
        "link_hours": LINK_H,
    }
