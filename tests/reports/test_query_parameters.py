"""Values of parameters: what JSON may say, what the engine gets; they are only ever values."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from reports.warehouse import engine
from reports.warehouse.engine import QueryFailed, Warehouse
from reports.warehouse.execute import execute
from reports.warehouse.parameters import ParameterError, values_of
from tests.reports import world
from tests.streams import NOON, event

NAMES = ["plain", "it's", "x' OR '1'='1", "'; DROP TABLE events; --", "@x", "$x", "\U0001f600", ""]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    directory = tmp_path_factory.mktemp("parameters")
    rows = [event(f"e{n}", NOON + n, name=name or None) for n, name in enumerate(NAMES)]
    world.archive(directory, rows)
    nothing = pa.table({"minute": pa.array([], pa.timestamp("us", tz="UTC"))})
    return Warehouse(world.settings(directory), lambda _: (nothing, None))


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (None, {}),
        ({"Day": "2026-01-01"}, {"day": "2026-01-01"}),
        ({"n": 7, "f": 1.5, "b": True, "z": None}, {"n": 7, "f": 1.5, "b": True, "z": None}),
        ({"l": ["a", None], "m": [1, 2.5]}, {"l": ["a", None], "m": [1, 2.5]}),
        ({"d": {"type": "date", "value": "2026-02-28"}}, {"d": date(2026, 2, 28)}),
        ({"t": {"type": "TIMESTAMP", "value": "2026-01-01T01:00:00+01:00"}},
         {"t": datetime(2026, 1, 1, tzinfo=UTC)}),
        ({"t": {"type": "TIMESTAMP", "value": "2026-01-01"}},
         {"t": datetime(2026, 1, 1, tzinfo=UTC)}),
        ({"t": {"type": "DATETIME", "value": "2026-01-01 12:30:00"}},
         {"t": datetime(2026, 1, 1, 12, 30)}),
        ({"n": {"type": "NUMERIC", "value": "0.1"}}, {"n": Decimal("0.1")}),
        ({"n": {"type": "INT64", "value": "-9223372036854775808"}}, {"n": -(1 << 63)}),
        ({"n": {"type": "FLOAT64", "value": "1e3"}}, {"n": 1000.0}),
        ({"b": {"type": "BOOL", "value": "false"}}, {"b": False}),
        ({"l": {"type": "ARRAY<INT64>", "value": ["1", 2]}}, {"l": [1, 2]}),
        ({"l": {"type": "DATE", "value": None}}, {"l": None}),
    ],
)  # fmt: skip
def test_what_json_says(given_: Any, expected: dict[str, Any]) -> None:
    found = values_of(given_)
    assert found == expected
    assert {k: type(v) for k, v in found.items()} == {k: type(v) for k, v in expected.items()}


@pytest.mark.parametrize(
    ("given_", "text"),
    [
        ([1], "must be an object"),
        ({"1x": 1}, "'1x'"),
        ({"x y": 1}, "'x y'"),
        ({"": 1}, "a name is letters"),
        ({"x": 1, "X": 2}, "given twice"),
        ({"x": {"a": 1}}, '{"type": "DATE", "value": "2026-01-01"}'),
        ({"x": {"type": 3, "value": 1}}, "must be a value"),
        ({"x": {"type": "STRUCT", "value": 1}}, "there is no type 'STRUCT'; use STRING"),
        ({"x": {"type": "DATE", "value": "tomorrow"}}, "x='tomorrow' is no DATE"),
        ({"x": {"type": "DATE", "value": 5}}, "x='5' is no DATE"),
        ({"x": {"type": "INT64", "value": "1.5"}}, "x='1.5' is no INT64"),
        ({"x": {"type": "INT64", "value": 1 << 63}}, "is no INT64"),
        ({"x": {"type": "BOOL", "value": "maybe"}}, "give true or false"),
        ({"x": {"type": "NUMERIC", "value": "NaN"}}, "is no NUMERIC"),
        ({"x": {"type": "ARRAY<INT64>", "value": 1}}, "must be a list"),
        ({"x": [1, "a"]}, "of one type"),
        ({"x": [[1]]}, "of one type"),
        ({"x": 1 << 64}, "is no INT64"),
        ({f"x{n}": n for n in range(101)}, "at most 100"),
    ],
)
def test_what_cannot_be_is_named_with_its_remedy(given_: Any, text: str) -> None:
    with pytest.raises(ParameterError) as refused:
        values_of(given_)
    assert text in str(refused.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_value_finds_what_equals_it_and_nothing_else(warehouse: Warehouse, name: str) -> None:
    sql = "SELECT COALESCE(name, '') FROM events WHERE COALESCE(name, '') = @name"
    assert warehouse.ask("demo", sql, {"name": name}).rows == [(name,)]


def test_a_text_stands_for_a_day_or_an_instant_where_it_is_compared(warehouse: Warehouse) -> None:
    sql = "SELECT COUNT(*) FROM events WHERE event_time >= @t AND DATE(event_time) = @d"
    at = datetime.fromtimestamp(NOON / 1e6, UTC)
    values = {"t": at.isoformat(), "d": at.date().isoformat()}
    assert warehouse.ask("demo", sql, values).rows == [(len(NAMES),)]
    later = {"t": datetime(2100, 1, 1, tzinfo=UTC), "d": at.date()}
    assert warehouse.ask("demo", sql, later).rows == [(0,)]
    with pytest.raises(QueryFailed, match="soon"):
        warehouse.ask("demo", sql, {"t": "soon", "d": "soon"})


def test_lists_limits_and_what_is_not_asked_for(warehouse: Warehouse) -> None:
    sql = "SELECT name FROM events WHERE name IN UNNEST(@names) ORDER BY name LIMIT @n"
    values = {"names": ["plain", "it's", "nobody"], "n": 1, "unused": "x"}
    assert warehouse.ask("demo", sql, values).rows == [("it's",)]


SCALARS = st.none() | st.booleans() | st.floats() | st.integers(-(1 << 63), (1 << 63) - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@budget(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SCALARS | TEXTS | st.lists(TEXTS, min_size=1))
def test_every_value_comes_back_as_it_was(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, value: Any
) -> None:
    monkeypatch.setattr(engine, "run_apart", lambda job, timeout_s: execute(job))
    ((found,),) = warehouse.ask("demo", "SELECT @x", values_of({"x": value})).rows
    assert found == value or (value != value and found != found)
    assert isinstance(found, type(value))
