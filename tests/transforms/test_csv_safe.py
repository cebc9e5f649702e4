"""Cells that a spreadsheet would run, here and in DuckDB's SQL."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transforms.csv_safe import is_formula, safe, safe_sql

BEGINNINGS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
texts = st.one_of(
    st.text(),
    st.builds(lambda a, b: a + b, st.sampled_from([*BEGINNINGS]), st.text()),
    st.from_regex(r"[+-]?[0-9]{1,3}(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?x?", fullmatch=True),
)


@pytest.mark.parametrize("letter", BEGINNINGS)
def test_a_cell_that_begins_so_gets_an_apostrophe(letter):
    assert safe(f"{letter}SUM(A1)") == f"'{letter}SUM(A1)"


@pytest.mark.parametrize("cell", ["-1", "+1", "-12.50", "+3e5", "-1E-07", "-007"])
def test_a_plain_number_stays(cell):
    assert safe(cell) == cell


@pytest.mark.parametrize("cell", ["-1+cmd|' /C calc'!A0", "-1 ", "--1", "-", "+.5", "-1.", "=1"])
def test_what_is_nearly_a_number_does_not(cell):
    assert safe(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "a=1", " =1", "1-1", "'=1"])
def test_all_else_stays(cell):
    assert safe(cell) == cell


@settings(deadline=None)
@given(st.lists(texts, min_size=1, max_size=20))
@example(["-1", "-1\n", "=", "\x00=1", "+1\r\n"])
def test_the_sql_says_the_same(cells):
    with duckdb.connect() as connection:
        sql = f"SELECT {safe_sql('cell')} FROM (SELECT unnest(?::VARCHAR[]) AS cell)"
        found = [row[0] for row in connection.execute(sql, [cells]).fetchall()]
    assert found == [safe(cell) for cell in cells]


@given(texts)
def test_what_comes_out_is_never_run(cell):
    assert not is_formula(safe(cell))
