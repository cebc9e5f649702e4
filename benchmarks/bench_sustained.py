"""Collector, Prism pipeline, archive and reports on this machine under a steady load.

python -m benchmarks.bench_sustained [EVENTS_S [MINUTES]]   # 50000 10

POST -> live number is probed all the time; does it grow? At the end every event answered 200 must
be in the archive and in the live numbers, once.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import time
from itertools import chain
from pathlib import Path

from benchmarks.bench_freshness import BATCH, Load, live_events, probe, start_warm
from benchmarks.report import percentile, report
from catalog.settings import read
from schemas_avro.tables import EVENTS
from tests import observed
from tests.system import System, wait_for

_SETTLED_S = 300
_LONGEST_S = 120.0  # a number that takes longer is not late, but lost


def memory_gb(pid: int) -> float:
    """Resident memory of a process and all its children, GB."""
    family, found = {pid}, 0
    for status in sorted(Path("/proc").glob("[0-9]*/status"), key=lambda p: int(p.parent.name)):
        try:
            text = status.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        own, parent = int(status.parent.name), int(re.findall(r"PPid:\s+(\d+)", text)[0])
        if own in family or parent in family:
            family.add(own)
            found += sum(int(kb) for kb in re.findall(r"VmRSS:\s+(\d+) kB", text))
    return found / 1e6


def _counted(system: System) -> tuple[int, int]:
    """Events in the archive, and in the live numbers."""
    return observed.archived_rows(system.data, EVENTS), live_events(system)


def main(events_s: int, minutes: int) -> None:
    """Run for so many minutes, print a line for each."""
    data = Path(tempfile.mkdtemp())
    # Tests commit to the archive each second, so as not to wait; this is the default.
    with System(data, archive_every_s=read({}).archive_every_s) as system:
        key = start_warm(system)
        by_minute: list[list[float]] = [[] for _ in range(minutes)]
        memory = []
        sent = 1
        with Load(system, key, events_s, minutes * 60.0) as load:
            load.wait_until_it_sends()
            started = time.monotonic()
            while load.goes_on:
                minute = min(int((time.monotonic() - started) / 60), minutes - 1)
                if minute and len(by_minute[minute]) == 0:
                    lag = percentile(by_minute[minute - 1], 0.5)
                    print(f"minute {minute}: {lag:.2f} s, {memory[-1]:.2f} GB", flush=True)
                by_minute[minute].append(probe(system, key, sent, _LONGEST_S))
                memory.append(memory_gb(system.pid("ingest")))
                sent += 1
                time.sleep(1)
        answered = load.answered + sent
        ended = time.monotonic()
        wait_for(
            lambda: _counted(system) == (answered, answered), seconds=_SETTLED_S, what="all of it"
        )
        settled_s = time.monotonic() - ended
    shutil.rmtree(data)
    lags = [percentile(found, 0.5) for found in by_minute if found]
    half = len(lags) // 2
    report(
        "sustained",
        "Sustained: HTTP to archive and live numbers",
        [
            ("answered 200", load.answered / load.seconds, "events/s"),
            ("answered 503, to be sent again", load.refused / load.seconds, "events/s"),
            ("events in all, each archived and counted once", answered, "events"),
            *[(f"POST to live number, minute {n}, p50", lag, "s") for n, lag in enumerate(lags, 1)],
            ("POST to live number, all of it, p99", percentile([*chain(*by_minute)], 0.99), "s"),
            ("POST to live number, longest", max(chain(*by_minute)), "s"),
            ("POST to live number, first half, median", percentile(lags[:half], 0.5), "s"),
            ("POST to live number, second half, median", percentile(lags[half:], 0.5), "s"),
            ("all counted, after the last answer", settled_s, "s"),
            ("memory of the pipeline, Prism included, at its highest", max(memory), "GB"),
        ],
        f"{events_s:,} events/s of about 500 bytes asked for, in batches of {BATCH}, for "
        f"{minutes} minutes; load, probes and all of Headwater on one machine",
    )


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]]
    main(*(given + [50_000, 10][len(given) :]))
