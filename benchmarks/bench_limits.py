"""The collector beyond its capacity, with a second worker, and over a quarter of an hour.

    python -m benchmarks.bench_limits overload   # three times what it can: who is refused, and how
    python -m benchmarks.bench_limits workers    # two workers against one
    python -m benchmarks.bench_limits soak       # memory at 70 % of its most; --minutes=15

Everything is on one machine; the load's share of the processor is printed, because it is large.
"""

from __future__ import annotations

import os
import resource
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import click

from benchmarks.bench_collector import STEADY_SHARE, Bench, assert_all_there
from benchmarks.load import CONNECTIONS, Run, in_own_process
from benchmarks.report import Figure, report
from tests.system import System

OVERLOAD, CROWD = 3.0, 2_000  # times its capacity, connections
WORKER_SHARE = 0.35  # of a core, for two workers to leave the load its own


@contextmanager
def collector(**settings: float) -> Iterator[tuple[System, Bench]]:
    """A running collector and who measures it."""
    with (
        tempfile.TemporaryDirectory() as directory,
        System(Path(directory) / "data", **settings) as system,
    ):
        system.run("catalog", "add-project", "bench")
        system.start_collector()
        bench = Bench(system, 0)
        bench.run(system.collector_port, 1, 0.5)  # first requests import and compile
        yield system, bench


def workers_of(system: System) -> list[int]:
    """Process ids of the collector's workers."""
    parent = system.pid("collector")
    return [int(p) for p in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def resident_mb(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def overload() -> None:
    """Open loop at three times what a closed one reaches."""
    with collector() as (system, bench):
        most = bench.run(system.collector_port, 1, 3.0)
        capacity = most.requests / most.seconds
        crowd = bench.order(system.collector_port, 1, 6.0, capacity * OVERLOAD)
        found = in_own_process(replace(crowd, connections=CROWD, from_sending=True))
        assert set(found.others) <= {429, 503}, found.others
        answered = bench.answered_ids()
        system.kill("collector")
        assert_all_there(system, answered)
    refused = sum(found.others.values())
    report(
        "overload",
        "Collector: three times what it can",
        [
            ("capacity, closed loop", capacity, "req/s"),
            ("offered", capacity * OVERLOAD, "req/s"),
            ("answered 200", found.requests / found.seconds, "req/s"),
            ("answered 503", refused / found.seconds, "req/s"),
            ("latency of those answered 200, p50", found.p50_s * 1000, "ms"),
            ("latency of those answered 200, p99", found.p99_s * 1000, "ms"),
        ],
        f"single events over {CROWD} connections; latency from the moment of sending; "
        f"all {len(answered):,} events answered 200 were read back from the spool",
    )


@contextmanager
def capped(pids: list[int], share: float) -> Iterator[None]:
    """Each process gets at most `share` of one core: what a machine with more cores would give it.

    By a control group of its own, version 2 or 1; needs root.
    """
    root = Path("/sys/fs/cgroup")
    is_v2 = (root / "cgroup.controllers").exists()
    groups = [(root if is_v2 else root / "cpu") / f"headwater-bench-{pid}" for pid in pids]
    period = 10_000  # us: shorter than a request takes, so that a pause is not seen as latency
    quota = int(share * period)
    try:
        for group, pid in zip(groups, pids, strict=True):
            group.mkdir()
            if is_v2:
                (group / "cpu.max").write_text(f"{quota} {period}")
            else:
                (group / "cpu.cfs_period_us").write_text(str(period))
                (group / "cpu.cfs_quota_us").write_text(str(quota))
            (group / "cgroup.procs").write_text(str(pid))
        yield
    except OSError as error:
        raise click.ClickException(f"no control group of one's own: {error}; run as root") from None
    finally:
        for group, pid in zip(groups, pids, strict=True):
            if group.exists():
                with suppress(OSError):
                    (group.parent / "cgroup.procs").write_text(str(pid))
                group.rmdir()


def workers() -> None:
    """Batches of 100, one worker and then two, each held to the same part of a core."""
    figures: list[Figure] = []
    rates = []
    for count in (1, 2):
        with collector(collector_workers=count, busy_after_s=2.0) as (system, bench):
            bench.run(system.collector_port, 100, 0.5)
            with capped(workers_of(system), WORKER_SHARE):
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                run = bench.run(system.collector_port, 100, 5.0)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
            load = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            rates.append(run.requests * 100 / run.seconds)
            figures += [
                (f"{count} worker(s)", rates[-1], "events/s"),
                (f"{count} worker(s): processor time of the load", load, "s, bodies made included"),
            ]
    figures.append(("two against one", rates[1] / rates[0], "x"))
    report(
        "workers",
        "Collector: two workers",
        figures,
        f"batches of 100; each worker held to {WORKER_SHARE:.0%} of a core, the load takes what "
        f"it needs of the rest of {os.cpu_count()} cores",
    )


def soak(minutes: float) -> None:
    """Resident memory of the worker, every ten seconds."""
    samples: list[float] = []
    with collector() as (system, bench):
        most = bench.run(system.collector_port, 1, 3.0)
        rate = STEADY_SHARE * most.requests / most.seconds
        order = replace(bench.order(system.collector_port, 1, 5.0, rate), again=True)
        order = replace(order, run_s=minutes * 60)
        (worker,) = workers_of(system)
        found: list[Run] = []
        load = threading.Thread(target=lambda: found.append(in_own_process(order)))
        load.start()
        while load.is_alive():
            samples.append(resident_mb(worker))
            load.join(10.0)
    quarter = max(1, len(samples) // 4)
    report(
        "soak",
        "Collector: memory of a worker",
        [
            ("load", found[0].requests / found[0].seconds, "req/s"),
            ("at the start", samples[0], "MB"),
            ("mean of the second quarter", sum(samples[quarter : 2 * quarter]) / quarter, "MB"),
            ("mean of the last quarter", sum(samples[-quarter:]) / quarter, "MB"),
            ("highest", max(samples), "MB"),
            ("latency, p50", found[0].p50_s * 1000, "ms"),
            ("latency, p99", found[0].p99_s * 1000, "ms"),
        ],
        f"single events at {STEADY_SHARE:.0%} of the most over {CONNECTIONS[1]} connections for "
        f"{minutes:g} minutes, sampled every 10 s",
    )


@click.command(help=__doc__)
@click.argument("what", type=click.Choice(["overload", "workers", "soak"]))
@click.option("--minutes", default=15.0, show_default=True, help="Length of the soak.")
def main(what: str, minutes: float) -> None:
    """Run one of them."""
    if what == "soak":
        soak(minutes)
    else:
        {"overload": overload, "workers": workers}[what]()


if __name__ == "__main__":
    main()
