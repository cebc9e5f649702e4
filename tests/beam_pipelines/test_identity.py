"""The identity tables from an archive: the pure functions on all events at once say the same."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from beam_pipelines.connectors.uri import UriError
from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.jobs import identity
from beam_pipelines.options import IdentityOptions
from catalog.settings import read
from schemas_avro.tables import IDENTITIES, IDENTITY_EDGES
from tests.beam_pipelines.test_rollup import archive, in_blocks
from tests.streams import NOON, event, frame_of


def run(directory: Path, **given: Any) -> None:
    options = {"max_links": 100, "taken_back": "", "again": False, "dry_run": False, **given}
    uri = f"iceberg:{directory}/archive"
    identity.start(IdentityOptions(archive=uri, runner="direct", **options), [], read({}))


def table(directory: Path, spec: Any) -> list[dict[str, Any]]:
    rows = Warehouse(f"{directory}/archive").table(spec).scan().to_arrow().to_pylist()
    return sorted(rows, key=lambda row: [str(row.get(c)) for c in sorted(row)])


def persons(directory: Path) -> set[frozenset[tuple[str, str, str]]]:
    found: dict[str, set[tuple[str, str, str]]] = {}
    for row in table(directory, IDENTITIES):
        found.setdefault(row["person_id"], set()).add((row["project"], row["kind"], row["id"]))
    return {frozenset(ids) for ids in found.values()}


def links(count: int, seed: int) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    kinds = ["identify", "track", "group", "page"]
    return [
        event(f"e{n}", NOON + n, type=rng.choice(kinds), user_id=f"u{rng.randrange(40)}",
              anonymous_id=f"a{rng.randrange(60)}", project=rng.choice(["demo", "other"]))
        for n in range(count)
    ]  # fmt: skip


def test_persons_are_connected_components_and_a_rerun_has_the_same_rows(tmp_path: Path) -> None:
    rows = links(160, seed=1)
    frames = in_blocks(rows, random.Random(2))
    archive(tmp_path, frames[::2])
    run(tmp_path)
    archive(tmp_path, frames[1::2])
    run(tmp_path)
    graph = nx.Graph(
        ((r["project"], "user", r["user_id"]), (r["project"], "anonymous", r["anonymous_id"]))
        for r in rows
        if r["type"] in ("identify", "group")
    )
    assert persons(tmp_path) == {frozenset(found) for found in nx.connected_components(graph)}
    before = [table(tmp_path, spec) for spec in (IDENTITIES, IDENTITY_EDGES)]
    run(tmp_path, again=True)
    assert [table(tmp_path, spec) for spec in (IDENTITIES, IDENTITY_EDGES)] == before


def test_taking_back_is_undone_by_leaving_it_out(tmp_path: Path) -> None:
    rows = [
        event("1", NOON, type="identify", user_id="u1", anonymous_id="shared"),
        event("2", NOON, type="identify", user_id="u2", anonymous_id="shared"),
    ]
    archive(tmp_path, [frame_of(rows)])
    run(tmp_path)
    joined = persons(tmp_path)
    assert [len(ids) for ids in joined] == [3]
    listed = tmp_path / "back.csv"
    listed.write_text("project,kind,id\ndemo,anonymous,shared\n")
    run(tmp_path, again=True, taken_back=str(listed))
    assert persons(tmp_path) == set()
    assert {row["refused"] for row in table(tmp_path, IDENTITY_EDGES)} == {"taken_back"}
    run(tmp_path, again=True)
    assert persons(tmp_path) == joined


def test_a_list_that_is_not_there_and_a_broken_one_are_named(tmp_path: Path) -> None:
    archive(tmp_path, [frame_of([event("1", NOON, anonymous_id="a")])])
    broken = tmp_path / "broken.csv"
    broken.write_bytes(b"\xff\xfe\x00")
    for path in ("/nowhere.csv", str(broken)):
        with pytest.raises(UriError, match="--taken_back"):
            run(tmp_path, taken_back=path)


def test_with_nothing_new_nothing_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path)
    archive(tmp_path, [frame_of(links(5, 1))])
    run(tmp_path, dry_run=True)
    assert "would read 1 files" in capsys.readouterr().out
    run(tmp_path)
    assert "replaced" in capsys.readouterr().out
    run(tmp_path)
    assert capsys.readouterr().out == ""
