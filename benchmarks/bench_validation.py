"""What holding events to their schemas costs, per request where it is off and per event where on.

Beside it the same judgement by fastavro on the decoded JSON, which every accepted event must pass
as well, or there are no figures.
"""

from __future__ import annotations

import json
import tempfile
import time
import timeit
from collections.abc import Callable
from functools import partial
from typing import Any

import fastavro
import msgspec
from fastavro.validation import validate

from benchmarks.report import report
from catalog.policy import SchemaMode, SourcePolicy
from catalog.schemas import SchemaRegistry
from catalog.store import Catalog, KeyOwner
from collector.validation import Validator
from transforms.candidates import Candidates
from transforms.event_schema import read

BATCH = 100
MANY = 1_000  # schemas
_ITEM = {
    "type": "record",
    "name": "Item",
    "fields": [
        {"name": "sku", "type": "string"},
        {"name": "price", "type": "double"},
        {"name": "quantity", "type": "int"},
    ],
}
SCHEMA = {
    "type": "record",
    "name": "OrderCompleted",
    "event": {"type": "track", "name": "Order Completed"},
    "fields": [
        {"name": "order_id", "type": "string"},
        {"name": "total", "type": "double"},
        {"name": "currency", "type": {"type": "enum", "name": "C", "symbols": ["EUR", "GBP"]}},
        {"name": "coupon", "type": ["null", "string"], "default": None},
        {"name": "items", "type": {"type": "array", "items": _ITEM}},
        {"name": "first", "type": "boolean"},
    ],
}


def properties(number: int, total: Any = 59.97) -> dict[str, Any]:
    """About 300 bytes of JSON, with two properties that the schema does not name."""
    return {
        "order_id": f"order-{number:06}",
        "total": total,
        "currency": "GBP",
        "items": [
            {"sku": f"sku-{number}-{n}", "price": 19.99, "quantity": n, "colour": "amber"}
            for n in range(1, 4)
        ],
        "first": False,
        "referrer": "https://example.com/alpine/meadow",
    }


def batch(name: str, total: Any = 59.97) -> Candidates:
    """A request's candidates, all of one kind."""
    texts = [json.dumps(properties(n, total)).encode() for n in range(BATCH)]
    columns: dict[str, list[Any]] = {
        "type": ["track"] * BATCH,
        "name": [name] * BATCH,
        "properties": texts,
    }
    return Candidates(columns, BATCH, lambda: texts)


def nanoseconds(call: Callable[[], object]) -> float:
    """The best of some rounds, per call."""
    timer = timeit.Timer(call)
    number, _ = timer.autorange()
    return min(timer.repeat(7, number)) / number * 1e9


def owner(mode: SchemaMode) -> KeyOwner:
    return KeyOwner("bench", "web", SourcePolicy(schema_mode=mode))


def off(registry: SchemaRegistry) -> list[tuple[str, float, str]]:
    """With nothing registered: what each request pays."""
    held = Validator(registry.all, 5.0, time.monotonic)
    good = batch("Order Completed")
    modes: tuple[SchemaMode, ...] = ("off", "warn", "enforce")
    return [
        (
            f"{whose.policy.schema_mode}, nothing registered",
            nanoseconds(partial(held.check, good, whose)),
            "ns/request",
        )
        for whose in map(owner, modes)
    ]


def on(registry: SchemaRegistry) -> list[tuple[str, float, str]]:
    """With a schema: what each event pays."""
    registry.register("bench", json.dumps(SCHEMA))
    held = Validator(registry.all, 5.0, time.monotonic)
    good, bad, other = batch("Order Completed"), batch("Order Completed", "59"), batch("Viewed")
    text = good.columns["properties"][0]
    schema, parsed = read(json.dumps(SCHEMA)), fastavro.parse_schema(SCHEMA)
    assert held.check(good, owner("enforce")).count == BATCH
    assert held.check(bad, owner("enforce")).count == 0
    assert all(
        validate(msgspec.json.decode(one), parsed, raise_errors=False)
        for one in good.columns["properties"]
    )
    warn, enforce = owner("warn"), owner("enforce")

    def by_fastavro() -> object:
        return validate(msgspec.json.decode(text), parsed, raise_errors=False)

    def an_event(call: Callable[[], object]) -> float:
        return nanoseconds(call) / BATCH

    return [
        (f"the check alone, {len(text)} bytes", nanoseconds(partial(schema.check, text)),
         "ns/event"),
        ("decoding the same JSON into dicts", nanoseconds(lambda: msgspec.json.decode(text)),
         "ns/event"),
        ("the same judged by fastavro", nanoseconds(by_fastavro), "ns/event"),
        ("in a request, fits", an_event(lambda: held.check(good, enforce)), "ns/event"),
        ("in a request, without a schema", an_event(lambda: held.check(other, enforce)),
         "ns/event"),
        ("in a request, warned of", an_event(lambda: held.check(bad, warn)), "ns/event"),
        ("in a request, refused", an_event(lambda: held.check(bad, enforce)), "ns/event"),
    ]  # fmt: skip


def renewal(registry: SchemaRegistry) -> list[tuple[str, float, str]]:
    """Of the copy of many schemas, each time it is older than HEADWATER_KEY_REFRESH_S."""
    for number in range(MANY):
        registry.register("bench", json.dumps(SCHEMA), name=f"Event {number}")
    texts = [json.dumps({**SCHEMA, "doc": str(number)}) for number in range(MANY)]
    began = time.perf_counter()
    for text in texts:
        read(text)
    compiled = time.perf_counter() - began
    again = nanoseconds(lambda: Validator(registry.all, 5.0, time.monotonic)) / 1e6
    return [
        ("making a schema's checker, once", compiled / MANY * 1e6, "us/schema"),
        (f"renewing the copy of {MANY:,} schemas", again, "ms"),
    ]


def main() -> None:
    """Measure in this process, one thread."""
    with tempfile.TemporaryDirectory() as directory:
        catalog = Catalog(f"sqlite:///{directory}/catalog.db")
        catalog.migrate()
        catalog.add_project("bench")
        registry = SchemaRegistry(catalog)
        found = [*off(registry), *on(registry), *renewal(registry)]
    report(
        "validation",
        "Events held to their schemas",
        found,
        f"one thread; best of 7 rounds; requests of {BATCH} events; fastavro accepts every event "
        "that fits",
    )


if __name__ == "__main__":
    main()
