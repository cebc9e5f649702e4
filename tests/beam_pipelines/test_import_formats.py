"""Importing Parquet and access logs, packed files, many files, and files that are broken."""

from __future__ import annotations

import gzip
import json
import os
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backports import zstd

from beam_pipelines.run import main
from catalog import policies
from catalog.store import Catalog
from schemas_avro.tables import DEAD_LETTERS, EVENTS
from tests.beam_pipelines.test_import import CSV, MAPPING, bring, data, rows

__all__ = ["data"]  # the fixture

LOG = (
    '203.0.113.9 - ann [10/Oct/2024:13:55:36 -0700] "GET /shop/hat?utm_source=mail HTTP/1.1" 200 '
    '2326 "https://example.com/" "Mozilla/5.0 \\"quoted\\""\n'
    '203.0.113.9 - - [10/Oct/2024:13:55:40 -0700] "POST /cart HTTP/1.1" 302 -\n'
    '2001:db8::1 - - [10/Oct/2024:13:55:41 -0700] "GET / HTTP/2.0" 404 12 "-" "-"\n'
    "203.0.113.9 what is this\n"
)


def run(data: Path, pattern: str, *flags: str) -> int:
    return main(["import", f"--input={data / pattern}", "--project=shop", *flags])


def logs(data: Path, *flags: str, pattern: str = "access.log") -> int:
    return run(data, pattern, "--format=access_log", *flags)


def events(data: Path) -> list[dict[str, Any]]:
    return sorted(rows(data, EVENTS), key=lambda row: row["event_id"])


def mapped(data: Path, pattern: str, mapping: str = MAPPING) -> int:
    (data / "map.toml").write_text(mapping)
    return run(data, pattern, f"--mapping={data / 'map.toml'}")


def test_an_access_log_becomes_pages_without_an_address(data: Path) -> None:
    (data / "access.log").write_text(LOG)
    assert logs(data) == 0
    hat, cart, home = events(data)
    assert (hat["type"], hat["user_id"], hat["page_path"]) == ("page", "ann", "/shop/hat")
    assert hat["event_time"] == datetime(2024, 10, 10, 20, 55, 36, tzinfo=UTC)
    assert (hat["referrer"], hat["user_agent"]) == ("https://example.com/", 'Mozilla/5.0 "quoted"')
    assert hat["campaign_source"] == "mail"
    kept = {"method": "GET", "status": 200, "bytes": 2326, "protocol": "HTTP/1.1"}
    assert json.loads(hat["properties"]) == {**kept, "query": "utm_source=mail"}
    assert cart["anonymous_id"] != home["anonymous_id"]
    assert cart["user_id"] is None
    assert json.loads(cart["properties"]) == {
        "method": "POST", "status": 302, "protocol": "HTTP/1.1",
    }  # fmt: skip
    (letter,) = rows(data, DEAD_LETTERS)
    assert letter["original"] == b"- what is this"
    stored = [*rows(data, EVENTS), letter]
    assert "203.0.113" not in repr(stored)
    assert "2001:db8" not in repr(stored)


@pytest.mark.parametrize(
    ("ip", "stored"),
    [
        ("none", {None}),
        ("truncated", {"203.0.113.0", "2001:db8::"}),
        ("full", {"203.0.113.9", "2001:db8::1"}),
    ],
)
def test_addresses_are_stored_as_the_project_says(data: Path, ip: Any, stored: set[Any]) -> None:
    policies.set_project(Catalog(f"sqlite:///{data}/data/catalog.db"), "shop", ip=ip)
    (data / "access.log").write_text(LOG)
    assert logs(data) == 0
    assert {row["ip"] for row in rows(data, EVENTS)} == stored


def test_a_visitor_has_one_id_a_day_and_over_imports_only_with_a_key(data: Path) -> None:
    line = '198.51.100.7 - - [{}/Oct/2024:12:00:0{} +0000] "GET /{} HTTP/1.1" 200 1 "-" "Agent"\n'
    (data / "access.log").write_text("".join(line.format(*n) for n in [(10, 1, 1), (10, 2, 2)]))
    (data / "next.log").write_text("".join(line.format(*n) for n in [(10, 3, 3), (11, 1, 4)]))
    (data / "key").write_bytes(b"0123456789abcdef")
    flag = f"--visitor_key_file={data / 'key'}"
    assert logs(data, flag) == logs(data, flag, pattern="next.log") == 0
    by_path = {row["page_path"]: row["anonymous_id"] for row in rows(data, EVENTS)}
    assert by_path["/1"] == by_path["/2"] == by_path["/3"] != by_path["/4"]
    (data / "third.log").write_text(line.format(10, 5, 5))
    assert logs(data, pattern="third.log") == 0
    assert {r["page_path"]: r["anonymous_id"] for r in rows(data, EVENTS)}["/5"] != by_path["/1"]


def test_parquet_keeps_times_numbers_and_what_is_nested(data: Path) -> None:
    noon = datetime(2024, 2, 29, 12, tzinfo=UTC)
    table = pa.table(
        {
            "when": pa.array([noon, None], pa.timestamp("us", "UTC")),
            "who": [7, 8],
            "what": ["view", "sale"],
            "price": pa.array([None, Decimal("1.50")], pa.decimal128(9, 2)),
            "more": [{"a": [1.5, float("nan")]}, None],
        }
    )
    pq.write_table(table, data / "in.parquet")
    assert mapped(data, "in.parquet", 'format = "parquet"\n' + MAPPING) == 0
    view, sale = events(data)
    assert (view["event_id"], view["user_id"], view["event_time"]) == ("in.parquet:1", "7", noon)
    assert json.loads(view["properties"])["more"] == {"a": [1.5, None]}
    assert (sale["revenue_minor"], sale["flags"] & 4) == (150, 4)


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress], ids=["gzip", "zstd"])
def test_packed_files_are_the_same_files(data: Path, pack: Any) -> None:
    (data / "in.csv.x").write_bytes(pack(CSV.encode()))
    assert mapped(data, "in.csv.x") == 0
    assert [row["event_id"] for row in events(data)] == [f"in.csv.x:{n}" for n in (1, 2, 3)]


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress], ids=["gzip", "zstd"])
def test_of_a_file_cut_off_comes_what_is_there_and_the_rest_later(data: Path, pack: Any) -> None:
    lines = [f"2024-02-29T12:00:00Z,u{n},{os.urandom(8).hex()},\n" for n in range(9_000)]
    whole = pack(("when,who,what,price\n" + "".join(lines)).encode())
    (data / "in.csv.x").write_bytes(whole[: len(whole) // 2])
    assert mapped(data, "in.csv.x") == 0
    there = {row["event_id"] for row in rows(data, EVENTS)}
    assert 1000 < len(there) < 9000
    last = max(rows(data, DEAD_LETTERS), key=lambda row: int(row["dead_letter_id"].split(":")[2]))
    assert last["message"].startswith("nothing after row")
    assert last["message"].endswith("import the whole file again")
    (data / "in.csv.x").write_bytes(whole)
    assert mapped(data, "in.csv.x") == 0
    assert {row["event_id"] for row in rows(data, EVENTS)} == {
        f"in.csv.x:{n}" for n in range(1, 9001)
    }


def test_a_pattern_brings_many_files_each_under_its_own_name(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("a", "b"):
        (data / folder).mkdir()
        (data / folder / "in.csv").write_text(CSV)  # the very same file twice
    assert mapped(data, "*/in.csv") == 0
    wanted = sorted(f"{folder}/in.csv:{n}" for folder in "ab" for n in (1, 2, 3))
    assert [row["event_id"] for row in events(data)] == wanted
    capsys.readouterr()
    assert mapped(data, "*/in.csv") == 0
    assert "0 rows new in the archive, 4 blocks were there already" in capsys.readouterr().out


def test_a_spreadsheets_mark_and_epoch_times_are_read(data: Path) -> None:
    text = "\ufeffwhen,who,what,price\n1709208000000,ann,view,\n"
    assert bring(data, text) == 0
    assert events(data)[0]["event_time"] == datetime(2024, 2, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"what": "\\ud83d", "who": 1}', "unreadable"),
        ('{"what": NaN, "who": 1}', "unreadable"),
        ('{"what": 1e999, "who": 1}', "unreadable"),
        ("[" * 100_000, "unreadable"),
        (json.dumps({"what": "x" * 1_000_000, "who": 1}), "event_too_large"),
        ('{"what": "sale", "who": 1, "price": 1.234}', "bad_money"),
        ('{"what": "sale", "who": 1, "when": 1e400}', "bad_time"),
        ('{"what": {"a": 1}, "when": true, "who": 1}', "bad_time"),
        ('{"what": "view"}', "no_person"),
    ],
)
def test_what_json_may_hold_and_we_may_not_is_a_dead_letter(
    data: Path, text: str, reason: str
) -> None:
    good = '{"what": "view", "who": 2, "when": "2024-01-01T00:00:00Z"}'
    assert bring(data, f"{text}\n{good}\n", 'format = "jsonl"\n' + MAPPING, "in.jsonl") == 0
    assert [row["user_id"] for row in rows(data, EVENTS)] == ["2"]
    assert [row["reason"] for row in rows(data, DEAD_LETTERS)] == [reason]


def test_an_unknown_currency_and_a_large_cell_are_dead_letters(data: Path) -> None:
    text = "when,who,what,price\n2024-02-29T12:00:00Z,ann,sale,1\n2024-02-29T12:00:00Z,ann,{},\n"
    assert bring(data, text.format("x" * 1_000_000), MAPPING.replace("EUR", "XXY")) == 0
    assert rows(data, EVENTS) == []
    reasons = sorted(row["reason"] for row in rows(data, DEAD_LETTERS))
    assert reasons == ["bad_money", "event_too_large"]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all", b"\x1f\x8b\x08"])
def test_a_broken_parquet_file_is_one_dead_letter(data: Path, content: bytes) -> None:
    (data / "in.parquet").write_bytes(content)
    assert mapped(data, "in.parquet", 'format = "parquet"\n' + MAPPING) == 0
    assert [row["reason"] for row in rows(data, DEAD_LETTERS)] == ["unreadable"]


def test_a_file_in_another_encoding_is_read_with_marks_for_what_is_none(data: Path) -> None:
    (data / "in.csv").write_bytes("when,who,what,price\n,ann,Café,\n".encode("latin-1"))
    assert mapped(data, "in.csv") == 0
    assert [row["name"] for row in rows(data, EVENTS)] == ["Caf\ufffd"]
    assert mapped(data, "in.csv", 'encoding = "latin-1"\n' + MAPPING) == 0
    assert {row["name"] for row in rows(data, EVENTS)} == {"Caf\ufffd", "Café"}


def test_mistakes_name_the_file_and_the_remedy(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "logs").mkdir()
    assert logs(data, pattern="logs") == 2
    assert "is a directory; name its files" in capsys.readouterr().err
    assert logs(data, pattern="none-*.log") == 2
    assert "as a pattern fits none" in capsys.readouterr().err
    (data / "in.csv").write_text(CSV)
    assert run(data, "in.csv") == 2
    assert "--mapping is needed" in capsys.readouterr().err
    (data / "key").write_bytes(b"short")
    assert logs(data, f"--visitor_key_file={data / 'key'}", pattern="in.csv") == 2
    assert "16 bytes or more" in capsys.readouterr().err
    assert mapped(data, "in.csv", 'encoding = "klingon"\n' + MAPPING) == 2
    assert "encoding = 'klingon' is unknown" in capsys.readouterr().err
    assert mapped(data, "in.csv", "event = 3") == 2
    assert "3 must be a table" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "access.log").write_text(LOG)
    (data / "access.log").chmod(0)
    assert logs(data) == 2
    assert "no permission to read" in capsys.readouterr().err


def test_a_dry_run_names_the_files_and_writes_nothing(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "access.log").write_text(LOG)
    assert logs(data, "--dry_run") == 0
    assert "would read 1 files" in capsys.readouterr().out
    assert not (data / "data/archive").exists()


def test_large_rows_make_smaller_blocks_with_the_same_ids(data: Path) -> None:
    big = "x" * 100_000
    lines = [f"2024-02-29T12:00:00Z,u{n},view {big},\n" for n in range(400)]  # 40 MB
    assert bring(data, "when,who,what,price\n" + "".join(lines)) == 0
    found = pl.DataFrame(rows(data, EVENTS)).select("event_id", "seq")
    assert found["event_id"].n_unique() == 400
    assert found["seq"].n_unique() == 3
