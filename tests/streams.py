"""Shared by pipeline tests: event frames, blocks, and the streaming test pipeline."""

from __future__ import annotations

import random
from typing import Any

import polars as pl
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.test_pipeline import TestPipeline

from beam_pipelines.connectors.frames import Frame
from schemas_avro import block, derive, load

MINUTE_US, DAY_US = 60_000_000, 86_400_000_000
NOON = 1_790_000_000_000_000 // DAY_US * DAY_US + DAY_US // 2  # some day at 12:00 UTC


def streaming_pipeline() -> TestPipeline:
    """Without streaming=True the pure-Python runner has no clock for processing-time triggers."""
    return TestPipeline(options=PipelineOptions(streaming=True))


def event(event_id: str, at: int, **fields: Any) -> dict[str, Any]:
    """A track of user u1 in project demo, received a second after it happened."""
    return {
        "event_id": event_id,
        "project": "demo",
        "source": "web",
        "type": "track",
        "name": "view",
        "user_id": "u1",
        "event_time": at,
        "received_time": at + 1_000_000,
        "flags": 0,
        **fields,
    }


def order(event_id: str, at: int, pence: int, **fields: Any) -> dict[str, Any]:
    """An event with money."""
    money = {"revenue_minor": pence, "currency": "GBP", "order_id": f"o-{event_id}"}
    return event(event_id, at, name="Order Completed", **{**money, **fields})


def frame_of(rows: list[dict[str, Any]], producer: str = "p-0", seq: int = 0) -> Frame:
    """Rows as one block on the bus."""
    names = set().union(*rows)
    types = {n: t for n, t in derive.wire(load("event")).items() if n in names}
    frame = pl.DataFrame(rows, schema=types, orient="row")
    meta = block.new_meta(frame, producer=producer, seq=seq, first_row=0)
    return Frame(producer, seq, seq, block.encode(load("event"), frame, meta))


def random_events(count: int, days: int, seed: int) -> list[dict[str, Any]]:
    """Events of 20 people over some days around NOON, some with money, in two currencies."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        at = NOON + rng.randrange(-days * DAY_US // 2, days * DAY_US // 2)
        who = rng.randrange(20)
        person = {"user_id": f"u{who}"} if who % 3 else {"user_id": None, "anonymous_id": f"a{who}"}
        if rng.random() < 0.2:
            currency = rng.choice(["GBP", "EUR"])
            pence = rng.randrange(-500, 5000)
            rows.append(order(f"e{number}", at, pence, currency=currency, **person))
        else:
            rows.append(event(f"e{number}", at, name=rng.choice(["view", "cart"]), **person))
    return rows
