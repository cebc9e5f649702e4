"""Looks at every part of the system at once. None is waited for longer than PATIENCE_S."""

from __future__ import annotations

import json
import logging
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from catalog.job_runs import Run, RunBook
from catalog.settings import Settings
from reports.health import checks, of_project
from reports.health.checks import DAY_US, Asked, Check, Flow, State
from reports.ledger import Books
from reports.live.store import LiveStore
from reports.warehouse.engine import Warehouse
from schemas_avro.tables import DAILY, EVENTS

log = logging.getLogger(__name__)
HTTP_S, PATIENCE_S = 1.0, 2.0
_MOST_BODY = 4 << 20
_RUNS_SHOWN = 50
# Parts that speak of the whole system; those that are not here speak of the project already.
# `flow` is what a look at the archive is called that failed.
_NARROWED: Mapping[str, Callable[[Check], Check]] = {
    "collector": of_project.shared,
    "pipeline": of_project.shared,
    "flow": of_project.state_only,
    "schedule": of_project.schedule,
    "disk": of_project.state_only,
}
_LEDGER_PATIENCE_S = 1_800  # the schedule draws up the books every ten looks


@dataclass(frozen=True)
class Health:
    """state: of the part that is worst off; runs: of scheduled jobs, newest first.

    note: what of it is hidden, and from whom; "" where nothing is
    """

    state: State
    checks: list[Check]
    runs: list[Run]
    note: str = ""


@dataclass(frozen=True)
class _Counted:
    """A counter of the collector at some time, us."""

    at: int
    accepted: float


class Probes:
    """Looks at the parts of one system. Threads may share it.

    live_path: the live store, which is SQLite on this machine
    """

    def __init__(
        self, settings: Settings, warehouse: Warehouse, books: Books, live_path: str
    ) -> None:
        self._settings, self._warehouse, self._books = settings, warehouse, books
        self._live_path = live_path
        # One look may hang on a part; the next ones must still find threads.
        self._pool = ThreadPoolExecutor(max_workers=24, thread_name_prefix="health")
        self._lock = threading.Lock()
        self._last: _Counted | None = None
        self._rate: float | None = None

    def look(self, project: str, now: int, *, whole: bool = True) -> Health:
        """Every part, as it is now (us). Never raises for what a part does.

        whole: with numbers over all projects, and the runs of jobs; else those of this one only
        """
        parts: dict[tuple[str, str], Callable[[], list[Check]]] = {
            ("collector", "Collector"): lambda: [self._collector(now)],
            ("pipeline", "Pipeline"): lambda: [self._pipeline()],
            ("flow", "Archive and exact table"): lambda: self._flow(project, now, whole=whole),
            ("ledger", "Ledger"): lambda: self._ledger(project, now),
            ("schedule", "Schedule"): lambda: [self._schedule(now)],
            ("disk", "Disk"): lambda: [self._disk()],
        }
        asked = {key: self._pool.submit(look) for key, look in parts.items()}
        wait(asked.values(), timeout=PATIENCE_S)
        found = [one for key, future in asked.items() for one in _told(key, future)]
        if not whole:
            narrowed = [_narrowed(check) for check in found]
            return Health(checks.worst(narrowed), narrowed, [], of_project.RUNS_HIDDEN)
        runs = RunBook(self._settings.path("runs")).runs(_RUNS_SHOWN)
        return Health(checks.worst(found), found, runs)

    # -- The parts

    def _collector(self, now: int) -> Check:
        host = self._settings.collector_host
        host = "127.0.0.1" if host in ("0.0.0.0", "::") else host
        address = f"http://{host}:{self._settings.collector_port}"
        bus = ask(f"{address}/health/bus")
        figures = self._figures(f"{address}/metrics", now) if bus.status is not None else {}
        return checks.collector(bus, address, figures)

    def _figures(self, url: str, now: int) -> Mapping[str, Any]:
        """What the collector counts of itself since it began, and its rate since the last look."""
        text = _fetched(url)
        if text is None:
            return {}
        read = collector_figures(text)
        with self._lock:
            last = self._last
            if last is None or now - last.at >= 1_000_000:
                self._last = _Counted(now, read["accepted"])
                went_on = last is not None and read["accepted"] >= last.accepted
                self._rate = (
                    (read["accepted"] - last.accepted) / ((now - last.at) / 1e6)
                    if last is not None and went_on and now - last.at < 300_000_000
                    else None
                )
            rate = self._rate
        return {"events/s": None if rate is None else round(rate, 1), **read}

    def _pipeline(self) -> Check:
        port = self._settings.pipeline_port
        answer = ask(f"http://127.0.0.1:{port}/health") if port else None
        return checks.pipeline(port, answer)

    def _flow(self, project: str, now: int, *, whole: bool) -> list[Check]:
        events, own = self._warehouse.files.of(EVENTS), self._books.of(project)
        updated_at = LiveStore(self._live_path, project).progress().updated_at
        size = checks.size(events.rows, events.bytes, len(events.days))
        if not whole:
            size = of_project.size(size, own)
        # Events of another project say nothing of this one's live numbers.
        live = checks.live(updated_at, own.received_until, now)
        if not self._settings.bus.startswith("spool"):
            why = "what waits on this bus cannot be counted from here"
            return [
                checks.failed("archive", "Archive", why),
                checks.failed("exact", "Exact table", why),
                live,
                size,
            ]
        book = self._books.read()
        flow = Flow(
            accepted=book.accepted + book.imported,
            in_flight=max(0, book.in_flight),
            uncounted=max(0, book.uncounted),
            archived_until=events.received_until,
            uncounted_since=self._uncounted_since(),
        )
        archive = checks.archive(flow, now, self._settings.archive_every_s)
        if not whole:
            archive = of_project.archive(archive, own, now)
            flow = replace(flow, uncounted=max(0, own.uncounted))
        return [archive, checks.exact(flow, now, self._settings.rollup_every_s), live, size]

    def _uncounted_since(self) -> int | None:
        """The first commit of events after the last one of the exact table."""
        counted_at = self._warehouse.files.of(DAILY).committed_at or 0
        later = [at for at in self._warehouse.files.commits(EVENTS) if at > counted_at]
        return min(later, default=counted_at or None)

    def _ledger(self, project: str, now: int) -> list[Check]:
        found = self._warehouse.read(
            project,
            """SELECT
              epoch_us(max(computed_at)) AS computed_at,
              list(problems) FILTER (problems IS NOT NULL) AS problems,
              sum(received) FILTER (minute >= make_timestamptz($since::BIGINT)) AS received,
              sum(dead_lettered) FILTER (minute >= make_timestamptz($since::BIGINT)) AS refused
            FROM ledger""",
            tables=("ledger",),
            parameters={"since": now - DAY_US},
        ).table.to_pylist()[0]
        patience = max(_LEDGER_PATIENCE_S, 30 * self._settings.rollup_every_s)
        is_spool = self._settings.bus.startswith("spool")
        at = found["computed_at"]
        received = int(found["received"] or 0) if at is not None else None
        return [
            checks.ledger(at, found["problems"] or [], now, patience, is_spool),
            checks.letters(received, int(found["refused"] or 0)),
        ]

    def _schedule(self, now: int) -> Check:
        book = RunBook(self._settings.path("runs"))
        return checks.schedule(book.last_looks(), book.runs(), now, self._settings.rollup_every_s)

    def _disk(self) -> Check:
        place = self._settings.path()
        while not place.exists():
            place = place.parent
        found = shutil.disk_usage(place)
        return checks.disk(found.free, found.total)


def _narrowed(check: Check) -> Check:
    narrow = _NARROWED.get(check.name)
    return check if narrow is None else narrow(check)


def _told(key: tuple[str, str], future: Future[list[Check]]) -> list[Check]:
    if not future.done():
        future.cancel()
        return [checks.failed(*key, f"no answer within {PATIENCE_S:g} s")]
    error = future.exception()
    if error is not None:
        log.warning("health: %s: %s", key[0], error, exc_info=error)
        return [checks.failed(*key, str(error) or type(error).__name__)]
    return future.result()


def ask(url: str) -> Asked:
    """GET an address; within HTTP_S, or the reason why there is no answer."""
    try:
        with _open(url) as answer:
            return Asked(answer.status, _json(answer.read(_MOST_BODY)))
    except urllib.error.HTTPError as error:
        with error:
            return Asked(error.code, _json(error.read(_MOST_BODY)))
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return Asked(None, error=str(getattr(reason, "strerror", None) or reason).lower())


def _open(url: str) -> Any:
    # Neither a proxy of the environment nor a redirect leads to another machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay())
    return opener.open(url, timeout=HTTP_S)


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _fetched(url: str) -> str | None:
    try:
        with _open(url) as answer:
            text: bytes = answer.read(_MOST_BODY)
            return text.decode(errors="replace")
    except (OSError, ValueError):
        return None


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def collector_figures(text: str) -> dict[str, Any]:
    """Of the collector's /metrics: events by outcome, waiting ones, p50 and p99 of its answers."""
    outcomes: dict[str, float] = {}
    waiting = queued = failed = 0.0
    buckets: dict[float, float] = {}
    for family in text_string_to_metric_families(text):
        for name, labels, value, *_ in family.samples:
            match name:
                case "headwater_collector_events_total":
                    outcome = labels["outcome"]
                    outcomes[outcome] = outcomes.get(outcome, 0) + value
                case "headwater_collector_requests_total" if labels["status"].startswith("5"):
                    failed += value
                case "headwater_collector_waiting_events":
                    waiting += value
                case "headwater_collector_queued_blocks":
                    queued += value
                case "headwater_collector_request_seconds_bucket":
                    bound = float(labels["le"])
                    buckets[bound] = buckets.get(bound, 0) + value
    accepted = outcomes.pop("accepted", 0.0)
    return {
        "accepted": int(accepted),
        "not accepted": int(sum(outcomes.values())),
        "answers 5xx": int(failed),
        "waiting events": int(waiting),
        "queued blocks": int(queued),
        "p50 s, at most": _bound(buckets, 0.5),
        "p99 s, at most": _bound(buckets, 0.99),
    }


def _bound(buckets: Mapping[float, float], share: float) -> float | None:
    """Upper bound of the bucket that the quantile lies in; None without any, or beyond all."""
    total = buckets.get(float("inf"), 0.0)
    for bound in sorted(buckets):
        if total and buckets[bound] >= share * total:
            return bound if bound != float("inf") else None
    return None
