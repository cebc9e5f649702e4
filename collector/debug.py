"""Shows what became of one's own events, so that an app can assert its tracking.

Two things. A request with the header `X-Headwater-Debug` gets a result for each of its events in
the header `X-Headwater-Results`, whatever its protocol, on any collector. And on a development
server `/debug/…` lists the newest events of all and shows those of marked requests as they come.
The list is in memory, bounded, and of one process: a development server has one worker.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from flask import (
    Blueprint,
    Flask,
    Response,
    after_this_request,
    current_app,
    has_request_context,
    jsonify,
    request,
)

from catalog.store import KeyOwner
from collector.gather import Receipt
from collector.intake import Outcome, outcomes
from collector.keys import KeyRing
from collector.problems import Problem
from collector.protocols import native
from transforms.flags import Flag
from transforms.judge import Origin, judge

log = logging.getLogger(__name__)
bp = Blueprint("debug", __name__)

ASKS, RESULTS = "X-Headwater-Debug", "X-Headwater-Results"
_ASKS_IN_ENVIRON = "HTTP_X_HEADWATER_DEBUG"
_QUERY = "headwater_debug"
_MOST_HEADER = 4_096  # characters; proxies refuse larger headers
MOST_KEPT, _MOST_BYTES = 1_000, 16 << 20
_MOST_LISTENERS = 8  # each holds a thread
_WAIT_S, _RETRY_MS = 10.0, 100

# (project, type, name, properties) -> what the event's schema says against it
Explain = Callable[[str, str, str | None, bytes], str | None]


@dataclass(frozen=True, slots=True)
class Seen:
    """One event, or one refused request, as JSON.

    words: that it can be found by: names and ids
    owner: (project, source); None for a refused request
    mark:  value of the debug header; None where it was not there
    """

    number: int
    good: bool
    words: frozenset[str]
    owner: tuple[str, str] | None
    mark: str | None
    shown: bytes


class Ring:
    """The newest events. Safe to share between threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._kept: deque[Seen] = deque()
        self._bytes = self._number = self._good = self._bad = self._listeners = 0

    def add(
        self,
        shown: dict[str, Any],
        words: frozenset[str],
        owner: tuple[str, str] | None = None,
        mark: str | None = None,
    ) -> None:
        """One more. shown: has `result`, which is `drop` for a bad one."""
        good = shown["result"] != "drop"
        text = json.dumps(shown, ensure_ascii=False).encode("utf-8", "replace")
        with self._changed:
            self._number += 1
            self._good, self._bad = self._good + good, self._bad + (not good)
            seen = Seen(self._number, good, words, owner, mark, text)
            self._kept.append(seen)
            self._bytes += len(text)
            while len(self._kept) > MOST_KEPT or (
                self._bytes > _MOST_BYTES and len(self._kept) > 1
            ):
                self._bytes -= len(self._kept.popleft().shown)
            self._changed.notify_all()

    def counts(self) -> dict[str, int]:
        """Since the last reset, those no longer kept too."""
        with self._changed:
            return {"total": self._good + self._bad, "good": self._good, "bad": self._bad}

    def find(self, good: bool, words: set[str], limit: int) -> list[bytes]:
        """Newest first, only those that have all the words."""
        with self._changed:
            kept = list(self._kept)
        found = [s.shown for s in reversed(kept) if s.good == good and words <= s.words]
        return found[:limit]

    def reset(self) -> None:
        """Forget everything."""
        with self._changed:
            self._kept.clear()
            self._bytes = self._good = self._bad = 0

    def newest(self) -> int:
        """Number of the newest event, 0 before the first."""
        with self._changed:
            return self._number

    def wait(self, after: int, owner: tuple[str, str], mark: str | None) -> list[Seen]:
        """Marked events of the owner that are newer than `after`, oldest first.

        mark: only those with it; None: with any. Returns as soon as there are some, or with none
        after ten seconds. Raises Problem 503 where too many wait.
        """
        found: list[Seen] = []

        def look() -> bool:
            found[:] = [
                seen
                for seen in self._kept
                if seen.number > after
                and seen.owner == owner
                and seen.mark is not None
                and mark in (None, seen.mark)
            ]
            return bool(found)

        with self._changed:
            if self._listeners >= _MOST_LISTENERS:
                raise Problem(503, "too_many_listeners", f"{_MOST_LISTENERS} listen already", 5)
            self._listeners += 1
            try:
                self._changed.wait_for(look, _WAIT_S)
            finally:
                self._listeners -= 1
        return found


class DebugKit:
    """An Observer: answers marked requests, and fills the ring where there is one."""

    def __init__(self, explain: Explain, ring: Ring | None) -> None:
        self._explain, self._ring = explain, ring

    def seen(self, owner: KeyOwner, origin: Origin, receipt: Receipt) -> None:
        """Costs a look at one header where nothing is wanted."""
        mark = _mark()
        if mark is None and self._ring is None:
            return
        try:
            self._show(owner, origin, receipt, mark)
        except (
            Exception
        ) as error:  # the events are durable: nothing here may make it look otherwise
            log.error("not shown: %s", type(error).__name__)

    def _show(self, owner: KeyOwner, origin: Origin, receipt: Receipt, mark: str | None) -> None:
        results = self._results(owner, receipt)
        if mark is not None:
            after_this_request(_answer_with(results))
        if self._ring is not None:
            self._keep(self._ring, owner, origin, receipt, results, mark)

    def _results(self, owner: KeyOwner, receipt: Receipt) -> list[Outcome]:
        """As the native protocol answers them; a schema's warning with its reason."""
        found = outcomes(receipt)
        columns = receipt.candidates.columns
        for row, flags in enumerate(receipt.flags):
            at = receipt.candidates.places[row]
            if Flag.SCHEMA_MISMATCH in Flag(flags) and found[at].result != "drop":
                name = columns["name"][row] if "name" in columns else None
                why = self._explain(
                    owner.project, columns["type"][row], name, columns["properties"][row]
                )
                found[at] = replace(
                    found[at], result="warning", reason="schema_mismatch", message=why
                )
        return found

    def _keep(
        self,
        ring: Ring,
        owner: KeyOwner,
        origin: Origin,
        receipt: Receipt,
        results: list[Outcome],
        mark: str | None,
    ) -> None:
        whose = (owner.project, owner.source)
        stored = _stored(origin, receipt)
        for at, result in enumerate(results):
            shown = {k: v for k, v in zip(_FIELDS, _values(result), strict=True) if v is not None}
            if at in stored:
                event = stored[at]
                words = frozenset(str(event[n]) for n in ("event_id", "name") if event.get(n))
                ring.add({**shown, "event": event}, words, whose, mark)
            elif at in receipt.refused:  # of suppressed people there is no trace here either
                original = receipt.refused[at].original.decode("utf-8", "replace")
                ring.add({**shown, "original": original}, _words(original), whose, mark)


_FIELDS = ("result", "reason", "message")


def _values(outcome: Outcome) -> tuple[str | None, ...]:
    return outcome.result, outcome.reason, outcome.message


def _stored(origin: Origin, receipt: Receipt) -> dict[int, dict[str, Any]]:
    """By place, the events as they are on the bus: judged once more, which gives the same."""
    candidates = receipt.candidates
    if not candidates.count:
        return {}
    kept = [row for row, at in enumerate(candidates.places) if at not in receipt.refused]
    rows = judge([(candidates, origin)]).rows.to_dicts()
    found = {}
    for row, event in zip(kept, rows, strict=True):
        event["event_id"] = receipt.event_ids[row]  # where it had to be made
        for name in ("properties", "context"):
            event[name] = msgspec.json.decode(event[name])
        found[candidates.places[row]] = {k: v for k, v in event.items() if v is not None}
    return found


def _words(original: str) -> frozenset[str]:
    """Texts at the top of a refused message: its name and id are among them, whatever they are."""
    try:
        found = msgspec.json.decode(original)
    except (msgspec.DecodeError, RecursionError):
        return frozenset()
    values = found.values() if isinstance(found, dict) else ()
    return frozenset(str(v) for v in values if isinstance(v, str | int))


def _mark() -> str | None:
    if not has_request_context():
        return None
    environ = request.environ
    in_query = _QUERY in environ.get("QUERY_STRING", "") and request.args.get(_QUERY)
    return environ.get(_ASKS_IN_ENVIRON) or in_query or None


def _answer_with(results: list[Outcome]) -> Callable[[Response], Response]:
    def add(response: Response) -> Response:
        response.headers[RESULTS] = _bounded(native.answer(results))
        # A page of another origin may read no header but those named.
        response.headers["Access-Control-Expose-Headers"] = f"Retry-After, {RESULTS}"
        return response

    return add


def _bounded(answer: dict[str, Any]) -> str:
    """As JSON in ASCII, on one line; `more` says how many results were left out at the end."""
    kept: list[str] = []
    room = _MOST_HEADER
    for result in answer["results"]:
        text = json.dumps(result, separators=(",", ":"))
        room -= len(text) + 1
        if room < 0:
            break
        kept.append(text)
    left = len(answer["results"]) - len(kept)
    more = f',"more":{left}' if left else ""
    return f'{{"accepted":{answer["accepted"]},"results":[{",".join(kept)}]{more}}}'


# -- The development server.


@dataclass(frozen=True)
class _Server:
    ring: Ring
    keys: KeyRing


def _server() -> _Server:
    found: _Server = current_app.extensions["debug"]
    return found


def install(app: Flask, keys: KeyRing, explain: Explain, *, endpoints: bool) -> DebugKit:
    """The observer for Intake; with `endpoints`, `/debug/…` on the app, open to whoever asks."""
    if not endpoints:
        return DebugKit(explain, None)
    log.warning("/debug shows events to everybody who can reach this collector")
    ring = Ring()
    app.extensions["debug"] = _Server(ring, keys)
    app.register_blueprint(bp)
    return DebugKit(explain, ring)


@bp.get("/debug/all")
def get_counts() -> Response:
    """Development only: {"total", "good", "bad"} since the last reset."""
    return jsonify(_server().ring.counts())


@bp.get("/debug/<any(good,bad):which>")
def get_events(which: str) -> Response:
    """Development only: newest first, [{result, reason?, message?, event | original | request}].

    ?name=, ?event_id= and ?limit= (100) choose among the newest 1,000 events.
    """
    words = {request.args[name] for name in ("name", "event_id") if request.args.get(name)}
    limit = request.args.get("limit", "100")
    if not (limit.isascii() and limit.isdigit()):
        raise Problem(400, "bad_limit", f"limit {limit!r} is no number")
    found = _server().ring.find(which == "good", words, int(limit))
    return Response(b"[%s]\n" % b",\n".join(found), mimetype="application/json")


@bp.route("/debug/reset", methods=["GET", "POST"])
def reset() -> Response:
    """Development only: forget all events and count from zero."""
    _server().ring.reset()
    return get_counts()


@bp.get("/debug/live")
def live() -> Response:
    """Development only: one's own events as they come, as server-sent events `good` and `bad`.

    ?key= says whose: those sent to the key's source with the header X-Headwater-Debug. With
    ?session=, only those with this value in the header. The first answer says where the present
    is; each later one comes as soon as there are events after Last-Event-ID (or ?after=), and ends
    with them. A browser's EventSource does all that by itself.
    """
    ring = _server().ring
    owner = _server().keys.owner(request.args.get("key"))
    after = request.headers.get("Last-Event-ID") or request.args.get("after") or ""
    if not after:
        lines = b"id: %d\n: listening\n\n" % ring.newest()
    elif not (after.isascii() and after.isdigit()):
        raise Problem(400, "bad_event_id", f"{after!r} is no number of an event")
    else:
        whose = (owner.project, owner.source)
        lines = b"".join(map(_as_sent_event, ring.wait(int(after), whose, _session())))
    # Whole answers and no endless one: who is gone holds a thread for ten seconds at most.
    body = b"retry: %d\n%s\n" % (_RETRY_MS, lines)
    return Response(body, mimetype="text/event-stream", headers={"Cache-Control": "no-cache"})


def _session() -> str | None:
    return request.args.get("session") or None


def _as_sent_event(seen: Seen) -> bytes:
    kind = b"good" if seen.good else b"bad"
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (seen.number, kind, seen.shown)


@bp.after_app_request
def _note_refused(response: Response) -> Response:
    """A request refused as a whole is bad, too: a wrong key must not look like silence."""
    nobody_s = response.status_code in (404, 405)  # browsers ask for icons
    if response.status_code >= 400 and not nobody_s and not request.path.startswith("/debug/"):
        said = response.get_json(silent=True) or {}
        shown = {
            "result": "drop",
            "reason": said.get("code", str(response.status_code)),
            "message": said.get("message", ""),
            "request": f"{request.method} {request.path}",
        }
        _server().ring.add(shown, frozenset())
    return response
