"""Lists of ids: every line gives an id or says why not."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms import id_list
from transforms.id_list import BadLine, IdListError, of_values, read_csv
from transforms.identity import ILLEGAL

ids = st.text(
    st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=20
).filter(lambda text: text.lower() not in ILLEGAL and text.strip() == text)  # fmt: skip


@given(st.lists(ids), st.sampled_from(["person", "id", "User ID", "anonymous_id"]), st.booleans())
def test_a_written_file_is_read_back(values, header, is_second):
    written = io.StringIO(newline="")
    writer = csv.writer(written)
    writer.writerow(["note", header] if is_second else [header, "note"])
    writer.writerows([["n", v] if is_second else [v, "n"] for v in values])
    found = read_csv(written.getvalue())
    assert found.ids == tuple(sorted(set(values)))
    assert found.repeated == len(values) - len(set(values))
    assert found.bad == ()


def test_one_id_a_line_needs_no_header():
    found = read_csv("ann\r\n\r\nbob\nann\n")
    assert (found.ids, found.repeated) == (("ann", "bob"), 1)


def test_bad_lines_are_told_by_number():
    found = read_csv(
        'person,note\nann,1\n,2\nanonymous,3\n"a\x01b",4\n' + "x" * 600 + ",5\nbob,6\n"
    )
    assert found.ids == ("ann", "bob")
    assert [(one.line, one.message) for one in found.bad] == [
        (3, "has no id"),
        (4, "stands for nobody: apps send it where there is no id"),
        (5, "has characters that cannot be printed"),
        (6, "is longer than 512 characters"),
    ]
    assert len(found.bad[-1].text) == 80


def test_a_row_that_is_too_short_has_no_id():
    found = read_csv("note,person\nonly\n")
    assert found.bad == (BadLine(2, "", "has no id"),)


def test_what_is_no_csv_is_refused_with_its_line():
    with pytest.raises(IdListError, match=r"line 2: .*save it as CSV"):
        read_csv("ann\n" + '"' + "x" * 200_000 + '"\n')


def test_too_many_are_refused(monkeypatch):
    monkeypatch.setattr(id_list, "MOST_IDS", 2)
    assert read_csv("a\nb\na\n").ids == ("a", "b")
    with pytest.raises(IdListError, match="line 3: more than 2 ids"):
        read_csv("a\nb\nc\n")


def test_values_of_json_are_told_by_place():
    found = of_values(["ann", 7, None, True, ["x"], " bob "])
    assert found.ids == ("7", "ann", "bob")
    assert [(one.line, one.message) for one in found.bad] == [(n, "is no text") for n in (3, 4, 5)]
