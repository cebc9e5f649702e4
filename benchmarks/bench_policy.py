"""What limits, privacy, suppression and metrics cost a request, each by itself, on one thread."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.report import Figure, report
from catalog.policies import Suppressed
from catalog.policy import DEFAULT_POLICY, SourcePolicy
from collector import metrics_files

metrics_files.prepare()  # before the client library is imported, as in the collector

import netaddr  # noqa: E402
from mmdb_writer import MMDBWriter  # noqa: E402

from collector.geo import Geo  # noqa: E402
from collector.limits import Limits, refuse_too_many_properties  # noqa: E402
from collector.metrics import Metrics  # noqa: E402
from collector.privacy import Privacy, sender  # noqa: E402
from collector.suppression import SuppressionList  # noqa: E402
from transforms.bots import is_bot  # noqa: E402
from transforms.candidates import Candidate, Candidates  # noqa: E402
from transforms.suppression import digest  # noqa: E402

ADDRESS = "192.0.2.77"
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0"
CONTEXT = b'{"page":{"url":"https://shop.example/a"},"userAgent":"' + AGENT.encode() + b'"}'
PEOPLE = 100_000
ROUNDS = 5


def candidates(count: int, context: bytes = CONTEXT) -> Candidates:
    made = [
        Candidate(type="track", name="a", user_id=f"u{n}", anonymous_id=f"a{n}", context=context)
        for n in range(count)
    ]
    return Candidates.of(made, [b"{}"] * count)


def cost(what: str, work: Callable[[], object], count: int = 5_000) -> Figure:
    """Microseconds of one call, the best of some rounds: the machine does other things, too."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(count):
            work()
        best = min(best, (time.perf_counter() - started) / count)
    return what, best * 1e6, "us"


def main() -> None:
    with tempfile.TemporaryDirectory() as made:
        figures = [*of_metrics(), *of_limits(Path(made)), *of_people(), *of_privacy(Path(made))]
    report("policy", "Cost of a request's checks", figures, f"best of {ROUNDS} rounds, one thread")


def of_metrics() -> list[Figure]:
    metrics = Metrics()

    def count() -> None:
        metrics.answered("/v1/batch", "200", 0.003, 5_000)
        metrics.count("headwater_collector_events", "segment", "accepted", amount=100)

    found = [cost("metrics: all that is counted of a request", count, 50_000)]
    started = time.perf_counter()
    metrics.move()
    found.append(("metrics: once a second", (time.perf_counter() - started) * 1e6, "us"))
    metrics.close()
    return found


def of_limits(directory: Path) -> list[Figure]:
    limits = Limits(directory / "limits", time.time)
    policy = SourcePolicy(rate_limit_per_s=10**12, daily_quota=10**15)
    hundred = candidates(100)
    found = [
        cost("limits: key without limits", lambda: limits.take("k", DEFAULT_POLICY, 100)),
        cost("limits: key with rate and quota", lambda: limits.take("k", policy, 100)),
        cost("properties: 100 events", lambda: refuse_too_many_properties(hundred, 1_000)),
    ]
    limits.close()
    return found


def of_people() -> list[Figure]:
    listed = frozenset(digest("shop", f"x{n}") for n in range(PEOPLE))
    one, hundred = candidates(1), candidates(100)
    empty, full = (
        SuppressionList(lambda _, people=people: people, 1e9, time.monotonic)
        for people in (Suppressed((0, 0), {}), Suppressed((1, 1), {"shop": listed}))
    )
    return [
        cost("suppression: empty list, 100 events", lambda: empty.filter(hundred, "shop")),
        cost(f"suppression: {PEOPLE:,} people, 1 event", lambda: full.filter(one, "shop")),
        cost(
            f"suppression: {PEOPLE:,} people, 100 events", lambda: full.filter(hundred, "shop"), 500
        ),
    ]


def of_privacy(directory: Path) -> list[Figure]:
    writer = MMDBWriter(6, "GeoLite2-City", ipv4_compatible=True)
    place = {"country": {"iso_code": "GB"}, "city": {"names": {"en": "London"}}}
    writer.insert_network(netaddr.IPSet(["192.0.2.0/24"]), place)
    writer.to_db_file(str(directory / "city.mmdb"))
    privacy = Privacy(Geo(directory / "city.mmdb", time.monotonic))
    environ = {
        "HTTP_USER_AGENT": AGENT,
        "HTTP_ORIGIN": "https://shop.example",
        "REMOTE_ADDR": ADDRESS,
    }
    who = sender(environ)
    hundred = candidates(100)
    own = candidates(100, b'{"ip":"192.0.2.77",' + CONTEXT[1:])
    new = iter(range(1_000_000))
    return [
        cost("privacy: read the request", lambda: sender(environ)),
        cost("privacy: 100 events", lambda: privacy.enrich(hundred, who, DEFAULT_POLICY)),
        cost(
            "privacy: 100 events with addresses of their own",
            lambda: privacy.enrich(own, who, DEFAULT_POLICY),
            200,
        ),
        cost("bots: a user agent seen before", lambda: is_bot(AGENT)),
        cost("bots: a new user agent", lambda: is_bot(f"{AGENT} {next(new)}"), 500),
    ]


if __name__ == "__main__":
    main()
    print(f"load while measuring: {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores")
