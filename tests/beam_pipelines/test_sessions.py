"""The table of sessions equals a plain loop: across midnight, late joins, orders, reruns."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from beam_pipelines.connectors.warehouse import Warehouse
from beam_pipelines.jobs import sessions
from beam_pipelines.options import SessionsOptions
from catalog.settings import read
from catalog.store import Catalog
from schemas_avro.tables import SESSIONS
from tests import exact_brute
from tests.beam_pipelines.test_rollup import ZONE, archive, in_blocks
from tests.beam_pipelines.test_rollup import run as roll_up
from tests.beam_pipelines.test_rollup import table as daily
from tests.streams import DAY_US, NOON, event, frame_of, order, random_events

MINUTE_US = 60_000_000
MIDNIGHT = NOON + DAY_US // 2 - 60 * MINUTE_US  # in London's summer time


def run(directory: Path, *, all_days: bool = False, dry_run: bool = False) -> None:
    url = f"sqlite:///{directory}/catalog.db"
    Catalog(url).migrate()
    if "demo" not in Catalog(url).time_zones():
        Catalog(url).add_project("demo", time_zone=ZONE)
    options = SessionsOptions(
        archive=f"iceberg:{directory}/archive", catalog=url, all_days=all_days,
        dry_run=dry_run, runner="direct",
    )  # fmt: skip
    sessions.start(options, [], read({}))


def table(directory: Path) -> list[dict[str, Any]]:
    found = Warehouse(f"{directory}/archive").table(SESSIONS).scan().to_arrow().to_pylist()
    for row in found:
        row["started_at"], row["ended_at"] = (
            int(row[c].timestamp() * 1e6 + 0.5) for c in ("started_at", "ended_at")
        )
    names = ("person", "day", "started_at", "ended_at", "duration_us", "events", "orders",
             "revenue", "bounce")  # fmt: skip
    shown = [{name: row[name] for name in names} for row in found]
    return sorted(shown, key=lambda s: (s["person"], s["started_at"]))


def expected(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for events in exact_brute.sessions(exact_brute.counted(rows)[0], ZONE):
        money: dict[str, int] = {}
        for row in events:
            if row.get("revenue_minor") is not None:
                money[row["currency"]] = money.get(row["currency"], 0) + row["revenue_minor"]
        first, last = events[0]["event_time"], events[-1]["event_time"]
        found.append(
            {
                "person": exact_brute.person(events[0]),
                "day": exact_brute.local(first, ZONE).date(),
                "started_at": first,
                "ended_at": last,
                "duration_us": last - first,
                "events": len(events),
                "orders": len({r["order_id"] for r in events if exact_brute.is_order(r)}),
                "revenue": json.dumps(dict(sorted(money.items())), separators=(",", ":")),
                "bounce": int(len(events) == 1),
            }
        )
    return sorted(found, key=lambda s: (s["person"], s["started_at"]))


@pytest.mark.parametrize("seed", [1, 2])
def test_any_order_any_blocks_any_repeats_give_the_loop_s_sessions(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    rows = random_events(500, days=3, seed=seed)
    for row in rng.sample(rows, 60):
        late = rng.randrange(0, 82_800_000_000)
        rows.append({**row, "received_time": row["received_time"] + late,
                     "event_time": row["event_time"] + rng.choice([0, late])})  # fmt: skip
    for row in rng.sample([r for r in rows if r.get("order_id")], 20):
        row["order_id"] = rng.choice(["A", "B", "C"])
    rng.shuffle(rows)
    frames = in_blocks(rows, rng)
    for part in (frames[::2], frames[1::2]):
        archive(tmp_path, part)
        run(tmp_path)
    assert table(tmp_path) == expected(rows)
    roll_up(tmp_path)
    by_day: dict[Any, int] = {}
    for one in table(tmp_path):
        by_day[one["day"]] = by_day.get(one["day"], 0) + 1
    assert by_day == {day: n["sessions"] for day, n in daily(tmp_path).items() if n["sessions"]}


def test_a_late_event_joins_two_sessions_across_midnight(tmp_path: Path) -> None:
    rows = [event("a", MIDNIGHT - 25 * MINUTE_US), event("b", MIDNIGHT + 25 * MINUTE_US),
            event("c", MIDNIGHT + DAY_US)]  # fmt: skip
    archive(tmp_path, [frame_of(rows, seq=0)])
    run(tmp_path)
    assert [one["events"] for one in table(tmp_path)] == [1, 1, 1]
    late = event("d", MIDNIGHT - MINUTE_US, received_time=MIDNIGHT + 40 * DAY_US)
    archive(tmp_path, [frame_of([late], seq=1)])
    run(tmp_path)
    assert table(tmp_path) == expected([*rows, late])
    assert [one["events"] for one in table(tmp_path)] == [3, 1]


def test_who_is_never_silent_has_a_session_a_day_and_a_gap_that_closes_is_seen(
    tmp_path: Path,
) -> None:
    step = 20 * MINUTE_US
    rows = [event(f"e{n}", NOON + n * step) for n in range(4 * DAY_US // step)]
    missing = rows.pop(100)
    rows.pop(100)
    archive(tmp_path, [frame_of(rows, seq=0)])
    run(tmp_path)
    assert table(tmp_path) == expected(rows)
    archive(tmp_path, [frame_of([{**missing, "received_time": NOON + 9 * DAY_US}], seq=1)])
    run(tmp_path)
    assert table(tmp_path) == expected([*rows, missing])
    assert max(one["duration_us"] for one in table(tmp_path)) < 2 * DAY_US


def test_a_rerun_gives_the_same_bytes_and_with_nothing_new_nothing_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive(tmp_path, [frame_of([*random_events(200, 3, 9), order("o", NOON, 5)], seq=0)])
    run(tmp_path)
    before = _digests(tmp_path)
    run(tmp_path, all_days=True)
    assert _digests(tmp_path) == before
    capsys.readouterr()
    run(tmp_path)
    assert capsys.readouterr().out == ""
    run(tmp_path, all_days=True, dry_run=True)
    assert "would read" in capsys.readouterr().out


def _digests(directory: Path) -> list[str]:
    files = Warehouse(f"{directory}/archive").table(SESSIONS).scan().plan_files()
    paths = [Path(task.file.file_path.removeprefix("file://")) for task in files]
    assert paths
    return sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)


def test_an_empty_archive_has_none(tmp_path: Path) -> None:
    run(tmp_path)
    assert table(tmp_path) == []
