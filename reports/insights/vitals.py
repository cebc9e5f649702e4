"""Web vitals and timings: percentiles by page, browser or day; conventions: docs/errors.md."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
import polars as pl

from reports.insights.answer import Chart, Column, Table, Unit
from reports.insights.filters import Bindings, expression, matches, number
from reports.insights.kinds import Kind, register
from reports.insights.question import Question, QuestionError, Step
from reports.insights.source import Source
from reports.warehouse.execute import quoted
from transforms.quantiles import RELATIVE_ERROR, Quantiles, bucket_sql
from transforms.vitals import SHARES, VITALS, by_group, largest

Name = Literal["LCP", "INP", "CLS", "FCP", "TTFB"]
By = Literal["all", "page", "browser", "device", "os", "country", "version", "day"]
_EVENTS = ("Web Vitals", "$web_vitals")
_COLUMNS = {
    "page": "e.page_path",
    "browser": "e.browser_name",
    "device": "e.device_type",
    "os": "e.os_name",
    "country": "e.country",
    "version": "e.app_version",
}
_TITLES = {**{name: name.capitalize() for name in _COLUMNS}, "os": "Operating system",
           "version": "App version", "day": "Day", "all": "All"}  # fmt: skip
_PERCENTILES = tuple(f"p{share * 100:g}" for share in SHARES)
_Rows = Annotated[int, msgspec.Meta(ge=1, le=1_000)]
_BOUND = (
    f"Percentiles are approximate: each lies within {RELATIVE_ERROR * 100:g} % of a value that was "
    "measured, always."
)


class Vitals(Question, frozen=True, kw_only=True):
    """Web vitals with their rating: how fast pages are for the people who load them.

    vital: which; empty: all five
    by:    what the rows are
    rows:  how many pages, browsers, … are listed, those with most page views first
    least: page views that a row needs; a percentile of three is a matter of luck
    """

    vital: Name | None = None
    by: By = "page"
    rows: _Rows = 20
    least: Annotated[int, msgspec.Meta(ge=1, extra_json_schema={"x-more": True})] = 1


class Timings(Question, frozen=True, kw_only=True):
    """Percentiles of a numeric property, such as how long a server took.

    event:    the events that have it
    property: properties.NAME, context.NAME or a column; what is no number is left out
    by:       what the rows are
    breakdown: a property in the place of `by`; empty: as `by` says
    rows:     how many are listed, those with most events first
    least:    events that a row needs
    """

    event: Step
    property: str
    by: By = "day"
    breakdown: str = ""
    rows: _Rows = 20
    least: Annotated[int, msgspec.Meta(ge=1, extra_json_schema={"x-more": True})] = 1


def answer_vitals(question: Vitals, source: Source) -> Table:
    """A row for each group and vital."""
    bind = Bindings()
    names: list[str] = [question.vital] if question.vital else list(VITALS)
    events = source.events(question, bind)
    # One map a page view, so that one scan looks at its text for all vitals.
    values = f"""SELECT {_key(question.by, source)} AS key, unnest(map_keys(v)) AS vital,
          unnest(map_values(v)) AS value
        FROM (
          SELECT e.*, MAP {{{_map(names)}}} AS v
          FROM {events} AS e
          WHERE e.type = 'track' AND list_contains({bind.add(list(_EVENTS))}, e.name)
        ) AS e"""
    sketches = by_group(_counted(source, values, ["key", "vital"], bind))
    titled = Column("vital", "Vital", "label")
    table = []
    for key, name, values_ in _listed(sketches, question.by, question.rows, question.least, names):
        vital = VITALS[name]
        p75 = values_.at(0.75)
        good = values_.share_up_to(vital.good)
        rating = vital.rated(p75) if p75 is not None else ""
        table.append((key, name, rating, *_read_out(values_), good, values_.count))
    shown_by_day = question.by == "day" and question.vital is not None
    return Table(
        columns=(
            _key_column(question.by),
            titled,
            Column("rating", "Rating", "label"),
            *(Column(p, f"{p}, ms", "number") for p in _PERCENTILES),
            Column("good", "Good", "ratio"),
            Column("page_views", "Page views", "count"),
        ),
        rows=table,
        chart=Chart("line", x="key", y="p75", color="vital") if shown_by_day else Chart("table"),
        totals=_overall(sketches, names),
        notes=(_BOUND, "Ratings are of p75, by the limits of web.dev; CLS has no unit."),
        trust="approximate",
        error=RELATIVE_ERROR,
    )


def answer_timings(question: Timings, source: Source) -> Table:
    """A row for each group."""
    bind = Bindings()
    if not question.property:
        raise QuestionError("property='' names nothing: write properties.NAME, or a column")
    if question.breakdown:
        key = f"coalesce({expression(question.breakdown)}, '(none)')"
    else:
        key = _key(question.by, source)
    events = source.events(question, bind)
    values = f"""SELECT {key} AS key, {number(question.property)} AS value
        FROM {events} AS e WHERE {matches(question.event, bind)}"""
    rows = _counted(source, values, ["key"], bind)
    sketches = by_group(rows)
    by: By = "all" if question.breakdown else question.by
    title = Column("key", question.breakdown, "label") if question.breakdown else _key_column(by)
    kept = _ordered(sketches, by, question.rows, question.least)
    table = [(key, *_read_out(sketches[(key,)]), sketches[(key,)].count) for key in kept]
    missing = rows.filter(pl.col("bucket").is_null())["n"].sum()
    notes = [_BOUND]
    if missing:
        notes.append(f"{missing:,} events have no number in {question.property} and are left out.")
    is_day = by == "day"
    return Table(
        columns=(
            title,
            *(Column(p, p, "number") for p in _PERCENTILES),
            Column("events", "Events", "count"),
        ),
        rows=table,
        chart=Chart("line" if is_day else "bar", x="key", y="p75") if table else Chart("table"),
        totals=tuple(
            (f"{p}, all", value, "number")
            for p, value in zip(_PERCENTILES, _read_out(_sum(sketches.values())), strict=True)
        ),
        notes=tuple(notes),
        trust="approximate",
        error=RELATIVE_ERROR,
    )


def _vital(name: str) -> str:
    """Its value as Headwater's tracker, PostHog's and a report for each vital have it."""
    of_own = f"CASE WHEN {expression('properties.name')} = {quoted(name)} THEN " \
             f"{number('properties.value')} END"  # fmt: skip
    return (
        f"coalesce({number(f'properties.{name}')}, "
        f"{number(f'properties.$web_vitals_{name}_value')}, {of_own})"
    )


def _map(names: list[str]) -> str:
    return ", ".join(f"{quoted(name)}: {_vital(name)}" for name in names)


def _key(by: By, source: Source) -> str:
    if by == "all":
        return "'all'"
    if by == "day":
        return f"timezone({quoted(source.zone)}, e.event_time)::DATE::VARCHAR"
    return f"coalesce(nullif({_COLUMNS[by]}, ''), '(none)')"


def _key_column(by: By) -> Column:
    return Column("key", _TITLES[by], "time" if by == "day" else "label")


def _counted(source: Source, values: str, names: list[str], bind: Bindings) -> pl.DataFrame:
    """How many values lie in each bucket of each group: what comes in is small, however many.

    values: SQL with the names and `value`; events without a number have no bucket.
    """
    found = source.read(
        f"""SELECT {", ".join(f"{name}::VARCHAR AS {name}" for name in names)},
          {bucket_sql("value")} AS bucket, count(*) AS n, min(value) AS low, max(value) AS high
        FROM ({values}) GROUP BY ALL""",
        bind,
    )
    frame = pl.from_arrow(found)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _ordered(found: dict[tuple[str, ...], Quantiles], by: By, most: int, least: int) -> list[str]:
    """Keys in the order of the rows: days in time, others by how much there is of them."""
    enough = {key: values for key, values in found.items() if values.count >= least}
    if by == "day":
        return sorted({key for key, *_ in enough})
    return largest(enough, most)


def _listed(
    found: dict[tuple[str, ...], Quantiles], by: By, most: int, least: int, names: list[str]
) -> list[tuple[str, str, Quantiles]]:
    keys = _ordered(found, by, most, least)
    pairs = [(key, name) for key in keys for name in names if (key, name) in found]
    return [(k, n, found[k, n]) for k, n in pairs if found[k, n].count >= least]


def _read_out(values: Quantiles) -> tuple[float | None, ...]:
    return tuple(_rounded(values.at(share)) for share in SHARES)


def _rounded(value: float | None) -> float | None:
    """Four digits: more than the error leaves."""
    return None if value is None else float(f"{value:.4g}")


def _overall(
    found: dict[tuple[str, ...], Quantiles], names: list[str]
) -> tuple[tuple[str, Any, Unit], ...]:
    made: list[tuple[str, Any, Unit]] = []
    for name in names:
        together = _sum([values for key, values in found.items() if key[1] == name])
        p75 = together.at(0.75)
        if p75 is not None:
            title = f"{name} p75: {VITALS[name].rated(p75)}"
            made.append((title, _rounded(p75), "number"))
    return tuple(made)


def _sum(parts: Iterable[Quantiles]) -> Quantiles:
    return sum(parts, start=Quantiles())


register(
    Kind(
        "vitals",
        "Web vitals",
        "LCP, INP, CLS, FCP and TTFB with percentiles and ratings, by page, browser or day.",
        Vitals,
        answer_vitals,
        {"dates": "last_30_days", "by": "page"},
    )
)
register(
    Kind(
        "timings",
        "Timings",
        "Percentiles of a numeric property, such as server times, by day, page or any property.",
        Timings,
        answer_timings,
        {"event": {"name": "Request"}, "property": "properties.ms", "by": "day"},
    )
)
