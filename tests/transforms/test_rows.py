"""Reading rows: numbered, each with its own text, broken ones whole."""

from __future__ import annotations

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from transforms.failures import Rejection
from transforms.rows import csv_rows, jsonl_rows

CELL = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)


@given(st.lists(st.tuples(CELL, CELL), max_size=12), st.sampled_from(["\r", "\n", "\r\n"]))
def test_what_a_csv_writer_wrote_is_read_row_by_row(rows: list[tuple[str, str]], end: str) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b"), *rows])
    found = list(csv_rows(io.StringIO(out.getvalue(), newline="")))
    assert [row.number for row in found] == list(range(1, len(rows) + 1))
    assert [row.content for row in found] == [{"a": a, "b": b} for a, b in rows]


def test_a_short_row_keeps_its_text_and_the_next_is_read() -> None:
    found = list(csv_rows(["a,b\r", "1,2\r", "cut\r", "\r", "3,4"]))
    assert isinstance(found[1].content, Rejection)
    assert found[1].content.original == b"cut"
    assert [(row.number, row.content) for row in found if row is not found[1]] == [
        (1, {"a": "1", "b": "2"}),
        (3, {"a": "3", "b": "4"}),
    ]


def test_json_lines() -> None:
    found = list(jsonl_rows(['{"a":1}\n', "\n", "{\n", "7\n"]))
    assert found[0].content == {"a": 1}
    assert [r.content.reason.value for r in found[1:] if isinstance(r.content, Rejection)] == [
        "unreadable",
        "not_an_object",
    ]
