"""Five weeks of a small shop as a real world: archive, exact and live numbers, dead letters."""

from __future__ import annotations

import json
import random
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from tests.beam_pipelines.test_rollup import run as run_rollup
from tests.reports import world
from tests.reports.world import NOW, Live
from tests.streams import DAY_US, NOON, event, order
from transforms.statistics import DistinctSketch, Total

DAYS, PEOPLE = 35, 40
_SITES = ["news.example", "search.example", None, None]
_COUNTRIES = ["GB", "DE", "FR"]
_DEVICES = ["desktop", "mobile", "tablet"]


def events(seed: int = 7) -> list[dict[str, Any]]:
    """People who come, look, and sometimes buy; more at the end than at the beginning."""
    rng = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for who in range(PEOPLE):
        first = rng.randrange(DAYS - 2)
        fixed = {
            "user_id": f"u{who}" if who % 3 else None,
            "anonymous_id": f"a{who}",
            "country": _COUNTRIES[who % 3],
            "device_type": _DEVICES[who % 3],
            "referrer_host": _SITES[who % 4],
            "campaign_source": "newsletter" if who % 5 == 0 else None,
        }
        for day in range(first, DAYS):
            if day > first and rng.random() > 0.35:
                continue
            rows += _visit(rng, who, day, fixed)
    return rows


def _visit(rng: random.Random, who: int, day: int, fixed: dict[str, Any]) -> list[dict[str, Any]]:
    at = NOON - (DAYS - 1 - day) * DAY_US - rng.randrange(3 * 3_600_000_000)
    key = f"{who}-{day}"
    page = {"type": "page", "name": "Shop", "page_path": "/shop", **fixed}
    page["page_url"] = "https://shop.example/shop"
    variation = "blue" if who % 2 else "green"
    shown = json.dumps({"experiment_name": "Button", "variation_name": variation})
    found = [
        event(f"p{key}", at, **page),
        event(f"x{key}", at + 1_000_000, name="Experiment Viewed", properties=shown, **fixed),
        event(f"v{key}", at + 20_000_000, name="Product Viewed",
              properties=json.dumps({"sku": f"s{rng.randrange(5)}", "price": rng.randrange(1, 90)}),
              **fixed),
    ]  # fmt: skip
    if rng.random() < 0.3:
        product = json.dumps({"products": [{"product_id": "s1", "price": 5, "quantity": 1}]})
        found.append(
            order(f"o{key}", at + 60_000_000, rng.randrange(500, 9000), properties=product, **fixed)
        )
    if rng.random() < 0.1:
        broken = json.dumps(
            {"$exception_type": "TypeError", "$exception_message": "x is undefined"}
        )
        found.append(
            event(f"b{key}", at + 70_000_000, name="$exception", properties=broken, **fixed)
        )
    return found


def make(directory: Path, *more: dict[str, Any]) -> Path:
    """All of it below a data directory, and more events."""
    world.catalogue(directory)
    world.archive(directory, [*events(), *more])
    world.refuse(directory, [{"reason": "bad_money", "received_time": NOON - DAY_US}])
    run_rollup(directory)
    live(directory)
    return directory


def live(directory: Path, events_now: int = 321) -> None:
    """Live numbers of the last half hour."""
    made = Live(directory)
    for minute in range(30):
        at = NOW - minute * 60_000_000
        made.put(at, "events", Total(events_now + minute), '{"name":"Product Viewed"}')
    made.put(NOW, "people", DistinctSketch.of(pl.Series([f"u{i}" for i in range(17)])))
    made.put(NOW, "orders", DistinctSketch.of(pl.Series(["o1", "o2"])))
    made.put(NOW, "buyers", DistinctSketch.of(pl.Series(["u1"])))
    made.put(NOW, "revenue", Total(123_456), '{"currency":"GBP"}')
    made.close()


FIRST = date.fromordinal(date(1970, 1, 1).toordinal() + (NOON // DAY_US) - DAYS + 1)
