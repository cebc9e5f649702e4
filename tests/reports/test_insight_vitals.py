"""Web vitals and timings as three kinds of senders report them, against numpy."""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from flask.testing import FlaskClient

from tests.reports import world
from tests.streams import DAY_US, NOON, event

ZONE = ZoneInfo("Europe/London")
NAMES = ("LCP", "INP", "CLS", "FCP", "TTFB")
# Good up to the first, poor beyond the second: https://web.dev/articles/vitals
LIMITS = {"LCP": (2500, 4000), "INP": (200, 500), "CLS": (0.1, 0.25), "FCP": (1800, 3000),
          "TTFB": (800, 1800)}  # fmt: skip


def day_of(at: int) -> str:
    return f"{datetime.fromtimestamp(at / 1e6, UTC).astimezone(ZONE):%Y-%m-%d}"


WEEK = {"dates": f"{day_of(NOON - 6 * DAY_US)}..{day_of(NOON)}"}


def page_views(seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Events, and what they say: {vital, value, page, browser, day}."""
    rng = random.Random(seed)
    rows, said = [], []
    for n in range(600):
        at = NOON - rng.randrange(6 * DAY_US)
        page, browser = rng.choice(["/", "/cart", None]), rng.choice(["Chrome", "Safari", ""])
        values = {
            "LCP": rng.lognormvariate(7.7, 0.5),
            "INP": rng.choice([None, rng.lognormvariate(5, 0.7)]),
            "CLS": rng.choice([0, 0.02, 0.13, 0.4]),
            "FCP": rng.lognormvariate(7, 0.4),
            "TTFB": rng.lognormvariate(6, 0.6),
        }
        kind = rng.choice(["tracker", "posthog", "single"])
        if kind == "single":
            name = rng.choice(NAMES)
            values = {name: values[name]}
            properties: dict[str, Any] = {"name": name, "value": values[name]}
        elif kind == "posthog":
            properties = {f"$web_vitals_{k}_value": v for k, v in values.items()}
        else:
            properties = {k: v for k, v in values.items() if v is not None}
        rows.append(
            event(
                f"v{n}", at, name="$web_vitals" if kind == "posthog" else "Web Vitals",
                properties=json.dumps(properties), page_path=page, browser_name=browser,
            )
        )  # fmt: skip
        said += [
            {"vital": k, "value": v, "page": page or "(none)", "browser": browser or "(none)",
             "day": day_of(at), "all": "all"}
            for k, v in values.items() if v is not None
        ]  # fmt: skip
    rows += [
        event("text", NOON, name="Web Vitals", properties='{"LCP": "soon", "CLS": null}'),
        event("endless", NOON, name="Web Vitals", properties='{"LCP": "Infinity"}'),
        event("other", NOON, name="view", properties='{"LCP": 1}'),
        event("foreign", NOON, project="other", name="Web Vitals", properties='{"LCP": 1}'),
    ]
    return rows, said


ROWS, SAID = page_views(5)
REQUESTS = [
    event(f"r{n}", NOON - n * 3_600_000_000, name="Request", country=["GB", "DE"][n % 2],
          properties=json.dumps({"ms": (n * 37) % 101 - 20, "path": f"/{n % 3}"}))
    for n in range(140)
]  # fmt: skip


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    made = tmp_path_factory.mktemp("vitals")
    world.archive(made, ROWS)
    world.archive(made, [*REQUESTS, event("mute", NOON, name="Request", properties="{}")])
    return world.app(made).test_client()


def asked(client: FlaskClient, kind: str, **question: Any) -> dict[str, Any]:
    answer = client.post(f"/p/demo/api/insights/{kind}", json={**WEEK, **question})
    assert answer.status_code == 200, answer.text
    names = [column["name"] for column in answer.get_json()["columns"]]
    rows = [dict(zip(names, row, strict=True)) for row in answer.get_json()["rows"]]
    return {**answer.get_json(), "rows": rows}


@pytest.mark.parametrize("by", ["page", "browser", "day", "all"])
def test_percentiles_are_numpys_within_the_error_that_is_said(client: FlaskClient, by: str) -> None:
    found = asked(client, "vitals", by=by)
    groups = defaultdict(list)
    for one in SAID:
        groups[one[by], one["vital"]].append(one["value"])
    assert {(row["key"], row["vital"]) for row in found["rows"]} == groups.keys()
    assert (found["status"], found["error"]) == ("approximate", 0.005)
    for row in found["rows"]:
        values = np.array(groups[row["key"], row["vital"]], float)
        assert row["page_views"] == len(values)
        for share in (50, 75, 90, 99):
            exact = float(np.percentile(values, share, method="inverted_cdf"))
            assert row[f"p{share}"] == pytest.approx(exact, rel=0.0056, abs=1e-9)


def rating(vital: str, p75: float) -> str:
    good, poor = LIMITS[vital]
    return "good" if p75 <= good else "poor" if p75 > poor else "needs improvement"


def test_ratings_go_by_p75(client: FlaskClient) -> None:
    rows = asked(client, "vitals", by="browser")["rows"]
    assert [row["rating"] for row in rows] == [rating(row["vital"], row["p75"]) for row in rows]
    assert len({row["rating"] for row in rows}) > 1


def test_one_vital_by_day_is_a_line(client: FlaskClient) -> None:
    found = asked(client, "vitals", by="day", vital="LCP")
    assert found["chart"]["mark"] == "line"
    assert [row["key"] for row in found["rows"]] == sorted({one["day"] for one in SAID})
    assert {row["vital"] for row in found["rows"]} == {"LCP"}


def test_rows_and_least(client: FlaskClient) -> None:
    one = asked(client, "vitals", rows=1)["rows"]
    assert len({row["key"] for row in one}) == 1
    assert asked(client, "vitals", least=10_000)["rows"] == []


def test_timings_of_any_property(client: FlaskClient) -> None:
    found = asked(client, "timings", event={"name": "Request"}, property="properties.ms", by="all")
    inside = [r for r in REQUESTS if day_of(r["event_time"]) >= WEEK["dates"][:10]]
    values = [json.loads(r["properties"])["ms"] for r in inside]
    (row,) = found["rows"]
    assert row["events"] == len(values)
    for share in (50, 75, 90, 99):
        exact = float(np.percentile(values, share, method="inverted_cdf"))
        assert row[f"p{share}"] == pytest.approx(exact, rel=0.0056)
    assert "1 events have no number in properties.ms" in " ".join(found["notes"])


def test_timings_by_a_property(client: FlaskClient) -> None:
    question = {"event": {"name": "Request"}, "property": "properties.ms"}
    found = asked(client, "timings", **question, breakdown="properties.path")
    assert {row["key"] for row in found["rows"]} == {"/0", "/1", "/2"}
    found = asked(client, "timings", **question, by="country")
    assert {row["key"] for row in found["rows"]} == {"GB", "DE"}
    assert asked(client, "timings", **question)["chart"]["mark"] == "line"


@pytest.mark.parametrize(
    ("kind", "question", "said"),
    [
        ("vitals", {"vital": "XYZ"}, "vital"),
        ("vitals", {"by": "moon"}, "by"),
        ("timings", {"event": {"name": "x"}, "property": ""}, "property=''"),
        ("timings", {"event": {"name": "x"}, "property": "secret"}, "property='secret'"),
        ("timings", {"event": {"name": "x"}, "property": "properties.ms", "breakdown": "x;y"},
         "property='x;y'"),
        ("timings", {"property": "properties.ms"}, "event"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_said(
    client: FlaskClient, kind: str, question: dict[str, Any], said: str
) -> None:
    answer = client.post(f"/p/demo/api/insights/{kind}", json=question)
    assert answer.status_code == 400
    assert said in answer.get_json()["message"]


def test_pages(client: FlaskClient, tmp_path: Path) -> None:
    page = client.get(f"/p/demo/errors/vitals?dates={WEEK['dates']}&by=browser")
    assert page.status_code == 200
    groups = defaultdict(list)
    for one in SAID:
        groups[one["browser"], one["vital"]].append(one["value"])
    row = r'<th scope="row">([^<]*)</th><td>(\w+)</td><td><span class="state [^"]*">([^<]*)</span>'
    shown = re.findall(row, page.text)
    p75 = {key: float(np.percentile(values, 75, method="inverted_cdf"))
           for key, values in groups.items()}  # fmt: skip
    assert len(shown) == len(groups)
    assert {(browser, vital): said for browser, vital, said in shown} == {
        (browser, vital): rating(vital, value) for (browser, vital), value in p75.items()
    }
    assert client.get("/p/demo/errors/vitals?by=moon").status_code == 400
    empty = world.app(tmp_path).test_client()
    assert "No web vitals in these dates" in empty.get("/p/demo/errors/vitals").text
