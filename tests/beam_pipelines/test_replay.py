"""Replaying dead letters: once each, by the same rules as events, refused ones stay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import apache_beam as beam
import polars as pl
import pytest
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner

from beam_pipelines.connectors.frames import Frame
from beam_pipelines.connectors.letters import only_one
from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.run import main
from beam_pipelines.steps.archive import Archive
from catalog import policies
from catalog.schemas import SchemaRegistry
from catalog.settings import read
from catalog.store import Catalog
from collector.protocols import native, segment
from schemas_avro import block, derive, load
from schemas_avro.tables import DEAD_LETTERS, EVENTS, REPLAYS, Table
from tests.system import System, wait_for
from transforms.candidates import Candidates
from transforms.judge import Origin, dead_letter_row, judge
from transforms.positions import Positions

NOON = 1_709_208_000_000_000  # 2024-02-29 12:00 UTC
SETTINGS = read({})


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADWATER_DATA_DIR", str(tmp_path))
    catalog(tmp_path).migrate()
    catalog(tmp_path).add_project("shop")
    catalog(tmp_path).add_key("shop", "web")
    return tmp_path


def catalog(data: Path) -> Catalog:
    return Catalog(f"sqlite:///{data}/catalog.db")


def adapted(*events: Any, adapter: Any = native.events) -> Candidates:
    body = json.dumps(list(events)).encode()
    return adapter(body, SETTINGS)


def origin(**fields: Any) -> Origin:
    return Origin("shop", "web", received_time=NOON, **fields)


def refuse(data: Path, candidates: Candidates, seq: int = 0, **said: Any) -> list[str]:
    """What the collector and ingest do with the refused; ids of the letters."""
    judged = judge([(candidates, origin(**said))])
    refused = candidates.refusals(judged.refused)
    letters = [
        dead_letter_row(one, origin(**said), step="intake", dead_letter_id=f"letter-{seq}-{at}")
        for at, one in sorted(refused.items())
    ]
    types = derive.wire(load("dead_letter"))
    rows = pl.DataFrame(letters, schema=types, orient="row")
    meta = block.new_meta(rows, producer="collector-0", seq=seq, first_row=0)
    payload = block.encode(load("dead_letter"), rows, meta)
    directory = str(data / "archive")
    with beam.Pipeline(BundleBasedDirectRunner()) as root:
        frames = root | beam.Create([Frame("collector-0", seq, seq, payload)])
        frames | Archive(directory, DEAD_LETTERS, Positions())
    return [letter["dead_letter_id"] for letter in letters]


def rows(data: Path, table: Table = EVENTS) -> list[dict[str, Any]]:
    found = Warehouse(str(data / "archive")).table(table).scan().to_arrow().to_pylist()
    return sorted(found, key=lambda row: str(row.get("event_id") or row.get("dead_letter_id")))


def replay(data: Path, *flags: str, edits: str = "", mapping: str = "") -> int:
    given = []
    for name, text in (("edits", edits), ("mapping", mapping)):
        if text:
            (data / f"{name}.toml").write_text(text)
            given.append(f"--{name}={data / f'{name}.toml'}")
    return main(["replay", *given, *flags])


SALE = {"name": "sale", "event_id": "e1", "user_id": "u1", "time": "2024-02-29T11:59:00Z",
        "revenue": 12.5, "properties": {"plan": "pro", "n": 1}}  # fmt: skip
EURO = '[[edit]]\nreason = "bad_money"\nset = { currency = "EUR" }\n'


def test_a_mended_letter_is_the_event_that_a_right_one_would_have_been(data: Path) -> None:
    said = {"sent_time": NOON - 90_000_000, "flags": 16, "retry_count": 2,
            "columns": {"country": "FR", "ip": "203.0.113.9"}}  # fmt: skip
    refuse(data, adapted(SALE), **said)
    assert replay(data, edits=EURO) == 0
    (event,) = rows(data)
    right = adapted({**SALE, "currency": "EUR"})
    (wanted,) = judge([(right, origin(**said))]).rows.to_dicts()
    times = ("event_time", "original_time", "sent_time", "received_time")
    for name in set(wanted) - {"ip", *times}:
        assert event[name] == wanted[name], name
    for name in times:
        assert round(event[name].timestamp() * 1e6) == wanted[name], name
    assert event["ip"] is None  # a dead letter keeps no address
    assert event["flags"] & 1  # its clock was 90 s behind, which the letter remembers


def test_a_second_replay_adds_nothing(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refuse(data, adapted(SALE, {**SALE, "event_id": "e2", "currency": "nope"}))
    assert replay(data, edits=EURO) == 0
    assert "2 dead letters tried: 2 are events now" in capsys.readouterr().out
    before = rows(data)
    assert replay(data, edits=EURO) == 0
    assert "no open dead letters fit" in capsys.readouterr().out
    assert rows(data) == before
    assert [row["outcome"] for row in rows(data, REPLAYS)] == ["returned", "returned"]


def test_a_letter_refused_again_stays_with_the_new_reason(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse(data, adapted({**SALE, "time": "never"}))  # and no currency either
    assert replay(data, edits="[[edit]]\nset = { timestamp = 1709208000000 }") == 0
    assert rows(data) == []
    (mark,) = rows(data, REPLAYS)
    assert (mark["outcome"], mark["reason"]) == ("refused", "bad_money")
    assert replay(data, "--reason=bad_time") == 0
    assert "no open dead letters fit" in capsys.readouterr().out
    fix = '[[edit]]\nset = { revenue = "1.23", currency = "EUR", timestamp = 1709208000000 }'
    assert replay(data, "--reason=bad_money", edits=fix) == 0
    assert [row["revenue_minor"] for row in rows(data)] == [123]


def test_nothing_new_is_not_written_down_again(data: Path) -> None:
    refuse(data, adapted(SALE))
    assert replay(data) == replay(data) == 0
    assert rows(data, REPLAYS) == []


def test_a_crash_between_the_two_commits_leaves_the_letters_open(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(data, adapted(SALE))
    add = Warehouse.add

    def dies(self: Warehouse, spec: Table, added: Any) -> None:
        if spec == EVENTS:
            raise OSError("killed")
        add(self, spec, added)

    monkeypatch.setattr(Warehouse, "add", dies)
    with pytest.raises(Exception, match="killed"):
        replay(data, edits=EURO)
    assert [row["outcome"] for row in rows(data, REPLAYS)] == ["returned"]  # of no effect
    assert rows(data) == []
    monkeypatch.undo()
    monkeypatch.setenv("HEADWATER_DATA_DIR", str(data))
    assert replay(data, edits=EURO) == replay(data, edits=EURO) == 0
    assert len(rows(data)) == 1


def test_the_preview_says_what_would_pass_and_writes_nothing(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse(data, adapted(SALE, {**SALE, "event_id": "e2", "time": "never"}, {**SALE, "name": 3}))
    refuse(data, adapted({"name": "view", "event_id": "e3"}), seq=1)
    assert replay(data, "--dry_run", edits=EURO) == 0
    text = capsys.readouterr().out
    assert "bad_money: 1 letters, 1 would pass now" in text
    assert "bad_time: 1 letters, 0 would pass now" in text
    assert "    letter-0-0: an event" in text
    assert "  1 bad_time\n    letter-0-1: time 'never' is unreadable" in text
    assert "no_person: 1 letters, 0 would pass now" in text
    assert "wrong_type: 1 letters, 0 would pass now" in text
    assert "cannot be replayed without --mapping" in text
    assert rows(data) == rows(data, REPLAYS) == []


def test_only_the_letters_asked_for_are_tried(data: Path) -> None:
    refuse(data, adapted(SALE, {"name": "view", "event_id": "e2"}))
    fix = EURO + '[[edit]]\nset = { user_id = "nobody" }\n'
    for flags in (
        ["--project=other"],
        ["--source=app"],
        ["--step=import"],
        ["--from=2024-03-01"],
        ["--to=2024-02-28"],
    ):
        assert replay(data, *flags, edits=fix) == 0
        assert rows(data) == []
    assert (
        replay(data, "--reason=no_person", "--from=2024-02-29", "--to=2024-02-29", edits=fix) == 0
    )
    assert [row["event_id"] for row in rows(data)] == ["e2"]


def test_originals_too_broken_for_a_candidate_come_back_by_a_mapping(data: Path) -> None:
    broken = {"type": "track", "event": 3, "userId": "u9", "messageId": "m1",
              "timestamp": "2024-02-29T11:00:00Z", "properties": {"plan": "pro"}}  # fmt: skip
    batch = json.dumps({"batch": [broken]}).encode()
    refuse(data, segment.batch(batch, SETTINGS))
    mapping = (
        'format = "jsonl"\nproperties = "properties"\n[event]\ntype = "{type}"\n'
        'name = "Event {event}"\nuser_id = "{userId}"\nevent_id = "{messageId}"\n'
        'timestamp = "{timestamp}"\n'
    )
    assert replay(data, mapping=mapping) == 0
    (event,) = rows(data)
    assert (event["name"], event["user_id"], event["event_id"]) == ("Event 3", "u9", "m1")
    assert json.loads(event["properties"]) == {"plan": "pro"}


def test_an_event_without_an_id_gets_the_letters(data: Path) -> None:
    ids = refuse(data, adapted({k: v for k, v in SALE.items() if k != "event_id"}))
    assert replay(data, edits=EURO) == 0
    (event,) = rows(data)
    assert event["event_id"] in ids or len(event["event_id"]) == 32
    assert event["flags"] & 8


def test_imported_rows_keep_the_ids_that_the_import_gives(data: Path) -> None:
    (data / "in.csv").write_text("who,price\nann,1.50\n")
    (data / "map.toml").write_text(
        '[event]\ntype = "track"\nname = "sale"\nuser_id = "{who}"\nrevenue = "{price}"\n'
    )
    given = [f"--input={data / 'in.csv'}", f"--mapping={data / 'map.toml'}", "--project=shop"]
    assert main(["import", *given]) == 0
    assert rows(data) == []
    assert replay(data, edits=EURO) == 0
    assert [(r["event_id"], r["revenue_minor"]) for r in rows(data)] == [("in.csv:1", 150)]


def test_letters_of_erased_people_do_not_come_back(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse(data, adapted(SALE, {**SALE, "event_id": "e2", "user_id": "u2"}))
    policies.suppress(catalog(data), "shop", ["u1"])
    assert replay(data, edits=EURO) == 0
    assert "1 are events now" in (out := capsys.readouterr().out)
    assert "1 of erased people left out" in out
    assert [row["user_id"] for row in rows(data)] == ["u2"]


def test_a_schema_in_force_holds_for_replays_and_a_new_version_lets_them_pass(data: Path) -> None:
    def avro(*fields: dict[str, Any]) -> str:
        record = {"type": "record", "name": "sale", "fields": list(fields)}
        return json.dumps({**record, "event": {"type": "track", "name": "sale"}})

    registry = SchemaRegistry(catalog(data))
    plan, n = ({"name": "plan", "type": "string"}, {"name": "n", "type": "string"})
    registry.register("shop", avro(plan, n), kind="track", name="sale", compatibility="NONE")
    catalog(data).set_source("shop", "web", schema_mode="enforce")
    refuse(data, adapted(SALE))
    assert replay(data, edits=EURO) == 0
    assert [row["reason"] for row in rows(data, REPLAYS)] == ["schema_mismatch"]
    registry.register("shop", avro(plan), kind="track", name="sale", compatibility="NONE")
    assert replay(data, edits='[[edit]]\nset = { currency = "EUR" }') == 0
    assert [row["schema_version"] for row in rows(data)] == [2]


def test_two_replays_at_once_are_one(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refuse(data, adapted(SALE))
    with only_one(str(data / "archive")):
        assert replay(data, edits=EURO) == 2
    assert "another replay is under way" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--reason=bad_luck"], "--reason='bad_luck' is none of"),
        (["--from=yesterday"], "--from='yesterday' is no day"),
        (["--from=2024-02-02", "--to=2024-02-01"], "lies before"),
        (["--edits=/nowhere"], "--edits='/nowhere' is no file"),
    ],
)
def test_mistakes_are_named(
    data: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    assert main(["replay", *flags]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.journey
def test_what_the_collector_refused_comes_back_through_real_processes(tmp_path: Path) -> None:
    with System(tmp_path / "data", archive_every_s=1) as system:
        system.run("catalog", "add-project", "shop")
        key = system.key("shop")
        system.start_collector()
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json",
                   "user-agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/128.0"}  # fmt: skip
        sale = {**SALE, "time": "2026-01-02T03:04:05Z"}
        status, answer = system.post(f"{system.collector}/v1/events", sale, headers)
        assert (status, answer["results"][0]["reason"]) == (200, "bad_money")
        system.start_ingest()
        archive = tmp_path / "data/archive"
        (letter,) = wait_for(
            lambda: (archive / "iceberg.db").exists() and rows(tmp_path / "data", DEAD_LETTERS),
            seconds=120,
            what="the dead letter",
        )
        (tmp_path / "edits.toml").write_text(EURO)
        flags = ("beam_pipelines.run", "replay", f"--edits={tmp_path / 'edits.toml'}")
        assert "1 would pass now" in system.run(*flags, "--dry_run").stdout
        assert "1 are events now" in system.run(*flags).stdout
        assert "no open dead letters" in system.run(*flags).stdout
        (event,) = rows(tmp_path / "data")
    assert (event["event_id"], event["revenue_minor"], event["currency"]) == ("e1", 1250, "EUR")
    assert event["received_time"] == letter["received_time"]
    assert event["browser_name"] == "Firefox"
