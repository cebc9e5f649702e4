"""Files of exports: read back by other programs they are the rows, of any type and size."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.exports.writing import Shape, Written, columns_of, write
from transforms.csv_safe import safe

ROWS = """
SELECT * FROM (VALUES
  (1, 9007199254740993::BIGINT, -1.5::DOUBLE, 12.30::DECIMAL(9,2), '=1+1', TRUE,
   DATE '2026-03-01', TIMESTAMPTZ '2026-03-01 12:00:00.5Z', 'a,"b"\r\nc', 'x'::BLOB,
   [1, 2], {'k': 'v'}, 170141183460469231731687303715884105727::HUGEINT),
  (-2, -3, '-inf'::DOUBLE, -0.05, '-12.5', FALSE, NULL, NULL, '', NULL, NULL, NULL, 5),
  (NULL, NULL, 'nan'::DOUBLE, NULL, NULL, NULL, NULL, NULL, '\uff1dcmd', NULL, [], NULL, NULL)
) AS t(small, large, real, exact, text, yes, day, moment, said, bytes, list, pair, huge)
"""


@pytest.fixture
def engine() -> Any:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def written(engine: Any, directory: Path, sql: str, **shape: Any) -> list[Written]:
    engine.execute(f"CREATE OR REPLACE TEMP VIEW wanted AS {sql}")
    columns = columns_of(engine, "wanted")
    shape = {"format": "csv", "stem": "rows", "part_bytes": 1 << 30, **shape}
    found = write(engine, "wanted", columns, directory, Shape(**shape), lambda rows, size: None)
    for one in found:
        data = (directory / one.name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (one.bytes, one.sha256)
    assert sorted(p.name for p in directory.iterdir()) == sorted(one.name for one in found)
    return found


def test_csv_is_rfc_4180_and_runs_nothing(engine, tmp_path):
    (one,) = written(engine, tmp_path, ROWS)
    assert (one.name, one.rows) == ("rows.csv", 3)
    data = (tmp_path / "rows.csv").read_bytes()
    assert data.count(b"\r\n") == 5  # four lines, and one within a cell
    head, first, second, third = csv.reader(io.StringIO(data.decode(), newline=""))
    assert head == [
        "small",
        "large",
        "real",
        "exact",
        "text",
        "yes",
        "day",
        "moment",
        "said",
        "bytes",
        "list",
        "pair",
        "huge",
    ]
    assert first == [
        "1", "9007199254740993", "-1.5", "12.30", "'=1+1", "true", "2026-03-01",
        "2026-03-01T12:00:00.500000Z", 'a,"b"\r\nc', "eA==", "[1,2]", '{"k":"v"}',
        "170141183460469231731687303715884105727",
    ]  # fmt: skip
    assert second[:6] == ["-2", "-3", "'-inf", "-0.05", "-12.5", "false"]
    assert third[8] == "'\uff1dcmd"
    # Nothing for null, "" for an empty text.
    assert b',false,,,"",,' in data


def test_raw_csv_leaves_them_and_headers_are_guarded_like_cells(engine, tmp_path):
    sql = "SELECT '=1' AS \"=head\", '@x' AS b"
    written(engine, tmp_path, sql, raw=True)
    assert (tmp_path / "rows.csv").read_bytes() == b"=head,b\r\n=1,@x\r\n"
    written(engine, tmp_path, sql)
    assert (tmp_path / "rows.csv").read_bytes() == b"'=head,b\r\n'=1,'@x\r\n"


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.none() | st.text(), st.none() | st.integers(-5, 5)), max_size=9))
def test_any_texts_come_back(tmp_path_factory, rows):
    directory = tmp_path_factory.mktemp("any")
    with duckdb.connect() as engine:
        engine.execute("CREATE TABLE t (a VARCHAR, b BIGINT)")
        if rows:
            engine.executemany("INSERT INTO t VALUES (?, ?)", rows)
        for format_ in ("csv", "json", "jsonl", "parquet"):
            written(engine, directory / format_made(directory, format_), "SELECT * FROM t",
                    format=format_)  # fmt: skip
    cells = list(csv.reader(io.StringIO((directory / "csv/rows.csv").read_bytes().decode(),
                                        newline="")))[1:]  # fmt: skip
    expected = [[safe(a or ""), "" if b is None else str(b)] for a, b in rows]
    assert cells == expected
    objects = [{"a": a, "b": b} for a, b in rows]
    assert json.loads((directory / "json/rows.json").read_bytes()) == objects
    lines = (directory / "jsonl/rows.jsonl").read_bytes().decode().split("\n")
    assert [json.loads(line) for line in lines[:-1]] == objects
    assert lines[-1] == ""
    assert pq.read_table(directory / "parquet/rows.parquet").to_pylist() == objects


def format_made(directory: Path, name: str) -> str:
    (directory / name).mkdir()
    return name


@pytest.mark.parametrize("format_", ["json", "jsonl"])
def test_json_loses_no_digit(engine, tmp_path, format_):
    written(engine, tmp_path, ROWS, format=format_)
    text = (tmp_path / f"rows.{format_}").read_text()
    found = json.loads(text) if format_ == "json" else [json.loads(t) for t in text.splitlines()]
    assert found[0] == {
        "small": 1, "large": "9007199254740993", "real": -1.5, "exact": "12.30", "text": "=1+1",
        "yes": True, "day": "2026-03-01", "moment": "2026-03-01T12:00:00.500000Z",
        "said": 'a,"b"\r\nc', "bytes": "eA==", "list": [1, 2], "pair": {"k": "v"},
        "huge": "170141183460469231731687303715884105727",
    }  # fmt: skip
    assert (found[1]["large"], found[1]["real"], found[1]["huge"]) == (-3, None, 5)
    assert (found[2]["real"], found[2]["list"], found[2]["exact"]) == (None, [], None)
    assert list(found[0]) == list(found[2])


def test_embedded_json_stays_as_it_was_written(engine, tmp_path):
    sql = """SELECT unnest(['{"a": 1.10,\n "b": 12345678901234567890.5}', 'no json', NULL]) AS p"""
    written(engine, tmp_path, sql, format="jsonl", embedded={"p"})
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert lines == [
        '{"p":{"a": 1.10,  "b": 12345678901234567890.5}}', '{"p":"no json"}', '{"p":null}',
    ]  # fmt: skip


@pytest.mark.parametrize("format_", ["csv", "json", "jsonl", "parquet"])
def test_no_rows_are_a_file_all_the_same(engine, tmp_path, format_):
    (one,) = written(engine, tmp_path, f"{ROWS} WHERE false", format=format_)
    assert (one.name, one.rows) == (f"rows.{format_}", 0)
    data = (tmp_path / one.name).read_bytes()
    match format_:
        case "csv":
            assert data.startswith(b"small,large")
            assert data.count(b"\r\n") == 1
        case "json":
            assert json.loads(data) == []
        case "jsonl":
            assert data == b""
        case _:
            assert pq.read_table(tmp_path / one.name).column_names[0] == "small"


@pytest.mark.parametrize("format_", ["csv", "json", "jsonl", "parquet"])
def test_large_ones_come_in_parts_that_are_whole_files(engine, tmp_path, format_):
    sql = "SELECT range AS n, md5(range::VARCHAR) AS text FROM range(400_000)"
    found = written(engine, tmp_path, sql, format=format_, part_bytes=2_000_000)
    assert len(found) > 2
    assert [one.name for one in found] == [f"rows-{n + 1:03d}.{format_}" for n in range(len(found))]
    seen: list[int] = []
    for one in found:
        numbers = numbers_of(tmp_path / one.name, format_)
        assert len(numbers) == one.rows
        seen += numbers
    assert sorted(seen) == list(range(400_000))


def numbers_of(path: Path, format_: str) -> list[int]:
    match format_:
        case "csv":
            with path.open(newline="") as file:
                return [int(row["n"]) for row in csv.DictReader(file)]
        case "json":
            return [row["n"] for row in json.loads(path.read_bytes())]
        case "jsonl":
            return [json.loads(line)["n"] for line in path.read_text().splitlines()]
    return pq.read_table(path)["n"].to_pylist()  # type: ignore[no-any-return]


def test_one_column_of_nothing_is_still_a_line_each(engine, tmp_path):
    written(engine, tmp_path, "SELECT unnest([NULL, 5, NULL]) AS a")
    assert (tmp_path / "rows.csv").read_bytes() == b'a\r\n""\r\n5\r\n""\r\n'


def test_days_and_names_that_need_quotes(engine, tmp_path):
    sql = 'SELECT DATE \'2026-01-02\' AS "a""b,c", 1 AS "d\'"'
    written(engine, tmp_path, sql)
    assert (tmp_path / "rows.csv").read_bytes() == b'"a""b,c",d\'\r\n2026-01-02,1\r\n'
    (tmp_path / "rows.csv").unlink()
    written(engine, tmp_path, sql, format="jsonl")
    line = json.loads((tmp_path / "rows.jsonl").read_text())
    assert line == {'a"b,c': str(date(2026, 1, 2)), "d'": 1}
