"""Commands of `python -m catalog` about privacy and limits."""

from __future__ import annotations

from typing import Any, get_args

import click

from catalog import policies
from catalog.policy import BotHandling, IpHandling
from catalog.store import Catalog

_LIMITS = {
    "rate_limit": ("rate_limit_per_s", "Events per second; 0 takes the limit away."),
    "daily_quota": ("daily_quota", "Events per UTC day; 0 takes the limit away."),
    "max_properties": ("max_properties", "Properties of one event; 0 is the default again."),
}


def register(group: click.Group) -> None:
    """Add the commands to the group. Its context object is the Catalog."""
    for command in (set_project, set_key, revoke_key, suppress, unsuppress, suppressed):
        group.add_command(command)


def _limits(command: Any) -> Any:
    for name, (_, text) in reversed(_LIMITS.items()):
        option = f"--{name.replace('_', '-')}"
        command = click.option(option, type=click.IntRange(min=0), help=text)(command)
    return command


@click.command()
@click.argument("slug")
@click.option("--ip", type=click.Choice(get_args(IpHandling)), help="What is stored of addresses.")
@click.option(
    "--respect-dnt/--no-respect-dnt",
    default=None,
    help="Read requests with DNT or Sec-GPC as anonymous.",
)
@click.option("--bots", type=click.Choice(get_args(BotHandling)), help="Events of known crawlers.")
@click.option("--raw-days", type=click.IntRange(min=0), help="Days that events are kept.")
@click.option("--aggregate-days", type=click.IntRange(min=0), help="Days of exact numbers.")
@click.pass_obj
def set_project(catalog: Catalog, /, slug: str, **given: Any) -> None:
    """Change what the project SLUG keeps, of people and for how long; what is not given stays.

    0 days are those of the settings again.
    """
    policies.set_project(catalog, slug, **given)


@click.command()
@click.argument("key")
@_limits
@click.pass_obj
def set_key(catalog: Catalog, /, key: str, **given: int | None) -> None:
    """Limit how much may be sent with KEY; what is not given stays."""
    changed = {
        _LIMITS[name][0]: value or None for name, value in given.items() if value is not None
    }
    policies.set_key(catalog, key, **changed)


@click.command()
@click.argument("key")
@click.pass_obj
def revoke_key(catalog: Catalog, key: str) -> None:
    """Refuse KEY from now on: its senders get 401."""
    policies.revoke_key(catalog, key)


@click.command()
@click.argument("project")
@click.argument("people", metavar="ID…", nargs=-1, required=True)
@click.pass_obj
def suppress(catalog: Catalog, project: str, people: tuple[str, ...]) -> None:
    """Store nothing of these user or anonymous ids in PROJECT from now on."""
    new = policies.suppress(catalog, project, people)
    click.echo(f"{new} suppressed, {len(set(people)) - new} were already")


@click.command()
@click.argument("project")
@click.argument("people", metavar="ID…", nargs=-1, required=True)
@click.pass_obj
def unsuppress(catalog: Catalog, project: str, people: tuple[str, ...]) -> None:
    """Store events of these ids in PROJECT again."""
    found = policies.unsuppress(catalog, project, people)
    click.echo(f"{found} stored again, {len(set(people)) - found} were not suppressed")


@click.command()
@click.argument("project")
@click.argument("people", metavar="[ID…]", nargs=-1)
@click.pass_obj
def suppressed(catalog: Catalog, project: str, people: tuple[str, ...]) -> None:
    """How many are suppressed in PROJECT, or which of the given ids are.

    The list cannot be read out: it holds digests, no ids.
    """
    if not people:
        click.echo(str(policies.count_suppressed(catalog, project)))
    for person in people:
        found = policies.is_suppressed(catalog, project, person)
        click.echo(f"{person}  {'suppressed' if found else 'not suppressed'}")
