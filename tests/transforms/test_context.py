"""Promoted columns: from any protocol's context, and never by the company they keep."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from schemas_avro import derive, load
from transforms.context import PATHS, promote

TYPES = derive.wire(load("event"))
VALUES = st.one_of(st.none(), st.text(max_size=6), st.just({"a": 1}), st.just([1]), st.just("x"))
PAGES = st.one_of(VALUES, st.dictionaries(st.sampled_from(["url", "path", "other"]), VALUES))
CONTEXTS = st.dictionaries(st.sampled_from(["page", "locale", "ip"]), PAGES).map(json.dumps)


def rows(*contexts: str | None, **columns: Any) -> pl.DataFrame:
    given = {"context": list(contexts), **columns}
    return pl.DataFrame(
        {n: pl.Series(n, given.get(n, [None] * len(contexts)), t) for n, t in TYPES.items()}
    )


def plainly(context: str, path: tuple[str, ...]) -> str | None:
    value = json.loads(context)
    for part in path:
        value = (value or {}).get(part)
    return value or None


def fits(context: str) -> bool:
    found = json.loads(context)
    page, locale = found.get("page"), found.get("locale")
    texts = (
        [locale, *(page.get(k) for k in ("url", "path"))] if isinstance(page, dict) else [locale]
    )
    return (page is None or isinstance(page, dict)) and all(
        t is None or isinstance(t, str) for t in texts
    )


@given(st.lists(CONTEXTS, min_size=1, max_size=8))
def test_each_context_is_read_by_itself(contexts: list[str]) -> None:
    found = promote(rows(*contexts))
    assert found["context"].to_list() == contexts
    for name in ("page_url", "page_path", "locale"):
        expected = [plainly(c, PATHS[name]) if fits(c) else None for c in contexts]
        assert found[name].to_list() == expected, name


def test_what_the_event_says_goes_before_what_its_request_said() -> None:
    context = '{"page": {"url": "https://x/"}, "location": {"country": "DE"}}'
    found = promote(rows(context, None, country=["FR", "IT"]))
    assert found["country"].to_list() == ["DE", "IT"]
    assert found["page_url"].to_list() == ["https://x/", None]
    assert found.columns == list(TYPES)


def test_every_promoted_column_has_a_path() -> None:
    whole: dict[str, Any] = {}
    for name, path in PATHS.items():
        inner = whole
        for part in path[:-1]:
            inner = inner.setdefault(part, {})
        inner[path[-1]] = name.upper()
    found = promote(rows(json.dumps(whole)))
    assert {name: found[name][0] for name in PATHS} == {name: name.upper() for name in PATHS}
