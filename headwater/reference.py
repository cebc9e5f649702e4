"""Writes docs/reference.md from the code: `python -m headwater.reference > docs/reference.md`.

Whatever it lists has one definition in the code, with its description beside it; a test compares
the file with what comes out here. The only module that may look into every package.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import click
from flask import Blueprint, Flask

import beam_pipelines.jobs
import catalog.__main__
import collector.debug
import collector.metrics
import collector.routes
import headwater.cli
import reports.app
from catalog.settings import SETTINGS, Settings, read
from catalog.store import Catalog
from reports.access.needs import needed
from reports.insights.kinds import KINDS
from schemas_avro import load, names
from schemas_avro.tables import LIVE_KEY, LIVE_VALUES, TABLES
from transforms.failures import REMEDIES, Reason
from transforms.metrics import METRICS, STATISTICS

MAKEFILE = Path(__file__).parent.parent / "Makefile"
INTRODUCTION = """# Reference

Made from the code by `make docs`; a test fails when it is out of date. Do not edit.
"""


def reference(makefile: str) -> str:
    """The whole page."""
    sections = (
        ("Settings", _settings()),
        ("Metrics", _metrics()),
        ("Statistics", _statistics()),
        ("Records", _records()),
        ("Tables", _tables()),
        ("Dead letters", _reasons()),
        ("HTTP: collector", _routes(*collector.routes.BLUEPRINTS, collector.debug.bp)),
        ("HTTP: reports", _pages()),
        ("Questions", _questions()),
        ("Collector metrics", _collector_metrics()),
        ("Commands", _commands()),
        ("Jobs", _jobs()),
        ("Make targets", _targets(makefile)),
    )
    return INTRODUCTION + "".join(f"\n## {title}\n\n{body}" for title, body in sections)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


def _code(value: object) -> str:
    return f"`{value}`" if value not in ("", None) else ""


def _summary(documented: object) -> str:
    """First paragraph of a docstring. Raises ValueError where there is none."""
    text = documented if isinstance(documented, str) else documented.__doc__
    if not text:
        raise ValueError(f"{documented!r} has no docstring; the reference needs one")
    return text.strip().split("\n\n")[0]


def _settings() -> str:
    rows = ((_code(s.variable), _code(s.default) or "(empty)", s.help) for s in SETTINGS)
    text = "Read from the environment by every process. A bad value ends the start with a message."
    return f"{text}\n\n" + _table(("variable", "default", "meaning"), rows)


def _metrics() -> str:
    def formula(statistic: str, denominator: str | None) -> str:
        return f"`{statistic}` / `{denominator}`" if denominator else f"`{statistic}`"

    rows = (
        (_code(m.name), m.title, m.unit, m.description, formula(m.statistic, m.denominator))
        for m in METRICS.values()
    )
    return _table(("metric", "title", "unit", "meaning", "statistic"), rows)


def _statistics() -> str:
    rows = (
        (
            _code(s.name),
            s.kind,
            ", ".join(map(_code, s.dimensions)),
            ", ".join(map(_code, s.needs)),
            "live and exact" if s.live else "exact only",
        )
        for s in STATISTICS.values()
    )
    return _table(("statistic", "kind", "broken down by", "reads", "where"), rows)


def _records() -> str:
    return "\n".join(_record(name) for name in names())


def _record(name: str) -> str:
    record = load(name)
    rows = (
        (
            _code(f.name),
            f"{f.kind}{' (JSON)' if f.json else ''}",
            "yes" if f.required else "",
            f.unit,
            f.doc,
        )
        for f in record.fields
    )
    head = ("field", "type", "always filled", "unit", "meaning")
    return f"### `{name}`\n\n{record.doc}\n\n" + _table(head, rows)


def _tables() -> str:
    rows = [
        (_code(t.name), "warehouse", f"[`{t.record}`](#{t.record})", f"day of `{t.day_of}`")
        for t in TABLES
    ]
    key = ", ".join(map(_code, LIVE_KEY))
    rows.append((_code(LIVE_VALUES), "live store", "[`live_value`](#live_value)", f"key {key}"))
    return _table(("table", "where", "record", "partition or key"), rows)


def _reasons() -> str:
    return _table(("reason", "remedy"), ((_code(r.value), REMEDIES[r]) for r in Reason))


def _routes(*blueprints: Blueprint) -> str:
    app = Flask("reference", static_folder=None)
    for blueprint in blueprints:
        app.register_blueprint(blueprint)
    return _table(("method", "path", "answer"), (row for row, _ in _rules(app)))


def _rules(app: Flask) -> Iterator[tuple[tuple[str, str, str], Callable[..., Any]]]:
    """Method, path and meaning of every route but that of static files, and its handler."""
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint != "static"]
    for rule in sorted(rules, key=lambda rule: (rule.rule, sorted(rule.methods or ()))):
        methods = "/".join(sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}))
        view = app.view_functions[rule.endpoint]
        yield (methods, _code(rule.rule), _summary(view)), view


def _pages() -> str:
    """Routes of the report server, and who may take them."""
    with tempfile.TemporaryDirectory() as data:
        settings = read({"HEADWATER_DATA_DIR": data})
        Catalog(settings.catalog_url).migrate()
        app = reports.app.create_app(settings, dict, lambda: 0)
    rows = ((*row, needed(view)) for row, view in _rules(app))
    return _table(("method", "path", "answer", "least role"), rows)


def _questions() -> str:
    rows = ((_code(kind.name), kind.title, kind.description) for kind in KINDS.values())
    return _table(("kind", "title", "what it answers"), rows)


def _collector_metrics() -> str:
    rows = ((_code(name), *rest) for name, *rest in collector.metrics.table())
    return _table(("metric", "kind", "labels", "unit", "meaning"), rows)


def _commands() -> str:
    shown = [
        *_click("python -m headwater", headwater.cli.main),
        *_click("python -m catalog", catalog.__main__.main),
    ]
    return _table(("command", "what it does", "options"), shown)


def _click(prefix: str, group: click.Group) -> Iterator[tuple[str, str, str]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _click(f"{prefix} {name}", command)
            if not command.invoke_without_command:
                continue
        arguments = [p for p in command.params if isinstance(p, click.Argument)]
        options = [p for p in command.params if isinstance(p, click.Option)]
        words = " ".join([prefix, name, *(p.human_readable_name.upper() for p in arguments)])
        helps = "; ".join(f"`{p.opts[0]}` {p.help}" for p in options)
        yield _code(words), _summary(command.help or ""), helps


def _jobs() -> str:
    here = read({})
    parts = ["Run with `python -m beam_pipelines.run JOB [options]`; other flags go to Beam.\n"]
    for name, job in beam_pipelines.jobs.JOBS.items():
        rows = (
            (
                _code(f"--{spec.name}"),
                _default(spec.metadata["default"], here),
                spec.metadata["help"],
            )
            for spec in fields(job.options)
        )
        table = _table(("option", "default", "meaning"), rows)
        parts.append(f"### `{name}`\n\n{_summary(job.options)}\n\n{table}")
    return "\n".join(parts)


def _default(default: Any | Callable[[Settings], Any], here: Settings) -> str:
    if default is MISSING:
        return "(required)"
    if default is False:
        return "off"
    value = default(here) if callable(default) else default
    return _code(str(value).replace(str(here.path()), "DATA_DIR"))


def _targets(makefile: str) -> str:
    found = re.findall(r"^([a-z]+):[^#\n]*## (.+)$", makefile, re.MULTILINE)
    return _table(("target", "what it does"), ((_code(f"make {t}"), text) for t, text in found))


if __name__ == "__main__":
    print(reference(MAKEFILE.read_text()), end="")
