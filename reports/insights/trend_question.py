"""What can be asked of a trend, and what each measure is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from reports.insights.answer import Unit
from reports.insights.question import Question, QuestionError, Step
from transforms import formula
from transforms.grid import Grain

Measure = Literal[
    "events", "people", "sessions", "revenue", "orders", "conversion_rate", "events_per_person",
    "sum", "average", "minimum", "maximum", "median", "p90", "p95", "p99",
]  # fmt: skip
Compare = Literal["none", "previous", "previous_same_weekdays"]
LETTERS = "ABCDEFGHIJ"
# What different values are counted of: over several periods they do not add up.
COUNTED_ONCE: dict[Measure, str] = {"people": "person", "orders": "order_id"}
_MORE = Meta(extra_json_schema={"x-more": True})


@dataclass(frozen=True)
class MeasureSpec:
    """What a measure is.

    adds:  values of periods add up to that of all of them
    empty: its value where nothing happened
    of_property: it is made of a property's numbers
    """

    title: str
    unit: Unit
    adds: bool = False
    empty: int | None = None
    of_property: bool = False


MEASURES: dict[Measure, MeasureSpec] = {
    "events": MeasureSpec("Events", "count", adds=True, empty=0),
    "people": MeasureSpec("People", "count", empty=0),
    "sessions": MeasureSpec("Sessions", "count", adds=True, empty=0),
    "revenue": MeasureSpec("Net revenue", "money", adds=True, empty=0),
    "orders": MeasureSpec("Orders", "count", empty=0),
    "conversion_rate": MeasureSpec("Conversion rate", "ratio"),
    "events_per_person": MeasureSpec("Events per person", "number"),
    "sum": MeasureSpec("Sum", "number", adds=True, empty=0, of_property=True),
    "average": MeasureSpec("Average", "number", of_property=True),
    "minimum": MeasureSpec("Minimum", "number", of_property=True),
    "maximum": MeasureSpec("Maximum", "number", of_property=True),
    "median": MeasureSpec("Median", "number", of_property=True),
    "p90": MeasureSpec("90th percentile", "number", of_property=True),
    "p95": MeasureSpec("95th percentile", "number", of_property=True),
    "p99": MeasureSpec("99th percentile", "number", of_property=True),
}


class Series(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One number over time.

    event:    the events that it is made of
    measure:  what of them
    property: the property that a sum, an average, a percentile and so on is of
    metric:   a metric of the project, built-in or its own, in place of event, measure and property
    label:    how it is called
    hidden:   only formulas read it
    """

    event: Step = Step()
    measure: Measure = "events"
    property: str = ""
    metric: Annotated[str, Meta(extra_json_schema={"x-field": "metric"})] = ""
    label: str = ""
    hidden: bool = False

    def spec(self) -> MeasureSpec:
        """What its measure is."""
        return MEASURES[self.measure]


def spec_of(one: Series) -> MeasureSpec:
    """What the values of a series are."""
    return one.spec()


def title_of(one: Series) -> str:
    """How a table names a series."""
    if one.label:
        return one.label
    title = spec_of(one).title
    what = f"{title} of {one.property}" if one.property else title
    is_any = one.event.name is None and not one.event.where and not one.event.label
    if is_any:
        return what
    return one.event.title if one.measure == "events" else f"{what}: {one.event.title}"


class Calculated(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A series made of others, which it names A, B, C in their order.

    formula: with + - * / and parentheses, such as A / B * 100; money is in whole units of its
             currency there
    label:   how it is called
    """

    formula: str
    label: str = ""


class TrendQuestion(Question, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How numbers develop.

    series:         what is counted
    grain:          length of a period, in the time zone of the project
    breakdown:      property by whose values each series is split
    top:            values of it that are shown, those with the most events; the rest is (other)
    formulas:       numbers made of the series
    compare:        previous: with as many periods right before;
                    previous_same_weekdays: with as many whole weeks before as are needed
    moving_average: mean of so many periods up to each, beside the value; 0: none
    cumulative:     sums from the first period on; of people and orders: all so far, each once
    """

    series: Annotated[tuple[Series, ...], Meta(min_length=1, max_length=len(LETTERS))] = (Series(),)
    grain: Grain = "day"
    breakdown: str = ""
    top: Annotated[int, Meta(ge=1, le=50, extra_json_schema={"x-more": True})] = 8
    formulas: Annotated[tuple[Calculated, ...], Meta(max_length=5), _MORE] = ()
    compare: Compare = "none"
    moving_average: Annotated[int, Meta(ge=0, le=366), _MORE] = 0
    cumulative: Annotated[bool, _MORE] = False


def formulas_of(question: TrendQuestion) -> list[formula.Formula]:
    """The formulas, read, and all else that fields alone can tell. Raises QuestionError."""
    known = LETTERS[: len(question.series)]
    for letter, one in zip(known, question.series, strict=True):
        if spec_of(one).of_property != bool(one.property):
            needs = "needs a property" if spec_of(one).of_property else "takes no property"
            raise QuestionError(f"series {letter}: measure={one.measure!r} {needs}")
        if question.cumulative and not (spec_of(one).adds or one.measure in COUNTED_ONCE):
            raise QuestionError(
                f"series {letter}: measure={one.measure!r} does not add up over periods; "
                "ask without cumulative"
            )
    if question.compare == "previous_same_weekdays" and question.grain == "month":
        raise QuestionError("compare='previous_same_weekdays': months begin on any weekday")
    if not question.formulas and all(one.hidden for one in question.series):
        raise QuestionError("hidden: every series is, and there is no formula; show one")
    found = []
    for calculated in question.formulas:
        try:
            one_read = formula.read(calculated.formula)
        except formula.FormulaError as error:
            raise QuestionError(str(error)) from None
        if unknown := sorted(one_read.letters - set(known)):
            raise QuestionError(
                f"formula {calculated.formula!r}: there is no series {unknown[0]}; there are "
                f"{', '.join(known)}"
            )
        found.append(one_read)
    return found
