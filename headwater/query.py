"""`headwater query`: SQL on the command line, over HTTP."""

from __future__ import annotations

import csv
import json
import os
import sys
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table

from catalog import settings as settings_table
from headwater.client import Answer, Progress, QueryError, Server, ServerError
from transforms.csv_safe import safe

REFUSED, NO_SERVER, CANCELLED = 1, 3, 130
_NUMBERS = {"INT64", "FLOAT64", "NUMERIC"}


@click.command()
@click.argument("sql")
@click.option("--project", required=True, help="Slug of the project.")
@click.option("--server", help="Address of the report server; default: this machine's.")
@click.option("--token", help="API token; default: HEADWATER_TOKEN.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "jsonl"]),
    default="table",
    show_default=True,
    help="How rows are written.",
)
@click.option("--param", "params", multiple=True, help="Value of a parameter: name=value or "
              "name:TYPE=value; once for each.")  # fmt: skip
def query(
    sql: str,
    project: str,
    server: str | None,
    token: str | None,
    form: str,
    params: tuple[str, ...],
) -> None:
    """Run one SELECT in BigQuery's dialect and write its rows; `-` reads it from stdin.

    Ends with 1 where the query cannot run or fails, 2 for wrong options, 3 without a server or
    rights, 130 after Ctrl-C, which cancels the query.
    """
    try:
        settings = settings_table.read(os.environ)
    except settings_table.SettingError as error:
        raise click.ClickException(str(error)) from None
    address = server or f"http://127.0.0.1:{settings.reports_port}"
    text = sys.stdin.read() if sql == "-" else sql
    values = dict(_value(given) for given in params)
    try:
        with Server(address, project, token or settings.token) as asked:
            answer = _run(asked, text, values)
    except QueryError as error:
        _point(text, error)
        sys.exit(REFUSED)
    except ServerError as error:
        click.echo(f"headwater query: {error}", err=True)
        sys.exit(NO_SERVER)
    except KeyboardInterrupt:
        click.echo("headwater query: cancelled", err=True)
        sys.exit(CANCELLED)
    _WRITERS[form](answer)
    _say(answer)


def _value(given: str) -> tuple[str, Any]:
    name, equals, value = given.partition("=")
    name, colon, kind = name.partition(":")
    if not equals or not name or (colon and not kind):
        raise click.BadParameter(
            f"{given!r}: write name=value or name:TYPE=value", param_hint="--param"
        )
    if kind.upper().startswith("ARRAY<"):
        return name, {"type": kind, "value": value.split(",") if value else []}
    return name, {"type": kind, "value": value} if kind else value


def _run(server: Server, sql: str, values: dict[str, Any]) -> Answer:
    console = Console(stderr=True)
    if not console.is_terminal:
        return server.run(sql, values)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("running", total=None)

        def told(progress: Progress) -> None:
            rows = f", {progress.rows:,} rows" if progress.rows else ""
            bar.update(
                task,
                description=f"{progress.seconds:.1f} s{rows}",
                total=None if progress.part is None else 1.0,
                completed=progress.part or 0.0,
            )

        return server.run(sql, values, told)


def _point(sql: str, error: QueryError) -> None:
    """The message, and the line with its place marked."""
    if error.line is None:
        click.echo(f"headwater query: {error}", err=True)
        return
    place = f"line {error.line}" + (f", column {error.column}" if error.column else "")
    click.echo(f"headwater query: {place}: {error}", err=True)
    lines = sql.split("\n")
    if error.line <= len(lines):
        click.echo(f"  {lines[error.line - 1]}", err=True)
        if error.column:
            click.echo(" " * (error.column + 1) + "^", err=True)


def _say(answer: Answer) -> None:
    rows = "1 row" if len(answer.rows) == 1 else f"{len(answer.rows):,} rows"
    cut = " (the first; there are more)" if answer.truncated else ""
    trust = f", {answer.status}" if answer.status else ""
    as_of = f", as of {answer.as_of}" if answer.as_of else ""
    until = f", complete until {answer.complete_until}" if answer.complete_until else ""
    click.echo(f"{rows}{cut} in {answer.seconds:.2f} s{trust}{as_of}{until}", err=True)


def _table(answer: Answer) -> None:
    # A pipe has no width: there a row stays on one line.
    console = Console(width=None if sys.stdout.isatty() else 100_000, markup=False, highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, kind in zip(answer.columns, answer.types, strict=True):
        table.add_column(name, justify="right" if kind in _NUMBERS else "left", overflow="fold")
    for row in answer.rows:
        table.add_row(*(_text(value, "NULL") for value in row))
    console.print(table)


def _csv(answer: Answer) -> None:
    out = csv.writer(sys.stdout)
    out.writerow([safe(name) for name in answer.columns])
    for row in answer.rows:
        out.writerow([safe(_text(value, "")) for value in row])


def _json(answer: Answer) -> None:
    rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    click.echo(json.dumps(rows, ensure_ascii=False, indent=2))


def _jsonl(answer: Answer) -> None:
    for row in answer.rows:
        click.echo(json.dumps(dict(zip(answer.columns, row, strict=True)), ensure_ascii=False))


def _text(value: Any, nothing: str) -> str:
    if value is None:
        return nothing
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


_WRITERS = {"table": _table, "csv": _csv, "json": _json, "jsonl": _jsonl}
