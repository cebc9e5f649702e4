"""`headwater export`: has an export made, fetches it, checks it; goes on where it was cut off."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import httpx
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
)

from catalog import settings as settings_table
from headwater import manifest

FAILED, NO_SERVER, CANCELLED = 1, 3, 130
_LOOK_S = 0.3
_TIMEOUT_S = 60.0
_STATE = ".headwater-export.json"  # in the folder until it is whole: which export it is
_CHUNK = 1 << 20


class Failed(Exception):
    """It cannot be exported. code: of the exit."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


@click.group(invoke_without_command=True)
@click.option("--project", help="Slug of the project.")
@click.option("--sql", help="A query in BigQuery's dialect; - reads it from stdin.")
@click.option("--events", is_flag=True, help="All events of the days --from to --to.")
@click.option("--table", help="Rows of another table, of these days.")
@click.option("--from", "first", help="First day, in the project's zone.")
@click.option("--to", "last", help="Last day.")
@click.option("--columns", default="", help="Of a table, with commas; empty: all.")
@click.option("--insight", help="Kind of a question, such as revenue.")
@click.option("--question", default="{}", help="The question as JSON.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "json", "jsonl", "parquet"]),
    default="csv",
    show_default=True,
    help="Of the files.",
)
@click.option("--raw", is_flag=True, help="Leave cells of CSV that look like formulas.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the files.")
@click.option("--resume", is_flag=True, help="Go on with the export that the folder began with.")
@click.option("--server", help="Address of the report server; default: this machine's.")
@click.option("--token", help="API token; default: HEADWATER_TOKEN.")
@click.pass_context
def export(context: click.Context, /, **given: Any) -> None:
    """Export a query, a table's rows or a question's answer into a folder, with a manifest.

    Ends with 1 where it cannot be exported or is not whole, 2 for wrong options, 3 without a
    server or rights, 130 after Ctrl-C; then --resume goes on.
    """
    if context.invoked_subcommand is not None:
        return
    out, project = given["out"], given["project"]
    if out is None or not project:
        raise click.UsageError("--project and --out are needed")
    asked = {} if given["resume"] else _asked(given)
    try:
        settings = settings_table.read(os.environ)
    except settings_table.SettingError as error:
        raise click.ClickException(str(error)) from None
    address = given["server"] or f"http://127.0.0.1:{settings.reports_port}"
    try:
        with _Server(address, project, given["token"] or settings.token) as server:
            _fetch(server, out, asked, given["resume"])
    except (Failed, manifest.ManifestError) as error:
        click.echo(f"headwater export: {error}", err=True)
        sys.exit(getattr(error, "code", FAILED))
    except KeyboardInterrupt:
        click.echo("headwater export: stopped; --resume goes on from here", err=True)
        sys.exit(CANCELLED)


@export.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
def verify(directory: Path) -> None:
    """Compare the files of an export with its manifest; 1 where they do not fit."""
    try:
        found = manifest.read(directory)
        with _bar("verify", found["bytes"]) as told:
            wrong = list(manifest.problems(directory, told))
    except manifest.ManifestError as error:
        wrong = [str(error)]
    for problem in wrong:
        click.echo(f"headwater export verify: {problem}", err=True)
    if wrong:
        sys.exit(FAILED)
    click.echo(_summary(found, directory))


def _summary(found: dict[str, Any], directory: Path) -> str:
    files = "1 file" if len(found["files"]) == 1 else f"{len(found['files'])} files"
    return f"{found['rows']:,} rows, {found['bytes']:,} bytes in {files}, as exported: {directory}"


def _asked(given: dict[str, Any]) -> dict[str, Any]:
    """What is asked for, as the server takes it. Raises UsageError."""
    table = given["table"] or ("events" if given["events"] else None)
    chosen = [name for name in ("sql", "insight") if given[name]] + (["table"] if table else [])
    if len(chosen) != 1 or (given["events"] and given["table"]):
        raise click.UsageError("give one of --sql, --events, --table and --insight")
    if chosen != ["table"] and (given["first"] or given["last"] or given["columns"]):
        raise click.UsageError("--from, --to and --columns go with --events and --table")
    if bool(given["first"]) != bool(given["last"]):
        raise click.UsageError("give both of --from and --to, or neither for all days")
    asked: dict[str, Any] = {"format": given["form"]}
    if given["raw"]:
        asked["raw"] = True
    match chosen[0]:
        case "sql":
            return asked | {"sql": sys.stdin.read() if given["sql"] == "-" else given["sql"]}
        case "insight":
            return asked | {"kind": given["insight"], "question": _question(given["question"])}
    asked["table"] = table
    if given["first"]:
        asked["dates"] = f"{given['first']}..{given['last']}"
    return asked | {"columns": [c.strip() for c in given["columns"].split(",") if c.strip()]}


def _question(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"no JSON: {error}", param_hint="--question") from None


class _Server:
    """The exports of one project. Use as a context manager."""

    def __init__(self, address: str, project: str, token: str) -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._api = f"/p/{quote(project, safe='')}/api/exports"
        self.address, self.project = address.rstrip("/"), project
        try:
            self._http = httpx.Client(
                base_url=self.address, headers=headers, timeout=_TIMEOUT_S, trust_env=False
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise Failed(f"{address!r} is no address: {error}", NO_SERVER) from None

    def __enter__(self) -> _Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def make(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Begin an export."""
        return self._ask("POST", "", json=asked)

    def look(self, id_: str) -> dict[str, Any]:
        """How an export stands."""
        return self._ask("GET", f"/{id_}")

    def _ask(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, self._api + path, **more)
        except httpx.HTTPError as error:
            raise Failed(f"no answer from {self.address} ({error}); is it running?", NO_SERVER) \
                from None  # fmt: skip
        try:
            found: dict[str, Any] = answer.json()
        except ValueError:
            found = {}
        if answer.is_success:
            return found
        place = f"line {found['line']}, column {found['column']}: " if found.get("line") else ""
        code = FAILED if answer.status_code in (400, 409) else NO_SERVER
        said = found.get("message") or f"{self.address} answered {answer.status_code}"
        raise Failed(place + said, code)

    def download(self, url: str, path: Path, etag: str, told: Any) -> None:
        """A file, from where an earlier try ended; whole when it has its name."""
        part = path.with_name(f".{path.name}.part")
        there = part.stat().st_size if part.exists() else 0
        headers = {"range": f"bytes={there}-", "if-range": f'"{etag}"'} if there else {}
        try:
            with self._http.stream("GET", url, headers=headers) as answer:
                if answer.status_code not in (200, 206, 416):
                    raise Failed(f"{url} answered {answer.status_code}", NO_SERVER)
                goes_on = answer.status_code == 206
                if answer.status_code != 416:  # 416: all of it is there already
                    with part.open("ab" if goes_on else "wb") as file:
                        told(there if goes_on else 0)
                        for chunk in answer.iter_bytes(_CHUNK):
                            file.write(chunk)
                            told(len(chunk))
        except httpx.HTTPError as error:
            raise Failed(f"the download broke off ({error}); --resume goes on", NO_SERVER) from None
        if etag and manifest.sha256(part) != etag:
            part.unlink()
            raise Failed(f"{path.name} came damaged; --resume fetches it again")
        part.rename(path)


def _fetch(server: _Server, out: Path, asked: dict[str, Any], resume: bool) -> None:
    job = _job(server, out, asked, resume)
    if job is None:
        return
    job = _made(server, job)
    if job["state"] != "done":
        with suppress(FileNotFoundError):
            (out / _STATE).unlink()
        raise Failed(f"the export {job['state']}: {job['message']}".rstrip(": "))
    files = [one for one in job["files"] if "sha256" in one]
    with _bar("download", job["bytes"]) as told:
        for one in files:
            path = out / one["name"]
            if path.exists() and manifest.sha256(path) == one["sha256"]:
                told(one["bytes"])
                continue
            server.download(one["url"], path, one["sha256"], told)
    text = json.dumps(job["manifest"], indent=2, ensure_ascii=False) + "\n"
    (out / f".{manifest.MANIFEST}").write_text(text)
    (out / _STATE).unlink()
    (out / f".{manifest.MANIFEST}").rename(out / manifest.MANIFEST)
    wrong = list(manifest.problems(out))
    if wrong:
        raise Failed("; ".join(wrong))
    click.echo(_summary(job["manifest"], out))


def _job(server: _Server, out: Path, asked: dict[str, Any], resume: bool) -> dict[str, Any] | None:
    """The export to fetch; None where the folder has all of it."""
    if resume:
        if (out / manifest.MANIFEST).exists():
            wrong = list(manifest.problems(out))
            if wrong:
                raise Failed("; ".join(wrong))
            click.echo(_summary(manifest.read(out), out))
            return None
        try:
            known = json.loads((out / _STATE).read_text())
        except (OSError, ValueError):
            raise Failed(f"{out} holds no export that was begun; leave out --resume") from None
        if known["project"] != server.project:
            raise Failed(f"{out} holds an export of {known['project']}, not {server.project}")
        return server.look(known["id"])
    if out.exists() and any(out.iterdir()):
        raise Failed(f"{out} is not empty; take another folder, or --resume the export in it")
    out.mkdir(parents=True, exist_ok=True)
    job = server.make(asked)
    (out / _STATE).write_text(json.dumps({"project": server.project, "id": job["id"]}))
    return job


def _made(server: _Server, job: dict[str, Any]) -> dict[str, Any]:
    """Wait until the server has made it."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with _shown(*columns) as bar:
        task = bar.add_task("export", total=None)
        while True:
            job = server.look(job["id"])
            if job["state"] not in ("queued", "running"):
                return job
            rows = f", {job['rows']:,} rows" if job["rows"] else ""
            share = job["progress"]
            bar.update(
                task,
                description=f"{job['state']}{rows}",
                total=None if share is None else 1.0,
                completed=share or 0.0,
            )
            time.sleep(_LOOK_S)


def _shown(*columns: ProgressColumn) -> Progress:
    """A progress bar, on a terminal; elsewhere nothing is shown."""
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


@contextmanager
def _bar(title: str, size: int) -> Iterator[Any]:
    """A progress bar over bytes; yields what is told how many more are done."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with _shown(*columns) as bar:
        task = bar.add_task(title, total=size)
        yield lambda more: bar.advance(task, more)
