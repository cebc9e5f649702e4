"""Commands of `python -m catalog` about event schemas."""

from __future__ import annotations

from typing import IO, Any, get_args

import click

from catalog.policy import SchemaMode
from catalog.schemas import Registered, SchemaRegistry, readable
from catalog.store import Catalog, CatalogError
from transforms.event_schema import SchemaError
from transforms.judge import TYPES
from transforms.schema_compatibility import COMPATIBILITIES, Compatibility
from transforms.schema_inference import infer, shown


def register(group: click.Group) -> None:
    """Add the commands to the group. Its context object is the Catalog."""
    group.add_command(schema)
    group.add_command(set_source)


@click.command()
@click.argument("project")
@click.argument("source")
@click.option(
    "--schema-mode",
    type=click.Choice(get_args(SchemaMode)),
    required=True,
    help="What becomes of events that their schema does not fit: kept, flagged or refused.",
)
@click.pass_obj
def set_source(catalog: Catalog, project: str, source: str, schema_mode: SchemaMode) -> None:
    """Change SOURCE of PROJECT; collectors follow within HEADWATER_KEY_REFRESH_S seconds."""
    catalog.set_source(project, source, schema_mode=schema_mode)
    click.echo(f"{project}/{source}: schema mode {schema_mode}")


@click.group()
def schema() -> None:
    """Register, list, compare and draft event schemas."""


_type = click.option(
    "--type", "kind", type=click.Choice(TYPES), default="track", help="Type of the events."
)


@schema.command("register")
@click.argument("project")
@click.argument("file", type=click.File("rb"))
@click.option("--type", "kind", type=click.Choice(TYPES), help="Type of the events.")
@click.option("--name", help="Name of the events; left out: as the file says.")
@click.option(
    "--compatibility",
    type=click.Choice(COMPATIBILITIES),
    help="With the newest version; left out: the rule of that one, BACKWARD for the first.",
)
@click.pass_obj
def register_version(
    catalog: Catalog,
    project: str,
    file: IO[bytes],
    kind: str | None,
    name: str | None,
    compatibility: Compatibility | None,
) -> None:
    """Keep the Avro record in FILE as the next version, if it is compatible."""
    made = SchemaRegistry(catalog).register(
        project, _text(file), kind=kind, name=name, compatibility=compatibility
    )
    click.echo(f"{made.title}: version {made.version}, {made.compatibility}")


@schema.command("list")
@click.argument("project")
@click.pass_obj
def show_all(catalog: Catalog, project: str) -> None:
    """Schemas of PROJECT with their newest versions."""
    for one in SchemaRegistry(catalog).newest(project):
        click.echo(_line(one))


@schema.command("show")
@click.argument("project")
@click.argument("name", default="")
@click.option("--version", type=int, help="Left out: the newest.")
@_type
@click.pass_obj
def show_one(catalog: Catalog, project: str, name: str, version: int | None, kind: str) -> None:
    """The schema NAME of PROJECT as it was registered."""
    click.echo(SchemaRegistry(catalog).version(project, kind, name, version).avro.rstrip())


@schema.command("diff")
@click.argument("project")
@click.argument("name")
@click.argument("old", type=int)
@click.argument("new", type=int)
@_type
@click.pass_obj
def show_diff(catalog: Catalog, project: str, name: str, old: int, new: int, kind: str) -> None:
    """Fields that differ between versions OLD and NEW."""
    for row in SchemaRegistry(catalog).diff(project, kind, name, old, new):
        click.echo(f"{row.change:<8} {row.field}: {row.before or '-'} -> {row.after or '-'}")


@schema.command("check")
@click.argument("file", type=click.File("rb"))
@click.option("--project", help="Also whether it may follow what is registered there.")
@click.pass_obj
def check(catalog: Catalog, file: IO[bytes], project: str | None) -> None:
    """Say whether the Avro record in FILE can be registered. Changes nothing."""
    text = _text(file)
    if project is None:
        _, kind, name = readable(text, None, None)
        click.echo(f"good: {kind} {name!r}")
        return
    planned = SchemaRegistry(catalog).plan(project, text)
    again = "the same as" if planned.unchanged else "would be"
    click.echo(f"good: {planned.type} {planned.name!r}, {again} version {planned.version}")


@schema.command("infer")
@click.argument("name", default="")
@click.option(
    "--from",
    "file",
    type=click.File("rb"),
    default="-",
    show_default=True,
    help="Properties of seen events, a JSON object a line; - is the standard input.",
)
@_type
def draft(name: str, file: IO[bytes], kind: str) -> None:
    """Draft a schema of the events NAME from seen ones, to be corrected and registered."""
    lines: Any = (line for line in file if line.strip())
    try:
        click.echo(shown(infer(lines, kind, name)), nl=False)
    except SchemaError as error:
        raise CatalogError(str(error)) from error


def _text(file: IO[bytes]) -> str:
    try:
        return file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CatalogError(f"{file.name} is no UTF-8: {error.reason}; save it as UTF-8") from error


def _line(one: Registered) -> str:
    return f"{one.type}  {one.name or '(every one)'}  version {one.version}  {one.compatibility}"
