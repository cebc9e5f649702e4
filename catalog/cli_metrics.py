"""Commands of `python -m catalog` about metrics of one's own."""

from __future__ import annotations

from typing import IO

import click
import msgspec

from catalog.metrics import MetricStore
from catalog.store import Catalog, CatalogError


def register(group: click.Group) -> None:
    """Add the commands to the group. Its context object is the Catalog."""
    group.add_command(metric)


@click.group()
def metric() -> None:
    """Define, list and remove metrics of a project; see docs/pipelines.md."""


@metric.command("put")
@click.argument("project")
@click.argument("file", type=click.File("rb"))
@click.pass_obj
def put(catalog: Catalog, project: str, file: IO[bytes]) -> None:
    """Compute the metric in FILE, JSON or TOML, from now on; one of its name is replaced."""
    try:
        text = file.read().decode("utf-8-sig")
        if file.name.endswith(".toml"):
            text = msgspec.json.encode(msgspec.toml.decode(text)).decode()
    except (UnicodeDecodeError, msgspec.DecodeError) as error:
        raise CatalogError(f"{file.name} cannot be read: {error}") from error
    made = MetricStore(catalog).put(project, text)
    click.echo(f"{project}: {made.name} is counted within a minute from now on")


@metric.command("list")
@click.argument("project")
@click.pass_obj
def show(catalog: Catalog, project: str) -> None:
    """Metrics of PROJECT, a definition a line."""
    for one in MetricStore(catalog).all().get(project, []):
        click.echo(msgspec.json.encode(one).decode())


@metric.command("remove")
@click.argument("project")
@click.argument("name")
@click.pass_obj
def remove(catalog: Catalog, project: str, name: str) -> None:
    """Compute NAME of PROJECT no longer; what was computed stays."""
    MetricStore(catalog).remove(project, name)
    click.echo(f"{project}: {name} is computed no longer")
