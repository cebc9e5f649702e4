"""A pipeline that finds a long backlog: how fast it catches up, and in how much memory.

python -m benchmarks.bench_backlog [MILLIONS…]   # 2 10
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.bench_freshness import live_events
from benchmarks.bench_sustained import memory_gb
from benchmarks.feed import Feed
from benchmarks.report import Figure, report
from schemas_avro.tables import EVENTS
from tests import observed
from tests.system import System, wait_for

_EVENTS_S, _LONGEST_S = 20_000, 1800


def catch_up(directory: Path, events: int) -> tuple[float, float]:
    """(seconds until all is archived and counted, GB of memory at the highest)."""
    with System(directory / "data") as system:
        Feed(system.data / "spool/events", _EVENTS_S, events // _EVENTS_S, wide=True)
        ended, highest = threading.Event(), [0.0]

        def watch() -> None:
            while not ended.wait(0.5):
                highest.append(memory_gb(system.pid("ingest")))

        started = time.monotonic()
        system.start_ingest()
        watching = threading.Thread(target=watch, daemon=True)
        watching.start()
        wait_for(
            lambda: (
                (observed.archived_rows(system.data, EVENTS), live_events(system))
                == (events, events)
            ),
            seconds=_LONGEST_S,
            what="all archived and counted once",
        )
        ended.set()
        watching.join()
        return time.monotonic() - started, max(highest)


def main(millions: list[int]) -> None:
    """Run for each, print."""
    figures: list[Figure] = []
    for count in millions:
        with tempfile.TemporaryDirectory() as name:
            seconds, memory = catch_up(Path(name), count * 1_000_000)
        figures += [
            (f"{count} M events, start included", count * 1e6 / seconds, "events/s"),
            (f"{count} M events: memory of the pipeline, Prism included", memory, "GB"),
        ]
    report(
        "backlog",
        "Backlog: the first start of a pipeline on a spool that is full",
        figures,
        f"events of about 500 bytes, of {_EVENTS_S:,} a second; all archived and counted once",
    )


if __name__ == "__main__":
    main([int(text) for text in sys.argv[1:]] or [2, 10])
