"""The shape of the repository, held by reading its source: see docs/architecture.md.

Each rule is a function from a directory to what is wrong in it, so that it is tried on a bad
tree as well as on ours.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeGuard

import pytest

ROOT = Path(__file__).parent.parent

# Package -> packages of ours that it may import. The three processes never see one another.
ARROW = {
    "schemas_avro": set(),
    "transforms": {"schemas_avro"},
    "catalog": {"schemas_avro", "transforms"},
    "collector": {"schemas_avro", "transforms", "catalog"},
    "beam_pipelines": {"schemas_avro", "transforms", "catalog"},
    "reports": {"schemas_avro", "transforms", "catalog"},
    "headwater": {"transforms", "catalog"},
}
# The reference describes everything, so it reads everything.
READS_EVERYTHING = "headwater/reference.py"
# `transforms` is the meaning of numbers: no framework, no storage, no file, no clock, no network.
IMPURE = {
    *("apache_beam", "alembic", "duckdb", "fastavro", "flask", "google", "granian", "pyiceberg"),
    *("asyncio", "http", "httpx", "requests", "socket", "sqlalchemy", "sqlite3", "urllib"),
    *("io", "logging", "multiprocessing", "os", "pathlib", "shutil", "signal", "subprocess"),
    *("random", "secrets", "tempfile", "threading", "time"),
}
PURE = {"urllib.parse"}  # reads an address, reaches none
CLOCKS = frozenset({"now", "utcnow", "today", "time", "time_ns", "monotonic", "perf_counter"})
DOES_IO = frozenset({"open", "input", "print", "exec", "eval", "__import__"})
MOST_LINES = 400
MOST_SCRIPT_LINES = 20


def sources(root: Path, *packages: str) -> Iterator[tuple[str, ast.Module]]:
    """Path from the root, and syntax tree, of every module of the packages."""
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            yield path.relative_to(root).as_posix(), ast.parse(path.read_text())


def imports(path: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported, under `TYPE_CHECKING` and in functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = Path(path).parent.parts
            above = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            yield node.lineno, ".".join(part for part in (above, node.module) if part)
        elif isinstance(node, ast.Call) and _name(node.func) in {"__import__", "import_module"}:
            yield from ((node.lineno, a.value) for a in node.args if _is_text(a))


def _is_text(node: ast.expr) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def against_the_arrow(root: Path) -> list[str]:
    ours = {*ARROW, "tests", "benchmarks"}
    return [
        f"{path}:{line} imports {name}: {package} may import {sorted(ARROW[package]) or 'nothing'}"
        for package in ARROW
        for path, tree in sources(root, package)
        if path != READS_EVERYTHING
        for line, name in imports(path, tree)
        for top in (name.split(".")[0],)
        if top in ours - {package} - ARROW[package]
    ]


def impure_transforms(root: Path) -> list[str]:
    wrong = []
    for path, tree in sources(root, "transforms"):
        for line, name in imports(path, tree):
            if name.split(".")[0] in IMPURE and name not in PURE:
                wrong.append(f"{path}:{line} imports {name}")
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = _name(node.func)
            if isinstance(node.func, ast.Attribute) and called in CLOCKS and _is_clock(node.func):
                wrong.append(f"{path}:{node.lineno} reads a clock: {ast.unparse(node.func)}()")
            if isinstance(node.func, ast.Name) and called in DOES_IO:
                wrong.append(f"{path}:{node.lineno} does I/O: {called}()")
    return wrong


def _is_clock(called: ast.Attribute) -> bool:
    return _name(called.value) in {"datetime", "date", "time", "dt", "Timestamp"}


def too_long(root: Path) -> list[str]:
    files = [(p, t) for package in (*ARROW, "tests") for p, t in sources(root, package)]
    lengths = {path: len((root / path).read_text().splitlines()) for path, _ in files}
    return [f"{path} has {n} lines" for path, n in lengths.items() if n > MOST_LINES]


def long_scripts(root: Path) -> list[str]:
    scripts = [*(root / "scripts").iterdir(), root / ".ci" / "run"]
    lengths = {path: len(path.read_text().splitlines()) for path in scripts if path.is_file()}
    return [f"{p.name} has {n} lines" for p, n in lengths.items() if n > MOST_SCRIPT_LINES]


def named_like_the_standard_library(root: Path) -> list[str]:
    tops = {path.name.removesuffix(".py") for path in root.iterdir() if _is_module(path)}
    return sorted(tops & sys.stdlib_module_names)


def _is_module(path: Path) -> bool:
    return path.suffix == ".py" or (path / "__init__.py").exists()


def defined_for_workers_in_main(root: Path) -> list[str]:
    """`run.py` is `__main__`: what is defined there cannot be unpickled by a worker."""
    tree = ast.parse((root / "beam_pipelines" / "run.py").read_text())
    return [
        f"beam_pipelines/run.py:{node.lineno} defines class {node.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    ]


RULES: list[Callable[[Path], list[str]]] = [
    against_the_arrow,
    impure_transforms,
    too_long,
    long_scripts,
    named_like_the_standard_library,
    defined_for_workers_in_main,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_repository_keeps_the_rule(rule):
    assert rule(ROOT) == []


def test_every_package_has_its_place_in_the_arrow():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages - {"tests", "benchmarks"} == set(ARROW)


def test_the_rules_read_something():
    for package in ARROW:
        assert list(sources(ROOT, package)), package


# -- The rules themselves: each finds what it is for in a bad tree.

GOOD = {f"{package}/__init__.py": '"""Nothing."""\n' for package in ARROW} | {
    "beam_pipelines/run.py": "def main() -> None: ...\n",
    "transforms/good.py": (
        "from datetime import datetime\nfrom schemas_avro import load\n"
        "def read(day: datetime, row): return row.time(), day.now\n"
    ),
    "catalog/good.py": "import os\nimport transforms.good\nfrom catalog import store\n",
    "scripts/short": "#!/bin/sh\n",
    ".ci/run": "#!/bin/sh\n",
}

BAD = [
    (against_the_arrow, "schemas_avro/bad.py", "import transforms.daily"),
    (against_the_arrow, "collector/bad.py", "from reports import app"),
    (against_the_arrow, "collector/deep/bad.py", "from beam_pipelines.jobs import ingest"),
    (against_the_arrow, "reports/bad.py", "def f():\n    import beam_pipelines.run"),
    (against_the_arrow, "reports/bad.py", "import importlib\nimportlib.import_module('collector')"),
    (
        against_the_arrow,
        "transforms/bad.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from catalog import store",
    ),
    (against_the_arrow, "catalog/bad.py", "from headwater import cli"),
    (against_the_arrow, "catalog/bad.py", "from tests import streams"),
    (against_the_arrow, "headwater/bad.py", "import collector"),
    (impure_transforms, "transforms/bad.py", "import flask"),
    (impure_transforms, "transforms/bad.py", "from apache_beam.transforms import window"),
    (impure_transforms, "transforms/bad.py", "import os.path"),
    (impure_transforms, "transforms/deep/bad.py", "from pathlib import Path"),
    (impure_transforms, "transforms/bad.py", "import datetime\nx = datetime.datetime.now()"),
    (impure_transforms, "transforms/bad.py", "from datetime import date\nx = date.today()"),
    (impure_transforms, "transforms/bad.py", "x = open('file')"),
    (too_long, "reports/bad.py", "x = 1\n" * 401),
    (long_scripts, "scripts/bad", "echo\n" * 21),
    (long_scripts, ".ci/run", "echo\n" * 21),
    (named_like_the_standard_library, "logging.py", ""),
    (named_like_the_standard_library, "queue/__init__.py", ""),
    (defined_for_workers_in_main, "beam_pipelines/run.py", "class F(beam.DoFn): ..."),
    (defined_for_workers_in_main, "beam_pipelines/run.py", "def f():\n    class G(P): ..."),
]


def plant(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_good_tree_passes(rule, tmp_path):
    plant(tmp_path, GOOD)
    assert rule(tmp_path) == []


@pytest.mark.parametrize(("rule", "path", "text"), BAD)
def test_a_bad_tree_is_found(rule, path, text, tmp_path):
    plant(tmp_path, GOOD | {path: text})
    found = rule(tmp_path)
    assert len(found) == 1
    named = path.removesuffix(".py").removesuffix("/__init__").split("/")[-1]
    assert named in found[0]
