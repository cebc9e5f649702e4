"""The recipe, the stories of test_panes.py, and a hot key, on Prism with the real spool."""

from __future__ import annotations

import json
import random
import resource
import sqlite3
import threading
import time
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests import observed, recipe
from tests.streams import SpoolWriter, event, frame_rows, order
from tests.system import ROOT, System, wait_for
from transforms import mapping

pytestmark = pytest.mark.journey

SECOND, MINUTE = 1_000_000, 60_000_000
GENERATED = """
format = "jsonl"

[event]
type = "track"
name = "{kind}"
user_id = "{who}"
timestamp = "{at}"
revenue = "{paid}"
currency = "{currency}"
order_id = "{order}"
"""


def generate(path: Path, count: int, seed: int) -> None:
    """Two hours around a midnight, a tenth of the events in one minute: too many people there for
    an exact sketch.
    """
    rng = random.Random(seed)
    start = datetime(2026, 3, 28, 23, 0, tzinfo=UTC)
    with path.open("w") as file:
        for number in range(count):
            at = 3600 + 60 * rng.random() if rng.random() < 0.1 else 7200 * rng.random()
            row: dict[str, Any] = {
                "at": (start + timedelta(seconds=at)).isoformat(),
                "kind": rng.choice(["view", "cart", "order"]),
                "who": f"u{rng.randrange(20_000)}",
            }
            if row["kind"] == "order":
                paid = f"{rng.randrange(-500, 9999) / 100:.2f}"
                currency = rng.choice(["EUR", "GBP", "JPY"])
                if currency == "JPY":
                    paid = str(rng.randrange(1, 9999))
                row |= {"paid": paid, "currency": currency, "order": f"o{number}"}
            file.write(json.dumps(row) + "\n")


def follow(directory: Path, file: Path, text: str, zone: str, **how: Any) -> recipe.Outcome:
    how_unpleasant = recipe.Recipe(**how)
    events = recipe.read(file, mapping.parse(text))
    with System(directory / "data") as system:
        system.run("catalog", "add-project", recipe.PROJECT, f"--time-zone={zone}")
        delivered = recipe.deliveries(events, how_unpleasant)
        served = recipe.serve(delivered, system.data / "spool", how_unpleasant)
        system.start_ingest()
        return recipe.count(system, served, zone)


def test_real_browse_data_shuffled_repeated_late_and_broken(tmp_path: Path) -> None:
    file = ROOT / "tests/data/rees46_2019-10_sample.csv"
    text = (ROOT / "tests/data/rees46.toml").read_text()
    outcome = follow(tmp_path, file, text, "Europe/London", broken=0.02)
    assert outcome.differences == []
    assert outcome.counts["broken"] > 5
    assert outcome.counts["repeats"] > 30
    assert outcome.counts["too late for them"] > 5


def test_a_hundred_thousand_events_with_a_burst(tmp_path: Path) -> None:
    generate(tmp_path / "generated.jsonl", 100_000, seed=7)
    outcome = follow(tmp_path, tmp_path / "generated.jsonl", GENERATED, "Europe/London",
                     block_events=1000)  # fmt: skip
    assert outcome.differences == []
    approximate = [v for v in observed.live(tmp_path / "data").values() if v.error]
    assert len(approximate) == 1, "one minute has more people than a sketch keeps exactly"


def now_us() -> int:
    return time.time_ns() // 1000


def revenue(data: Path, minute: int) -> int | None:
    """What the newest pane says."""
    with closing(sqlite3.connect(data / "live.db", timeout=30)) as store:
        row = store.execute(
            "SELECT total FROM live_values WHERE minute = ? AND statistic = 'revenue'", (minute,)
        ).fetchone()
    return None if row is None else int(row[0])


def test_the_stories_in_real_time(tmp_path: Path) -> None:
    """Early, on time, late, too late, repeated, an empty minute and an idle producer: the numbers
    of test_panes.py. (Which pane a late one is called is Prism's affair: it says `on_time` again.)
    """
    data = tmp_path / "data"
    busy = SpoolWriter(data / "spool/events", "collector-0")
    idle = SpoolWriter(data / "spool/events", "collector-1")
    hour_ago = now_us() - 60 * MINUTE
    idle.append(frame_rows([event("idle", hour_ago)]))  # and nothing more, ever
    with System(data) as system:
        system.start_ingest()
        wait_for(lambda: observed.complete_until(data) > hour_ago, seconds=60, what="the past")
        at = now_us()
        minute = at - at % MINUTE
        one = order("1", minute, 100, received_time=at)
        busy.append(frame_rows([one, order("0", minute - 2 * MINUTE, 9, received_time=at)]))

        def shows(pence: int, of: int = minute) -> None:
            wait_for(lambda: revenue(data, of) == pence, seconds=15, what=f"{pence} in {of}")

        shows(100)
        wait_for(lambda: observed.complete_until(data) >= minute + MINUTE, seconds=75,
                 what="the end of the minute")  # fmt: skip
        shows(100)
        at = now_us()
        busy.append(frame_rows([order("2", minute + 1, 250, received_time=at)]))
        shows(350)
        at = now_us()
        too_late = at - 10 * MINUTE - 1
        busy.append(
            frame_rows([
                {**one, "received_time": at},
                order("3", too_late, 7, received_time=at),
                order("4", minute + 2, -50, received_time=at),
            ])
        )  # fmt: skip
        shows(300)
        shows(9, of=minute - 2 * MINUTE)
        wait_for(lambda: sum(observed.archived(data).values()) == 7, seconds=20, what="archive")
    assert revenue(data, minute - MINUTE) is None
    assert revenue(data, too_late // MINUTE * MINUTE) is None
    assert {event_id for event_id, _ in observed.archived(data)} == {"idle", *"01234"}


class Hot(threading.Thread):
    """One project's events without a break, each under a name of its own."""

    def __init__(self, topic: Path, blocks: int, of: int, every_s: float) -> None:
        super().__init__()
        self._writer = SpoolWriter(topic, "collector-0")
        self._blocks, self._of, self._every_s = blocks, of, every_s

    def run(self) -> None:
        due = time.monotonic()
        for number in range(self._blocks):
            at = now_us()
            rows = [
                event(f"{number}-{n}", at, received_time=at, project="hot",
                      name=f"name {number * self._of + n}", user_id=f"u{n}")
                for n in range(self._of)
            ]  # fmt: skip
            self._writer.append(frame_rows(rows))
            due += self._every_s
            time.sleep(max(0.0, due - time.monotonic()))


def test_a_hot_project_with_a_hundred_thousand_names_does_not_stall_a_quiet_one(
    tmp_path: Path,
) -> None:
    """95 % of the events are the hot one's. Prints how long the quiet one waited, and memory."""
    data = tmp_path / "data"
    topic = data / "spool/events"
    SpoolWriter(topic, "collector-2")  # a producer that never says anything
    quiet = SpoolWriter(topic, "collector-1")
    with System(data) as system:
        quiet.append(frame_rows([event("first", now_us(), project="quiet")]))
        system.start_ingest()
        wait_for(lambda: observed.live(data), seconds=120, what="the pipeline")
        waited: list[float] = []
        memory = [resident_mb(system.pid("ingest"))]
        hot = Hot(topic, blocks=200, of=500, every_s=0.1)
        hot.start()
        number = 0
        while hot.is_alive():
            at = now_us()
            quiet.append(frame_rows([
                order(f"{number}-{n}", at, 1, received_time=at, project="quiet") for n in range(260)
            ]))  # fmt: skip
            number += 1
            waited.append(seconds_until(data, "quiet", number * 260, at))
            memory.append(resident_mb(system.pid("ingest")))
        hot.join()
        wait_for(lambda: total(data, "hot", "events") == 100_000, seconds=60, what="all hot ones")
        memory.append(resident_mb(system.pid("ingest")))
    assert total(data, "quiet", "revenue") == number * 260
    print(f"quiet: {number} probes, median {sorted(waited)[number // 2]:.1f} s, "
          f"longest {max(waited):.1f} s; memory {memory[0]:.0f} MB before, at most "
          f"{max(memory):.0f} MB")  # fmt: skip
    assert max(waited) < 15
    assert max(memory) < 2000


def seconds_until(data: Path, project: str, pence: int, since: int) -> float:
    wait_for(lambda: total(data, project, "revenue") == pence, seconds=60, what=project)
    return (now_us() - since) / 1e6


def total(data: Path, project: str, statistic: str) -> int:
    with closing(sqlite3.connect(data / "live.db", timeout=30)) as store:
        sql = "SELECT sum(total) FROM live_values WHERE project = ? AND statistic = ?"
        return int(store.execute(sql, (project, statistic)).fetchone()[0] or 0)


def resident_mb(group: int) -> float:
    """Of a process group: the worker and Prism."""
    pages = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            pages += int(fields[21]) if int(fields[2]) == group else 0
    return pages * resource.getpagesize() / 1e6
