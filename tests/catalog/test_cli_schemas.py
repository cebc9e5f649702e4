"""`python -m catalog schema …`, as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from catalog.__main__ import main
from catalog.store import Catalog
from tests.catalog.test_cli import run as run  # the same commands in a process of their own

SAMPLES = '{"total": 9, "coupon": "x"}\n\n{"total": 5}\n'


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADWATER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    def invoke(*words: str, given: str | None = None) -> Result:
        return CliRunner().invoke(main, words, input=given)

    assert invoke("add-project", "shop").exit_code == 0
    return invoke


@pytest.fixture
def file(call, tmp_path) -> Path:
    """A draft from samples."""
    path = tmp_path / "order.avsc"
    path.write_text(call("schema", "infer", "Order Completed", given=SAMPLES).stdout)
    return path


def edit(file: Path, old: str, new: str) -> str:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return str(file)


def test_from_samples_to_a_second_version(call, file):
    assert json.loads(file.read_text())["event"] == {"type": "track", "name": "Order Completed"}
    said = [
        call("schema", "check", str(file)).stdout,
        call("schema", "check", str(file), "--project=shop").stdout,
        call("schema", "register", "shop", str(file)).stdout,
        call("schema", "check", str(file), "--project=shop").stdout,
        call("schema", "register", "shop", edit(file, '"long"', '"double"')).stdout,
        call("schema", "list", "shop").stdout,
        call("schema", "diff", "shop", "Order Completed", "1", "2").stdout,
    ]
    assert [line.rstrip() for line in said] == [
        "good: track 'Order Completed'",
        "good: track 'Order Completed', would be version 1",
        "track 'Order Completed': version 1, BACKWARD",
        "good: track 'Order Completed', the same as version 1",
        "track 'Order Completed': version 2, BACKWARD",
        "track  Order Completed  version 2  BACKWARD",
        "changed  total: long -> double",
    ]
    assert call("schema", "show", "shop", "Order Completed").stdout == file.read_text()
    shown = call("schema", "show", "shop", "Order Completed", "--version=1").stdout
    assert shown == file.read_text().replace('"double"', '"long"')


def test_infer_reads_a_file_too(call, tmp_path):
    (tmp_path / "seen.jsonl").write_text('{"$url": "x"}\n')
    made = call("schema", "infer", "--type=page", "--from", "seen.jsonl")
    assert json.loads(made.stdout)["fields"] == [
        {"name": "url", "property": "$url", "type": "string"}
    ]


def test_what_a_source_does_with_misfits(call, tmp_path):
    catalog = Catalog(f"sqlite:///{tmp_path}/data/catalog.db")
    key = catalog.add_key("shop", "web")
    assert call("set-source", "shop", "web", "--schema-mode=warn").exit_code == 0
    assert catalog.keys()[key].policy.schema_mode == "warn"
    assert call("set-source", "shop", "web", "--schema-mode=loud").exit_code == 2
    assert catalog.keys()[key].policy.schema_mode == "warn"


def test_a_refusal_is_one_line_that_names_field_and_reason(run, file, call, tmp_path):
    call("schema", "register", "shop", str(file))
    edit(file, '"long"', '"int"')
    failed = run("schema", "register", "shop", str(file))
    assert failed.returncode == 1
    assert failed.stderr == (
        "catalog: track 'Order Completed' is not BACKWARD compatible with version 1: field total: "
        "the new version wants int and cannot read the old one's long\n"
    )
    checked = run("schema", "check", str(file), "--project=shop")
    assert (checked.returncode, checked.stderr) == (1, failed.stderr)
    assert run("schema", "register", "shop", str(file), "--compatibility=NONE").returncode == 0


def test_bad_input_is_one_line(run, call, tmp_path):
    (tmp_path / "bad.avsc").write_text("{")
    (tmp_path / "latin.avsc").write_bytes(b'{"type": "record", "name": "\xe9"}')
    for words, wanted in [
        (["schema", "check", "bad.avsc"], "no Avro schema"),
        (["schema", "check", "latin.avsc"], "no UTF-8"),
        (["schema", "list", "gone"], "project 'gone' is not in the catalogue"),
        (["schema", "show", "shop", "x"], "has no schema of track 'x'"),
        (["schema", "infer", "x", "--from=bad.avsc"], "sample 1 is no JSON"),
    ]:
        failed = run(*words)
        assert failed.returncode == 1, words
        assert failed.stderr.startswith("catalog: "), failed.stderr
        assert wanted in failed.stderr
        assert len(failed.stderr.splitlines()) == 1
