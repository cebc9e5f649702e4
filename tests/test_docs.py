"""The documents are true: what they list is what the code has, and what they point at is there."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlglot

from beam_pipelines.jobs import JOBS
from catalog.settings import SETTINGS
from headwater.reference import MAKEFILE, reference
from transforms.failures import REMEDIES, Reason

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def documents(root: Path) -> list[Path]:
    """Every Markdown file of the repository."""
    folders = [p for p in root.iterdir() if p.is_dir() and p.name[0] != "."]
    found = [*root.glob("*.md"), *(path for folder in folders for path in folder.rglob("*.md"))]
    return sorted(path for path in found if "node_modules" not in path.parts)


def outside_fences(text: str) -> str:
    return FENCE.sub("", text)


def anchors(text: str) -> set[str]:
    """What `#…` can point at: headings as code hosts turn them into anchors."""
    heads = re.findall(r"^#+ (.+)$", outside_fences(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken_links(document: Path) -> Iterator[str]:
    text = outside_fences(document.read_text())
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path) if path else document
        if not target.exists():
            yield f"{document.name}: {link} points at nothing"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target.read_text()):
            yield f"{document.name}: {link} has no such heading"


def parse(language: str, text: str) -> None:
    """Raises where a snippet cannot be what it says it is."""
    match language:
        case "python":
            ast.parse(text)
        case "json":
            json.loads(text)
        case "toml":
            tomllib.loads(text)
        case "sql":
            sqlglot.parse(text, dialect="bigquery")
        case "sh" | "bash":
            subprocess.run(["bash", "-n"], input=text, text=True, check=True, capture_output=True)
        case "text" | "csv":
            pass
        case _:
            raise ValueError(f"fence of language {language!r}: name one that is checked, or text")


def misnamed(text: str) -> Iterator[str]:
    """Settings, make targets and jobs that are named but not there."""
    settings = {setting.variable for setting in SETTINGS}
    for variable in re.findall(r"\bHEADWATER_[A-Z_]*[A-Z]\b", text):
        if variable not in settings:
            yield variable
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE.read_text(), re.MULTILINE))
    for target in re.findall(r"(?:^|`)make ([a-z]+)\b", text, re.MULTILINE):
        if target not in targets:
            yield f"make {target}"
    for job in re.findall(r"beam_pipelines\.run ([a-z]+)", text):
        if job not in JOBS:
            yield f"beam_pipelines.run {job}"


def test_the_reference_is_what_the_code_says():
    made = reference(MAKEFILE.read_text())
    assert (ROOT / "docs" / "reference.md").read_text() == made, "out of date: make docs"
    assert str(ROOT) not in made


def test_every_reason_has_a_remedy():
    assert list(REMEDIES) == list(Reason)
    assert all(remedy.endswith(".") for remedy in REMEDIES.values())


@pytest.mark.parametrize("document", documents(ROOT), ids=lambda p: str(p.relative_to(ROOT)))
class TestDocument:
    def test_links_point_at_something(self, document):
        assert list(broken_links(document)) == []

    def test_snippets_parse(self, document):
        for language, text in FENCE.findall(document.read_text()):
            parse(language.split()[0] if language.strip() else "", text)

    def test_what_it_names_is_there(self, document):
        assert list(misnamed(document.read_text())) == []


# -- The checks find what they are for.


@pytest.mark.parametrize("link", ["gone.md", "#gone", "other.md#gone", "folder/"])
def test_a_link_to_nothing_is_found(link, tmp_path):
    (tmp_path / "other.md").write_text("# There\n")
    document = tmp_path / "document.md"
    document.write_text(f"# Here\n[a](other.md) [b](#here) [c](other.md#there) [d]({link})\n")
    assert len(list(broken_links(document))) == 1


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "def f(:"),
        ("json", "{'a': 1}"),
        ("toml", "a = "),
        ("sql", "SELECT FROM WHERE ("),
        ("sh", "if true; then"),
        ("", "anything"),
    ],
)
def test_a_snippet_that_does_not_parse_is_found(language, text):
    with pytest.raises((ValueError, SyntaxError, sqlglot.ParseError, subprocess.SubprocessError)):
        parse(language, text)


def test_a_wrong_name_is_found():
    text = "Set HEADWATER_COLOUR, run `make tea`, then python -m beam_pipelines.run dinner\n"
    assert list(misnamed(text)) == ["HEADWATER_COLOUR", "make tea", "beam_pipelines.run dinner"]
