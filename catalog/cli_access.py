"""Commands of `python -m catalog` about people, tokens and the audit log; see docs/access.md."""

from __future__ import annotations

import getpass
import os
import sys
from datetime import date, datetime, time

import click

from catalog import settings
from catalog.audit import MOST, Audit
from catalog.store import Catalog, CatalogError
from catalog.tokens import MOST_DAYS, SCOPES, Tokens
from catalog.users import LINK_H, MEMBER_ROLES, MemberRole, Users

_NONE = "none"


def register(group: click.Group) -> None:
    """Add the commands to the group. Its context object is the Catalog."""
    commands = (add_user, set_user, set_password, password_link, remove_user, set_role, users)
    for command in (*commands, add_token, revoke_token, tokens, audit):
        group.add_command(command)


@click.command()
@click.argument("email")
@click.option("--name", default="", help="Name shown on pages.")
@click.option("--admin", "is_admin", is_flag=True, help="Admin of everything.")
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line.")
@click.option("--link", is_flag=True, help="No password: print a link with which to set one.")
@click.pass_obj
def add_user(
    catalog: Catalog, email: str, name: str, is_admin: bool, password_stdin: bool, link: bool
) -> None:
    """Make the user EMAIL. With the first one, the pages are no longer open to this machine."""
    password = None if link else _password(password_stdin)
    made = Users(catalog).add(email, name=name, password=password, is_admin=is_admin)
    _record(catalog, "user.add", made.email + " as admin" * made.is_admin)
    click.echo(f"user {made.email} made")
    if link:
        click.echo(_link(catalog, made.email))
    if not made.is_admin:
        click.echo(f"give them a role: python -m catalog set-role {made.email} PROJECT viewer")


@click.command()
@click.argument("email")
@click.option("--admin/--no-admin", "is_admin", default=None, help="Admin of everything.")
@click.option("--disable/--enable", "disabled", default=None, help="Let them in no longer.")
@click.pass_obj
def set_user(catalog: Catalog, email: str, is_admin: bool | None, disabled: bool | None) -> None:
    """Change what EMAIL may; what is not given stays. Who is disabled is signed out at once."""
    if is_admin is not None:
        Users(catalog).set_admin(email, is_admin)
        _record(catalog, "user.admin", f"{email}: {is_admin}")
    if disabled is not None:
        Users(catalog).set_disabled(email, disabled)
        _record(catalog, "user.disabled", f"{email}: {disabled}")


@click.command()
@click.argument("email")
@click.option("--password-stdin", is_flag=True, help="Read it from the first line.")
@click.pass_obj
def set_password(catalog: Catalog, email: str, password_stdin: bool) -> None:
    """Give EMAIL a new password; all their browsers are signed out."""
    Users(catalog).set_password(email, _password(password_stdin))
    _record(catalog, "password.set", email)


@click.command()
@click.argument("email")
@click.pass_obj
def password_link(catalog: Catalog, email: str) -> None:
    """Print a link with which EMAIL can set a password, once."""
    click.echo(_link(catalog, email))
    _record(catalog, "password.link", email)


@click.command()
@click.argument("email")
@click.pass_obj
def remove_user(catalog: Catalog, email: str) -> None:
    """Forget EMAIL, with roles, sessions and tokens."""
    Users(catalog).remove(email)
    _record(catalog, "user.remove", email)


@click.command()
@click.argument("email")
@click.argument("project")
@click.argument("role", type=click.Choice([*MEMBER_ROLES, _NONE]))
@click.pass_obj
def set_role(catalog: Catalog, email: str, project: str, role: MemberRole) -> None:
    """Give EMAIL a role in PROJECT; none takes it away."""
    Users(catalog).set_role(email, project, None if role == _NONE else role)
    _record(catalog, "role.set", f"{email}: {role}", project)


@click.command()
@click.pass_obj
def users(catalog: Catalog) -> None:
    """Users, with their roles."""
    for one in Users(catalog).all():
        marks = [*["admin of everything"] * one.is_admin, *["disabled"] * one.disabled]
        roles = [f"{slug}: {role}" for slug, role in one.roles.items()]
        click.echo("  ".join([one.email, one.name, ", ".join([*marks, *roles]) or "no role"]))


@click.command()
@click.argument("email")
@click.argument("project")
@click.option("--name", required=True, help="What it is for.")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(SCOPES),
    multiple=True,
    required=True,
    help="What it may, of what EMAIL may; can be repeated.",
)
@click.option(
    "--days", type=click.IntRange(1, MOST_DAYS), default=90, show_default=True, help="How long."
)
@click.pass_obj
def add_token(
    catalog: Catalog, email: str, project: str, name: str, scopes: tuple[str, ...], days: int
) -> None:
    """Print a new token, with which programs act as EMAIL in PROJECT."""
    secret, made = Tokens(catalog).make(email, project, name, scopes, days)
    _record(
        catalog, "token.make", f"{made.id} {name!r} of {made.email}: {' '.join(scopes)}", project
    )
    click.echo(secret)


@click.command()
@click.argument("token_id", metavar="ID", type=int)
@click.pass_obj
def revoke_token(catalog: Catalog, token_id: int) -> None:
    """Refuse the token ID from now on."""
    gone = Tokens(catalog).revoke(token_id)
    _record(catalog, "token.revoke", f"{gone.id} {gone.name!r} of {gone.email}", gone.project)


@click.command()
@click.pass_obj
def tokens(catalog: Catalog) -> None:
    """Tokens: id, user, project, what for, scopes, when it runs out, when it was used last."""
    for one in Tokens(catalog).all():
        used = f"used {one.used_at:%Y-%m-%d %H:%M}" if one.used_at else "never used"
        words = (str(one.id), one.email, one.project, one.name, ",".join(one.scopes))
        click.echo("  ".join([*words, f"until {one.expires_at:%Y-%m-%d}", used]))


@click.command()
@click.option("--actor", default="", help="Part of who did it.")
@click.option("--action", default="", help="How the action begins: sign-in.")
@click.option("--project", default="", help="Only of this project.")
@click.option("--outcome", default="", help="Part of the outcome: refused.")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="From this day on, UTC.")
@click.option("--limit", type=click.IntRange(1, MOST), default=100, show_default=True)
@click.pass_obj
def audit(
    catalog: Catalog,
    actor: str,
    action: str,
    project: str,
    outcome: str,
    since: date | None,
    limit: int,
) -> None:
    """Who did what, when and from where; the newest first, times in UTC."""
    found = Audit(catalog).find(
        actor=actor,
        action=action,
        project=project,
        outcome=outcome,
        since=datetime.combine(since, time()) if since else None,
        limit=limit,
    )
    for one in found:
        words = (one.actor, one.address or "-", one.action, one.project or "-", one.target or "-")
        click.echo("  ".join([f"{one.at:%Y-%m-%d %H:%M:%S}", *words, one.outcome]))


def _password(from_stdin: bool) -> str:
    """Asked for twice, or the first line of standard input. Raises CatalogError."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise CatalogError("nobody is there to ask for the password; add --password-stdin")
    found: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return found


def _link(catalog: Catalog, email: str) -> str:
    read = settings.read(os.environ)
    start = read.public_url.rstrip("/") or f"http://{read.reports_host}:{read.reports_port}"
    secret = Users(catalog).make_link(email)
    return f"within {LINK_H} hours, once: {start}/set-password#{secret}"


def _record(catalog: Catalog, action: str, target: str, project: str = "") -> None:
    Audit(catalog).add(action, target, actor=f"{_login()} (command line)", project=project)


def _login() -> str:
    """Who is logged in at this machine, as far as it knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in some containers
        return str(os.getuid())
