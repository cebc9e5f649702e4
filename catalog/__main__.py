"""`python -m catalog`: make and list projects and write keys."""

from __future__ import annotations

import os

import click

from catalog import cli_access, cli_metrics, cli_policy, cli_schemas, settings
from catalog.store import Catalog, CatalogError


@click.group(help=__doc__)
@click.pass_context
def main(context: click.Context) -> None:
    """Open the catalogue that the settings name, upgrading it if it is older."""
    catalog = Catalog(settings.read(os.environ).catalog_url)
    catalog.migrate()
    context.obj = catalog


@main.command()
@click.argument("slug")
@click.option("--name", default="", help="Name shown on pages.")
@click.option("--time-zone", default="UTC", show_default=True, help="IANA zone of its days.")
@click.pass_obj
def add_project(catalog: Catalog, slug: str, name: str, time_zone: str) -> None:
    """Make the project SLUG."""
    catalog.add_project(slug, name=name, time_zone=time_zone)
    click.echo(f"project {slug} made; give it a key: python -m catalog add-key {slug} SOURCE")


@main.command()
@click.argument("project")
@click.argument("source")
@click.pass_obj
def add_key(catalog: Catalog, project: str, source: str) -> None:
    """Print a new write key of SOURCE in PROJECT; the source is made if it is not there."""
    click.echo(catalog.add_key(project, source))


@main.command("list")
@click.pass_obj
def show(catalog: Catalog) -> None:
    """Projects with time zones, sources with keys."""
    for slug, zone in catalog.time_zones().items():
        click.echo(f"{slug}  {zone}")
        for key, owner in catalog.keys().items():
            if owner.project == slug:
                click.echo(f"  {owner.source}  {key}")


cli_policy.register(main)
cli_schemas.register(main)
cli_metrics.register(main)
cli_access.register(main)

if __name__ == "__main__":
    try:
        main(standalone_mode=True)
    except (CatalogError, settings.SettingError) as error:
        raise SystemExit(f"catalog: {error}") from None
